"""Summaries as a run: incremental, of what is there, taken back; by a model or without one."""

import json
import uuid
from dataclasses import replace

import httpx2
import pytest
from loaded_world import BEGUN, World, differences, lead, record

from backstory import erasure
from backstory.backfill.control import stop
from backstory.errors import Interrupted, ModelUnreachable, RunError, UsageError
from backstory.live.record import record_event
from backstory.memory import summaries
from backstory.memory.chat import Chat, ChatSettings
from backstory.memory.extractive import MAX_CHARS, NAME
from backstory.memory.summary_writers import INSTRUCTION, ByChat, Extractive
from backstory.model import RunStatus, RunWish
from backstory.runs.run import get_run
from backstory.store import summaries as store
from backstory.store.conversations import find_conversation

LEADS = [lead("ann"), lead("bob"), lead("eve")]


def said(number: int, whose: str, text: str) -> dict:
    return record(number, whose, payload={"text": text})


FIRST = [
    said(1, "ann", "I need a sofa hauled from 12 Oak St."),
    said(2, "ann", "A sofa is $80.00."),
    said(3, "bob", "How much for a piano?"),
    record(5, "eve", action="quote_sent", payload={"total": 5}),
]
SECOND = [said(7, "ann", "Let's book it for Friday at 10 am."), said(9, "cat", "Hi there")]
SETTINGS = ChatSettings("https://api.example.com/v1", "m-1", "secret")


def run(world: World, writer=None, **more) -> summaries.SummaryReport:
    return summaries.start(world.database, world.home, writer or Extractive(), **more)


def texts(world: World) -> dict[str, str | None]:
    return dict(
        world.rows(
            "SELECT l.external_id, c.summary FROM conversations c JOIN leads l ON l.id = c.lead_id"
        )
    )


def stored(world: World) -> list[tuple]:
    return [tuple(row) for row in world.rows("SELECT * FROM conversation_summaries ORDER BY 1")]


def covered(world: World, name: str) -> store.Covers:
    found = uncovered(world, name)
    assert found is not None
    return found


def uncovered(world: World, name: str) -> store.Covers | None:
    with world.connection() as connection:
        return store.covers(connection, find_conversation(connection, name).id)


class Model:
    """A chat service over the client's transport: it answers, or says each status once."""

    def __init__(self, *statuses, spoken="She wants a sofa hauled.", usage=100, answer=None):
        self.statuses, self.spoken, self.usage = list(statuses), spoken, usage
        self.answer, self.asked, self.slept = answer, [], []

    def __call__(self, request):
        self.asked.append(request)
        if self.statuses:
            status = self.statuses.pop(0)
            if status is None:
                raise httpx2.ConnectError("no route")
            return httpx2.Response(status, text="not now")
        if self.answer is not None:
            return httpx2.Response(200, json=self.answer)
        body = {"choices": [{"message": {"content": self.spoken}}]}
        if self.usage:
            body["usage"] = {"total_tokens": self.usage}
        return httpx2.Response(200, json=body)

    def writer(self, **more) -> ByChat:
        transport = httpx2.MockTransport(self)
        settings = replace(SETTINGS, **more)
        return ByChat(Chat(settings, transport=transport, sleep=self.slept.append))


# --- what is summed up ------------------------------------------------------------------------


def test_each_conversation_has_a_summary_with_what_it_covers(world: World) -> None:
    world.load(FIRST, LEADS)
    with world.connection() as connection:
        plan = summaries.plan(connection, Extractive())
    assert (plan.made_by, plan.conversations, plan.pending) == (NAME, 3, 3)
    report = run(world)
    assert (report.written, report.conversations, report.fell_back) == (3, 3, 0)
    assert texts(world) == {
        "ann": "Customer: I need a sofa hauled from 12 Oak St. Agent: A sofa is $80.00.",
        "bob": "Customer: How much for a piano?",
        "eve": None,
    }
    ids = dict(world.rows("SELECT audit_id, id FROM messages"))
    of_ann = covered(world, "ann")
    assert (of_ann.made_by, of_ann.messages, of_ann.left_out) == (NAME, 2, 0)
    assert (of_ann.first_message_id, of_ann.last_message_id) == (ids["a-1"], ids["a-2"])
    assert of_ann.last_at == BEGUN.replace(minute=2)
    assert str(of_ann.run_id) == report.run_id


