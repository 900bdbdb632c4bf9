"""Rendering lines anew: planned, resumed, safe to repeat, taken back; the JSON stays as it is."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from killable import Death, Forks, die_at, forks
from loaded_world import World, lead, record, talk

from backstory import erasure
from backstory.backfill import render
from backstory.backfill.render import RenderReport
from backstory.errors import Interrupted, RunError
from backstory.extract import line_rules
from backstory.extract.line_rules import LineRules, load_rules, our_rules
from backstory.live.reading import LiveOptions
from backstory.live.record import record_event
from backstory.model import RunWish
from backstory.runs import run as runs
from backstory.search.recall import recall
from backstory.search.text import SearchQuery, search_messages
from backstory.store import lines as store
from backstory.store.conversations import find_conversation, messages, trace
from backstory.store.engine import Database

OWN = """
[[rule]]
name = "quote"
actions = ["*quote*"]
line = "Offer of {total}"
"""
QUOTE = {"items": [{"name": "Spa"}, {"name": "Shed"}], "total_cents": 24000}
FOUND = '[{"name": "Ada"}, {"name": "Bo"}]'


def event(number: int, action: str, payload: Any, **other: Any) -> dict[str, Any]:
    """Return a record of something that happened."""
    return record(number, action=action, payload=payload, **other)


EVENTS = [
    event(21, "quote_sent", QUOTE),
    event(22, "quote_sent", {"total": 99.5, "notes": {"b": 1, "a": [1.0, 1e20]}}),
    event(23, "tool_call", {"tool": "find", "arguments": {"city": "Ulm"}}, actor="tool"),
    event(24, "tool_result", {"tool": "find", "content": FOUND}, actor="tool"),
    event(25, "tool_result", {"tool": "think", "content": "long " * 99}, actor="tool"),
    event(26, "counted", {str(n): n for n in range(600)}),
]
LINES = {
    "a-21": "Quote sent: $240.00 for 2 items (Spa, Shed)",
    "a-22": "Quote sent: $99.50",
    "a-23": "Tool find called: city Ulm",
    "a-24": "Tool find answered: 2 results: Ada; Bo",
    "a-25": None,
    "a-26": None,
}


@pytest.fixture
def own(tmp_path: Path) -> LineRules:
    (tmp_path / "lines.toml").write_text(OWN, encoding="utf-8")
    return load_rules(tmp_path / "lines.toml")


@pytest.fixture
def loaded_events(world: World) -> World:
    world.load([*talk("lead-1", range(4)), *EVENTS], [lead("lead-1")])
    return world


def lines(world: World) -> dict[str, str | None]:
    found = world.rows("SELECT audit_id, line FROM messages WHERE line_rules IS NOT NULL")
    return dict(map(tuple, found))


def render_all(world: World, rules: LineRules | None = None) -> RenderReport:
    return render.start(world.database, world.home, rules or our_rules())


# --- what a load and live events write -------------------------------------------------------


def test_a_load_gives_events_a_line_and_leaves_texts_and_json_alone(loaded_events: World) -> None:
    world = loaded_events
    expected = {name: line for name, line in LINES.items() if name != "a-25"}
    assert lines(world) == expected
    assert world.one("SELECT count(*) FROM messages WHERE line IS NOT NULL") == 4
    content = world.one("SELECT content FROM messages WHERE audit_id = 'a-21'")
    assert json.loads(content) == QUOTE
    assert content == json.dumps(QUOTE, sort_keys=True, separators=(",", ":"))
    assert {row[0] for row in world.rows("SELECT DISTINCT line_rules FROM messages")} == {
        None,
        our_rules().name,
    }
    assert world.one("SELECT name FROM line_rules") == our_rules().name
    assert world.verify(sample=5).ok


def test_live_events_are_rendered_as_a_load_renders_them(world: World) -> None:
    for each in EVENTS:
        record_event(world.database, each)
    assert lines(world) == {name: line for name, line in LINES.items() if name != "a-25"}
    assert world.one("SELECT name FROM line_rules") == our_rules().name
    verdict = world.verify(sample=5)
    assert verdict.sample is not None
    assert verdict.sample.ok
    assert verdict.stale_lines == 0


def test_rules_of_ones_own_render_loads_and_live_events(world: World, own: LineRules) -> None:
    world.load(EVENTS[:1], [lead("lead-1")], lines=own)
    record_event(world.database, EVENTS[1], options=LiveOptions(lines=own))
    assert lines(world) == {"a-21": "Offer of $240.00", "a-22": "Offer of $99.50"}
    assert world.verify(sample=5, lines=own).stale_lines == 0
    assert world.verify(sample=5).stale_lines == 2


@pytest.mark.parametrize(
    ("content", "has_line"), [("x" * 200, True), ("x" * 201, False), ("[" + "1," * 200, True)]
)
def test_the_database_knows_as_the_rules_do_which_of_a_tools_texts_have_a_line(
    world: World, content: str, *, has_line: bool
) -> None:
    said = {"tool": "find", "content": content}
    world.load([event(21, "tool_result", said, actor="tool")], [lead("lead-1")])
    assert set(lines(world)) == ({"a-21"} if has_line else set())
    with world.connection() as connection:
        assert store.extent(connection, our_rules()) == (int(has_line), 0)


# --- a run -----------------------------------------------------------------------------------


def test_a_run_renders_what_other_rules_made_and_a_second_finds_nothing(
    loaded_events: World, own: LineRules
) -> None:
    world = loaded_events
    before = world.dump()
    with world.connection() as connection:
        plan = render.plan(connection, own)
    assert world.dump() == before
    assert (plan.messages, plan.stale, plan.changed, plan.without) == (5, 5, 2, 1)
    (sample,) = plan.samples
    assert (sample.action, str(sample.after)[:10]) == ("quote_sent", "Offer of $")
    assert sample.before in {LINES["a-21"], LINES["a-22"]}

    report = render_all(world, own)
    assert (report.rendered, report.changed, report.without) == (5, 2, 1)
    assert lines(world)["a-21"] == "Offer of $240.00"
    assert lines(world)["a-23"] == LINES["a-23"]
    assert world.verify(sample=5, lines=own).ok
    assert world.verify(lines=own).stale_lines == 0

    rendered = world.dump()
    again = render_all(world, own)
    assert (again.rendered, again.changed) == (0, 0)
    assert world.dump() == rendered
    contents = "SELECT audit_id, content, run_id FROM messages ORDER BY audit_id"
    assert len(world.rows(contents)) == 10


def test_taking_a_run_back_restores_the_lines_that_were_there(
    loaded_events: World, own: LineRules
) -> None:
    world = loaded_events
    before = world.dump()
    run = render_all(world, own).run_id
    assert world.dump() != before
    assert render.rollback(world.database, run) == 5
    assert world.dump() == before
    assert world.one("SELECT count(*) FROM run_changes") == 0
    with pytest.raises(RunError, match="rolled back"):
        render.rollback(world.database, run)


def test_runs_may_be_taken_back_in_any_order(loaded_events: World, own: LineRules) -> None:
    world = loaded_events
    first = world.dump()
    one = render_all(world, own).run_id
    other = render_all(world).run_id
    third = world.dump()
    assert third == first
    assert render.rollback(world.database, one) == 0
    assert world.dump() == third
    assert render.rollback(world.database, other) == 5
    assert world.dump() == first


def test_events_from_before_there_were_lines_are_stale_and_get_one(loaded_events: World) -> None:
    world = loaded_events
    with_lines = world.dump()
    world.run("UPDATE messages SET line = NULL, line_rules = NULL")
    verdict = world.verify(sample=5)
    assert verdict.ok
    assert verdict.stale_lines == 5
    report = render_all(world)
    assert (report.rendered, report.changed) == (5, 4)
    assert world.dump() == with_lines


def test_a_line_that_its_rules_did_not_make_is_found(loaded_events: World) -> None:
    world = loaded_events
    world.run("UPDATE messages SET line = 'Quote sent: $1.00' WHERE audit_id = 'a-21'")
    sample = world.verify(sample=5).sample
    assert sample is not None
    assert [each.field for each in sample.findings] == ["line"]
    world.run("UPDATE messages SET line_rules = 'unknown' WHERE audit_id = 'a-21'")
    sample = world.verify(sample=5).sample
    assert sample is not None
    assert sample.ok
    assert sample.unchecked_lines == 1


def test_a_pause_is_obeyed_and_resumed_by_the_rules_the_run_began_with(
    loaded_events: World, own: LineRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = loaded_events
    monkeypatch.setattr(render, "_AT_ONCE", 2)

    def stop(progress: Any) -> None:
        if progress.done == 2:
            with world.connection() as connection:
                runs.wish(connection, runs.get_run(connection, "last"), RunWish.PAUSE)

    with pytest.raises(Interrupted):
        render.start(world.database, world.home, own, stop)
    assert sum(line == "Offer of $240.00" for line in lines(world).values()) <= 1
    report = render.resume(world.database, "last")
    assert (report.rendered, report.rules) == (5, own.name)
    assert lines(world)["a-22"] == "Offer of $99.50"


def test_a_run_that_goes_on_under_another_renderer_keeps_its_rules_under_their_new_name(
    loaded_events: World, own: LineRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = loaded_events

    def stop(_progress: Any) -> None:
        with world.connection() as connection:
            runs.wish(connection, runs.get_run(connection, "last"), RunWish.PAUSE)

    with pytest.raises(Interrupted):
        render.start(world.database, world.home, own, stop)
    monkeypatch.setattr(line_rules, "RENDERER", "another")
    assert render.resume(world.database, "last").rules != own.name
    sample = world.verify(sample=5).sample
    assert sample is not None
    assert sample.ok
    assert sample.unchecked_lines == 0


# --- killed ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rendering:
    """A run in a process of its own that dies behind so many commits; None: it resumes."""

    url: str
    home: Path
    rules: LineRules
    commits: int | None

    def travel(self) -> None:
        """Do it here, in this process."""
        render._AT_ONCE = 1
        database = Database.open(self.url, "backstory")
        if self.commits is None:
            render.resume(database, "last")
            return
        die_at(Death("after", self.commits))
        render.start(database, self.home, self.rules)


@pytest.fixture(scope="module")
def processes() -> Iterator[Forks]:
    with forks() as ready:
        yield ready


@pytest.mark.parametrize("commits", [1, 5, 7, 9])
def test_a_run_that_was_killed_and_resumed_is_as_one_that_was_not(
    loaded_events: World, own: LineRules, processes: Forks, commits: int
) -> None:
    world = loaded_events
    url = world.database.url
    before = world.dump()
    assert processes.end(Rendering(url, world.home, own, commits)) == -9
    assert processes.end(Rendering(url, world.home, own, None)) == 0
    assert lines(world)["a-21"] == "Offer of $240.00"
    assert lines(world)["a-22"] == "Offer of $99.50"
    assert world.one("SELECT count(*) FROM run_changes") == 5
    assert world.verify(sample=5, lines=own).stale_lines == 0
    render.rollback(world.database, "last")
    assert world.dump() == before


# --- what goes with it -----------------------------------------------------------------------


def test_a_load_is_rolled_back_with_the_lines_a_run_made_of_it(
    loaded_events: World, own: LineRules
) -> None:
    world = loaded_events
    load = str(world.one("SELECT id FROM backfill_runs"))
    render_all(world, own)
    world.roll_back(load)
    assert world.one("SELECT count(*) FROM messages") == 0
    assert world.one("SELECT count(*) FROM run_changes") == 0
    assert world.verify().ok
    assert render.rollback(world.database, "last") == 0


def test_erasing_a_customer_takes_lines_and_what_they_were_before(world: World) -> None:
    said = event(30, "quote_sent", {"total": 5, "to": "Zebrawood"}, lead_id="lead-9")
    world.load([*EVENTS, said], [lead("lead-1"), lead("lead-9")])
    (tmp := world.home / "zebra.toml").write_text(OWN.replace("{total}", "{total} to {to}"))
    world.run("UPDATE messages SET line = 'For Zebrawood' WHERE audit_id = 'a-30'")
    render_all(world, load_rules(tmp))
    assert lines(world)["a-30"] == "Offer of $5.00 to Zebrawood"
    her = world.one("SELECT customer_id FROM messages WHERE audit_id = 'a-30'")
    assert erasure.erase(world.database, her, home=world.home).proof.clean
    for table in ("messages", "run_changes", "audit_log"):
        rows = world.rows(f"SELECT CAST(t AS text) FROM {table} t")
        assert rows
        assert not [row for row in rows if "zebrawood" in row[0].lower()], table


def test_a_line_is_searched_and_shown_and_so_are_the_words_of_the_json(
    loaded_events: World,
) -> None:
    world = loaded_events
    with world.connection() as connection:

        def found(words: str) -> list[str]:
            answer = search_messages(connection, SearchQuery(words))
            return [hit.snippet_plain() for hit in answer.hits]

        assert found("quote sent items") == [LINES["a-21"]]
        assert found("answered ada") == [LINES["a-24"]]
        assert any("total_cents" in each for each in found("total_cents"))
        header = find_conversation(connection, "lead-1")
        page = messages(connection, header.id).messages
        told = trace(connection, "a-21")
    assert [each.line for each in page if each.line] == [each for each in LINES.values() if each]
    assert told.projection is not None
    assert told.projection.message.line == LINES["a-21"]
    assert told.projection.line_rules == our_rules().name
    assert told.record.payload == QUOTE


def test_recall_gives_the_line_in_place_of_the_json(loaded_events: World) -> None:
    with loaded_events.connection() as connection:
        whose = find_conversation(connection, "lead-1").customer_id
        best = recall(connection, whose, "Which quote was sent for the shed?", k=1).hits[0]
    assert best.content == LINES["a-21"]