def test_a_model_that_tells_a_code_is_not_believed_that_it_may(world: World) -> None:
    world.load(FIRST, LEADS)
    told = Model(spoken="She wants a sofa hauled. The gate code is 4471.")
    summaries.start(world.database, world.home, told.writer())
    assert texts(world)["ann"] == "She wants a sofa hauled."


def test_a_second_run_changes_nothing(world: World) -> None:
    world.load(FIRST, LEADS)
    run(world)
    before, rows = world.dump(), stored(world)
    again = run(world)
    assert (again.written, again.removed, again.waiting) == (0, 0, 0)
    assert world.dump() == before
    assert stored(world) == rows


def test_only_what_has_come_since_is_summed_up_anew(world: World) -> None:
    world.load(FIRST, LEADS)
    run(world)
    before = {row[0]: row for row in stored(world)}
    world.load(SECOND)
    record_event(world.database, said(11, "bob", "It is in the basement."))
    assert run(world).written == 3
    assert "Friday at 10 am" in (texts(world)["ann"] or "")
    assert "basement" in (texts(world)["bob"] or "")
    assert texts(world)["cat"] == "Customer: Hi there."
    of_eve = find_of(world, "eve")
    assert before[of_eve] in stored(world)


def find_of(world: World, name: str) -> uuid.UUID:
    with world.connection() as connection:
        return find_conversation(connection, name).id


def test_a_record_that_comes_late_counts_as_new(world: World) -> None:
    world.load([FIRST[1]], LEADS)
    run(world)
    world.load([FIRST[0]])
    assert run(world).written == 1
    assert covered(world, "ann").messages == 2


def test_one_conversation_alone_can_be_summed_up(world: World) -> None:
    world.load(FIRST, LEADS)
    assert run(world, conversation=find_of(world, "bob")).written == 1
    assert {name for name, text in texts(world).items() if text} == {"bob"}
    assert run(world).written == 2


def test_another_version_makes_every_summary_anew(world: World) -> None:
    class Newer(Extractive):
        name = "extractive-next"

    world.load(FIRST, LEADS)
    run(world)
    assert run(world, Newer()).written == 3
    assert run(world, Newer()).written == 0


def test_of_a_very_long_talk_the_end_is_read_and_the_rest_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_MESSAGES", 3)
    world.load([said(n, "ann", f"Item {n} costs ${n}.00.") for n in range(8)], LEADS)
    run(world)
    of_ann = covered(world, "ann")
    assert (of_ann.messages, of_ann.left_out) == (3, 5)
    assert "$4.00" not in (texts(world)["ann"] or "")
    assert run(world).written == 0


# --- taken back, stale, erased ----------------------------------------------------------------


def test_a_load_can_be_taken_back_with_its_summaries(world: World) -> None:
    empty = world.dump()
    world.load(FIRST, LEADS)
    run(world)
    plan = world.plan_rollback(
        world.one("SELECT id::text FROM backfill_runs WHERE mode='backfill'")
    )
    assert plan.removed["conversation_summaries"] == 3
    report = world.roll_back(str(plan.run.id))
    assert report.removed == plan.removed
    assert differences(empty, world.dump()) == {}
    assert world.verify().ok


def test_a_summary_never_tells_of_messages_that_were_taken_back(world: World) -> None:
    world.load(FIRST, LEADS)
    before = world.dump()
    later = world.load(SECOND)
    run(world)
    plan = world.plan_rollback(later.run_id)
    assert plan.removed["conversation_summaries"] == 2
    report = world.roll_back(later.run_id)
    assert report.removed == plan.removed
    assert texts(world)["ann"] is None
    assert uncovered(world, "ann") is None
    assert texts(world)["bob"] is not None
    assert run(world).written == 1
    assert texts(world)["ann"] == (
        "Customer: I need a sofa hauled from 12 Oak St. Agent: A sofa is $80.00."
    )
    for (run_id,) in world.rows("SELECT id::text FROM backfill_runs WHERE mode = 'summarize'"):
        summaries.rollback(world.database, run_id)
    assert differences(before, world.dump()) == {}
    assert world.verify(sample=10).ok


def test_messages_that_are_gone_make_a_summary_stale(world: World) -> None:
    world.load(FIRST, LEADS)
    run(world)
    world.run("DELETE FROM messages WHERE audit_id IN ('a-2', 'a-3')")
    report = run(world)
    assert (report.written, report.removed) == (1, 1)
    assert texts(world)["ann"] == "Customer: I need a sofa hauled from 12 Oak St."
    assert texts(world)["bob"] is None


def test_what_a_run_summed_up_can_be_taken_back(world: World) -> None:
    world.load(FIRST, LEADS)
    before = world.dump()
    report = run(world)
    assert summaries.rollback(world.database, report.run_id) == 3
    assert differences(before, world.dump()) == {}
    with pytest.raises(RunError, match="rolled back"):
        summaries.rollback(world.database, report.run_id)
    assert world.verify().ok


def test_the_gates_stay_green_and_an_erased_customer_has_no_summary(world: World) -> None:
    world.load(FIRST, LEADS)
    run(world)
    assert world.verify(sample=10).ok
    her = world.one("SELECT customer_id FROM leads WHERE external_id = 'ann'")
    report = erasure.erase(world.database, her, home=world.home)
    assert report.proof.clean
    assert report.removed["conversation_summaries"] == 1
    assert "ann" not in texts(world)
    assert world.verify(sample=10).ok


def test_what_was_taken_back_while_a_model_was_asked_is_not_kept(world: World) -> None:
    world.load(FIRST, LEADS)
    later = world.load(SECOND)

    class Slow(Extractive):
        def write(self, said):
            if any("Friday" in each.text for each in said):
                world.roll_back(later.run_id)
            return super().write(said)

    report = run(world, Slow())
    assert report.waiting == 2
    assert texts(world)["ann"] is None
    assert run(world).written == 1


# --- stopped ----------------------------------------------------------------------------------


def test_a_run_that_is_stopped_goes_on_where_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summaries, "BATCH", 1)
    world.load(FIRST, LEADS)

    class Wished(Extractive):
        def write(self, said):
            with world.connection() as connection:
                run = get_run(connection, "last")
            world.run("UPDATE backfill_runs SET wish = 'pause' WHERE id = :id", id=run.id)
            return super().write(said)

    with pytest.raises(Interrupted) as stopped:
        run(world, Wished())
    assert stopped.value.wish == RunWish.PAUSE
    assert len(stored(world)) == 1
    with world.connection() as connection:
        paused = get_run(connection, "last")
    assert paused.status is RunStatus.PAUSED

    class Other(Extractive):
        name = "other"

    with pytest.raises(RunError, match="not other"):
        summaries.resume(world.database, "last", Other())
    report = summaries.resume(world.database, "last", Extractive())
    assert report.run_id == str(paused.id)
    assert report.written == len(stored(world)) == 3


def test_a_paused_run_can_be_canceled_and_taken_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summaries, "BATCH", 1)
    world.load(FIRST, LEADS)

    class Breaking(Extractive):
        def write(self, said):
            raise KeyboardInterrupt(len(said))

    with pytest.raises(Interrupted):
        run(world, Breaking())
    assert stop(world.database, "last", RunWish.CANCEL).status is RunStatus.CANCELED
    assert summaries.rollback(world.database, "last") == 0


# --- by a language model ----------------------------------------------------------------------


def test_a_model_is_given_the_talk_as_data_and_its_answer_is_kept(world: World) -> None:
    world.load(FIRST, LEADS)
    model = Model(spoken='  She wants a "sofa"\nhauled.\u202e ')
    report = run(world, model.writer())
    assert report.made_by == "chat-1:m-1@api.example.com"
    assert (report.written, report.calls, report.tokens) == (3, 2, 200)
    assert texts(world)["ann"] == "She wants a 'sofa' hauled."
    asked = [json.loads(each.content) for each in model.asked]
    assert {str(each.url) for each in model.asked} == {
        "https://api.example.com/v1/chat/completions"
    }
    assert model.asked[0].headers["authorization"] == "Bearer secret"
    (of_ann,) = [each for each in asked if "sofa" in each["messages"][1]["content"]]
    assert of_ann["model"] == "m-1"
    assert of_ann["messages"][0] == {"role": "system", "content": INSTRUCTION}
    assert json.loads(of_ann["messages"][1]["content"]) == [
        ["Customer", "I need a sofa hauled from 12 Oak St."],
        ["Agent", "A sofa is $80.00."],
    ]
    assert run(world, model.writer()).written == 0
    assert len(model.asked) == 2


def test_an_answer_without_end_is_cut(world: World) -> None:
    world.load(FIRST, LEADS)
    run(world, Model(spoken="word " * 10_000).writer())
    assert len(texts(world)["ann"] or "") <= MAX_CHARS


@pytest.mark.parametrize(
    "model",
    [
        Model(*[503] * 100),
        Model(*[None] * 100),
        Model(*[401] * 100),
        Model(answer={"error": "?"}),
        Model(answer={"choices": []}),
        Model(answer=[]),
        Model(spoken="  "),
        Model(spoken=None),
    ],
    ids=["busy", "away", "refusing", "other", "no choice", "no object", "blank", "nothing"],
)
def test_where_a_model_fails_the_talk_is_summed_up_without_it_and_that_is_said(
    world: World, model: Model
) -> None:
    world.load(FIRST, LEADS)
    report = run(world, model.writer())
    assert (report.fell_back, report.written) == (2, 3)
    assert sum(report.reasons.values()) == 2
    assert all("api.example.com" in reason for reason in report.reasons)
    assert texts(world)["bob"] == "Customer: How much for a piano?"
    assert covered(world, "bob").made_by == NAME
    before = world.dump()
    # What could not be made is wanted still, and nothing is written while it cannot.
    again = run(world, model.writer())
    assert (again.fell_back, again.kept, again.written) == (2, 2, 0)
    assert world.dump() == before
    assert run(world, Model().writer()).written == 2


def test_a_service_that_fails_again_and_again_is_left_alone(world: World) -> None:
    many = [said(n, f"lead-{n}", "I need a sofa hauled.") for n in range(1, 41, 2)]
    world.load(many)
    model = Model(*[401] * 100)
    report = run(world, model.writer())
    assert report.fell_back == report.written == 20
    # Those that were asked at the same time are not called back.
    assert 3 <= len(model.asked) <= 3 + 4


@pytest.mark.parametrize("budget", [{"calls": 1}, {"tokens": 400}], ids=str)
def test_a_budget_is_kept_and_the_rest_comes_without_the_model(
    world: World, budget: dict[str, int]
) -> None:
    world.load(FIRST, LEADS)
    model = Model(usage=300)
    report = run(world, model.writer(**budget))
    assert (report.calls, len(model.asked)) == (1, 1)
    assert (report.written, report.fell_back) == (3, 1)
    assert "budget" in next(iter(report.reasons))
    # The next run has a budget of its own, and goes on where this one could not.
    assert run(world, Model(usage=300).writer(**budget)).fell_back == 0


def test_every_request_is_a_call_of_the_budget(world: World) -> None:
    """Two calls are two requests, whether the second is another talk's or a second try."""
    world.load(FIRST, LEADS)
    model = Model(*[503] * 100)
    report = run(world, model.writer(calls=2))
    assert (report.calls, len(model.asked)) == (2, 2)
    assert report.fell_back == 2


def test_a_second_try_spends_tokens_too() -> None:
    model = Model(503, usage=None, spoken="Yes.")
    chat = model.writer().chat
    chat.answer("Answer.", "Is it?")
    once = Model(usage=None, spoken="Yes.").writer().chat
    once.answer("Answer.", "Is it?")
    assert (once.calls, chat.calls) == (1, 2)
    assert once.tokens < chat.tokens < 2 * once.tokens


def test_a_service_that_hangs_is_waited_for_ninety_seconds_in_all() -> None:
    seconds, bounds = [0.0], []

    def hang(request):
        bounds.append(request.extensions["timeout"]["read"])
        seconds[0] += bounds[-1]
        raise httpx2.ReadTimeout("no answer")

    def sleep(wait: float) -> None:
        seconds[0] += wait

    transport = httpx2.MockTransport(hang)
    chat = Chat(SETTINGS, transport=transport, sleep=sleep, ticks=lambda: seconds[0])
    with pytest.raises(ModelUnreachable, match="2 tries"):
        chat.answer("Answer.", "Is it?")
    assert bounds == [60.0, 29.5]
    assert (seconds, chat.calls) == ([90.0], 2)


def test_a_model_of_which_only_half_is_named_is_refused() -> None:
    for half in ({"url": None}, {"model": None}):
        with pytest.raises(UsageError, match="BACKSTORY_CHAT_"):
            summaries.open_writer(replace(SETTINGS, **half))
    assert summaries.open_writer(ChatSettings()).name == NAME
