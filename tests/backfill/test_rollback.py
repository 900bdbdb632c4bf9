"""A rollback takes back exactly one run: the dump before the run equals the one after it."""

import json
import random
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loaded_world import World, differences, lead, record, talk

from backstory.backfill import journey
from backstory.backfill.retry import retry
from backstory.backfill.rollback import OBSTACLES
from backstory.errors import Interrupted, RunError, UsageError
from backstory.runs.progress import Progress
from backstory.store.statements import statements
from backstory.store.tables import Base

OLD = [
    *talk("lead-1", range(10)),
    *talk("lead-2", range(20, 30)),
]
OLD_LEADS = [
    lead("lead-1", phone="512 555 0101", name="Ann"),
    lead("lead-2", email="two@example.com", stage="new"),
    lead("lead-4", phone="512 555 0104"),
]
# On top of it: more of one conversation, a new lead that joins two customers, a changed lead.
NEW = [
    *talk("lead-1", range(5, 15)),
    *talk("lead-3", range(40, 50)),
    record(21, "lead-2", payload={"text": "something else"}),
    record(90, "lead-9"),
    record(91, "lead-2", actor="robot"),
    record(92, "lead-2", payload={}),
    b'{"id": "broken',
]
NEW_LEADS = [
    lead("lead-2", email="two@example.com", stage="booked", phone="512 555 0102"),
    lead("lead-3", phone="512 555 0101", email="two@example.com", name="Ann Lee"),
]


def sound(world: World) -> None:
    verdict = world.verify(sample=100)
    assert verdict.failed == []
    assert verdict.sample is not None
    assert list(map(str, verdict.sample.findings)) == []


# --- what it takes back ------------------------------------------------------------------------


def test_a_first_load_is_taken_back_whole(world: World) -> None:
    before = world.dump()
    world.load(OLD, OLD_LEADS)
    sound(world)
    report = world.roll_back()
    assert differences(before, world.dump()) == {}
    assert report.removed == {
        "messages": 20,
        "audit_log": 20,
        "conversations": 3,
        "leads": 3,
        "customers": 3,
    }
    sound(world)


def test_a_load_without_a_list_is_taken_back_whole(world: World) -> None:
    before = world.dump()
    world.load([*OLD, *NEW])
    world.roll_back()
    assert differences(before, world.dump()) == {}


def test_a_load_on_top_of_another_is_taken_back_and_nothing_else(world: World) -> None:
    world.load(OLD, OLD_LEADS)
    before = world.dump()
    report = world.load(NEW, NEW_LEADS)
    assert (report.messages_duplicate, report.messages_conflicting) == (5, 1)
    assert differences(before, world.dump()).keys() >= {
        *("messages", "audit_log", "conversations", "leads", "customers", "customer_merges"),
        *("customer_identities", "skips", "quarantine", "conflicts"),
    }
    world.roll_back()
    assert differences(before, world.dump()) == {}
    sound(world)


def test_the_same_log_loaded_again_after_a_rollback_is_as_if_nothing_had_been(
    world: World,
) -> None:
    def timeless() -> dict[str, list[Any]]:
        return {
            name: world.rows(
                f"SELECT to_jsonb(t) - '{{received_at,run_id}}'::text[] FROM {name} t "
                + ("WHERE log <> 'backstory' " if name == "audit_log" else "")
                + "ORDER BY 1"
            )
            for name in ("audit_log", "messages", "conversations", "leads", "customers")
        }

    world.load(OLD, OLD_LEADS)
    world.load(NEW, NEW_LEADS)
    after = timeless()
    world.roll_back()
    world.load(NEW, NEW_LEADS)
    assert timeless() == after


def test_a_plan_says_what_the_rollback_does_and_writes_nothing(world: World) -> None:
    world.load(OLD, OLD_LEADS)
    world.load(NEW, NEW_LEADS)
    before = world.dump()
    plan = world.plan_rollback()
    assert differences(before, world.dump()) == {}
    report = world.roll_back()
    assert plan.removed == report.removed
    assert plan.restored == report.restored
    assert plan.blockers == []
    assert json.dumps(plan.as_json())
    assert plan.restored.keys() >= {"leads", "conversations"}


def test_a_rollback_is_written_down_and_done_once(world: World) -> None:
    run = world.load(OLD, OLD_LEADS).run_id
    world.roll_back(run)
    assert world.one("SELECT status FROM backfill_runs") == "rolled_back"
    entry = world.one(
        "SELECT payload FROM audit_log WHERE log = 'backstory' AND action = 'rollback'"
    )
    assert entry["run_id"] == run
    assert entry["removed"]["messages"] == 20
    with pytest.raises(RunError, match="rolled back already"):
        world.roll_back(run)
    with pytest.raises(UsageError):
        world.roll_back("ffffffff")


@pytest.mark.parametrize("broken_off", [False, True])
def test_a_first_load_leaves_the_search_index(world: World, *, broken_off: bool) -> None:
    world.load(OLD, OLD_LEADS)
    if broken_off:
        world.run(
            "DROP INDEX messages_search_idx",
            "UPDATE backfill_runs SET status = 'paused', first_load = true",
        )
    world.roll_back()
    sound(world)


def test_a_record_whose_first_copy_is_taken_back_comes_again_with_its_second_log(
    world: World,
) -> None:
    first = world.load(OLD).run_id
    again = world.load(OLD)
    assert again.messages_duplicate == 20
    world.roll_back(first)
    assert world.one("SELECT count(*) FROM messages") == 0
    assert world.load(OLD).messages_created == 20


# --- in any order ------------------------------------------------------------------------------


def test_runs_that_changed_the_same_rows_can_be_taken_back_in_any_order(world: World) -> None:
    """Both move the same conversation on and change the same lead."""
    world.load(OLD, OLD_LEADS)
    before = world.dump()
    for latest_first in (True, False):
        runs = [
            world.load(
                talk("lead-2", range(30, 35)), [lead("lead-2", stage="a", phone="512 555 0109")]
            ).run_id,
            world.load(
                talk("lead-2", range(35, 40)), [lead("lead-2", stage="b", name="Bo")]
            ).run_id,
        ]
        for run in reversed(runs) if latest_first else runs:
            world.roll_back(run)
            sound(world)
        assert differences(before, world.dump()) == {}


def test_a_customer_whom_a_later_run_absorbed_goes_with_that_run(world: World) -> None:
    before = world.dump()
    first = world.load([], [lead("lead-1"), lead("lead-2")]).run_id
    later = world.load([], [lead(name, phone="512 555 0101") for name in ("lead-1", "lead-2")])
    assert world.one("SELECT count(*) FROM customer_merges") == 1
    world.roll_back(first)
    sound(world)
    world.roll_back(later.run_id)
    assert differences(before, world.dump()) == {}


def test_the_time_of_the_last_message_follows_what_is_left(world: World) -> None:
    world.load(OLD, OLD_LEADS)
    later = world.load(talk("lead-1", [70, 71])).run_id
    world.load(talk("lead-1", [60, 61]))
    world.roll_back(later)
    ((last, shown),) = world.rows(
        """SELECT max(m.created_at), c.last_message_at
           FROM messages m JOIN conversations c ON c.id = m.conversation_id
           JOIN leads l ON l.id = c.lead_id WHERE l.external_id = 'lead-1' GROUP BY c.id"""
    )
    assert last == shown
    sound(world)


ids = st.integers(0, 5)
some_leads = st.lists(
    st.builds(
        lambda number, phone, mail, stage, minute: lead(
            f"lead-{number}",
            phone=phone and f"512 555 010{phone}",
            email=mail and f"{mail}@example.com",
            stage=stage,
            created_at=minute and f"2026-05-01T00:{minute:02}:00Z",
        ),
        ids,
        st.sampled_from([None, None, 1, 2]),
        st.sampled_from([None, None, "a", "b"]),
        st.sampled_from([None, "new", "won"]),
        st.sampled_from([None, 1, 2, 3]),
    ),
    max_size=5,
)
some_records = st.lists(
    st.builds(
        lambda number, name, words, actor: record(
            number, f"lead-{name}", payload={"text": words} if words else {}, actor=actor
        ),
        st.integers(0, 30),
        ids,
        st.sampled_from(["hello", "hello", "goodbye", ""]),
        st.sampled_from(["customer", "agent", "agent", "robot"]),
    ),
    max_size=12,
)
some_runs = st.lists(st.tuples(some_records, st.none() | some_leads), min_size=1, max_size=3)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(some_runs, st.randoms(use_true_random=False))
def test_any_runs_taken_back_in_any_order_leave_what_was_before(
    world: World, loads: list[tuple[Any, Any]], chance: random.Random
) -> None:
    """What another run stands on says so and changes nothing; its turn comes later."""
    world.run("TRUNCATE " + ", ".join(Base.metadata.tables))
    dumps = [world.dump()]
    runs = []
    for records, leads in loads:
        runs.append(world.load(records, leads).run_id)
        dumps.append(world.dump())
    standing = list(range(len(runs)))
    while standing:
        turn = chance.choice(standing)
        now = world.dump()
        try:
            world.roll_back(runs[turn])
        except RunError:
            assert turn != max(standing)
            assert differences(now, world.dump()) == {}
            continue
        in_order = turn == max(standing) == len(standing) - 1
        standing.remove(turn)
        if in_order:
            assert differences(dumps[turn], world.dump()) == {}
        sound(world)
    assert differences(dumps[0], world.dump()) == {}


# --- runs that did not end, and retries ----------------------------------------------------------


def interrupted(world: World, step: str, records: Any, leads: Any) -> None:
    """Run a backfill that is interrupted when it tells of something done in a step."""

    def tell(progress: Progress) -> None:
        if progress.step == step and (progress.done or step != "write"):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        journey.start(world.database, world.home, world.options(records, leads), tell)


@pytest.mark.parametrize("step", ["read", "write", "check"])
@pytest.mark.parametrize("status", ["paused", "canceled", "failed", "running"])
def test_a_run_that_did_not_end_is_taken_back_whole(world: World, step: str, status: str) -> None:
    world.load(OLD, OLD_LEADS)
    before = world.dump()
    many = [record(100 + number, f"lead-{number // 100}") for number in range(4500)]
    interrupted(world, step, [*NEW, *many] if step == "write" else NEW, NEW_LEADS + OLD_LEADS)
    world.run("UPDATE backfill_runs SET status = :status WHERE status = 'paused'", status=status)
    world.roll_back()
    assert differences(before, world.dump()) == {}
    sound(world)


def test_a_run_at_work_is_left_alone(world: World) -> None:
    said = []

    def tell(progress: Progress) -> None:
        if progress.step == "write" and progress.done == 0:
            return
        if progress.step == "write":
            with pytest.raises(RunError, match="is at work: `backstory cancel") as refused:
                world.roll_back()
            said.append(str(refused.value))

    journey.start(world.database, world.home, world.options(OLD, OLD_LEADS), tell)
    assert said
    sound(world)


def test_a_retry_is_taken_back_and_what_it_took_waits_again(world: World) -> None:
    world.load(OLD, OLD_LEADS)
    world.load([record(60, "lead-1", created_at="not a time"), b'{"id": "broken'])
    world.run(
        "UPDATE quarantine SET raw = convert_to(replace(convert_from(raw, 'UTF8'), 'not a time',"
        " '2026-05-02T00:00:00Z'), 'UTF8')"
    )
    before = world.dump()
    reports = retry(world.database, world.home)
    assert sum(report.messages_created for report in reports) == 1
    assert world.rows("SELECT status FROM quarantine WHERE status = 'resolved'")
    with pytest.raises(RunError, match=str(reports[0].run_id)[:8]):
        world.roll_back(world.rows("SELECT CAST(run_id AS text) FROM quarantine")[0][0])
    for report in reports:
        world.roll_back(report.run_id)
    assert differences(before, world.dump()) == {}


# --- what stands in the way ----------------------------------------------------------------------


LIVE = """
    INSERT INTO audit_log (id, log, audit_id, lead_id, lead_external_id, actor, action, payload,
                           payload_hash, seq, created_at)
    SELECT CAST(:id AS uuid), 'audit', 'live-1', c.lead_id, 'lead-3', 'customer',
           'message_received', '{"text": "live"}', '', 0, '2026-05-20'
    FROM conversations c JOIN leads l ON l.id = c.lead_id WHERE l.external_id = 'lead-3';
    INSERT INTO messages (id, conversation_id, customer_id, log, audit_id, role, kind, content, seq,
                          created_at)
    SELECT CAST(:id AS uuid), c.id, c.customer_id, 'audit', 'live-1', 'user', 'text', 'live', 0,
           '2026-05-20'
    FROM conversations c JOIN leads l ON l.id = c.lead_id WHERE l.external_id = 'lead-3'
"""
OF_LEAD_3 = """SELECT gen_random_uuid(), l.customer_id, {} FROM leads l
               JOIN conversations c ON c.lead_id = l.id AND c.ordinal = 0
               WHERE l.external_id = 'lead-3'"""
AUTHORED = {
    "messages": LIVE,
    "conversations": """
        INSERT INTO conversations (id, lead_id, customer_id, ordinal, channel, status, closed_at)
        SELECT gen_random_uuid(), id, customer_id, 1, 'sms', 'closed', now() FROM leads
        WHERE external_id = 'lead-3'""",
    "jobs": "INSERT INTO jobs (id, customer_id, title) " + OF_LEAD_3.format("'a job'"),
    "addresses": "INSERT INTO customer_addresses (id, customer_id, line1, normalized_key) "
    + OF_LEAD_3.format("'1 Oak St', '1 oak st'"),
    "claims": "INSERT INTO customer_identities (id, customer_id, kind, value, provenance) "
    + OF_LEAD_3.format("'phone', '+15125550199', 'claimed'"),
    "confirmations": """
        INSERT INTO confirmations (id, customer_id, candidate_id, source_kind, source_id,
                                   content_hash, fetched_at, conversation_id) """
    + OF_LEAD_3.format("'x', 'lead', l.id, '', now(), c.id"),
    "tool_calls": """
        INSERT INTO tool_calls (id, customer_id, tool, actor, arguments_hash, outcome,
                                latency_ms) """
    + OF_LEAD_3.format("'a_tool', 'agent', '', 'done', 1"),
    "notes": "INSERT INTO memory_notes (id, customer_id, kind, text, extracted_by, status) "
    + OF_LEAD_3.format("'fact', 'a note', 'test', 'confirmed'"),
}
# A lead of its own, who is nobody else's customer.
LONELY = [lead("lead-3", phone="512 555 0133")]


@pytest.mark.parametrize("name", AUTHORED)
def test_what_was_written_on_top_blocks_and_goes_with_force(world: World, name: str) -> None:
    world.load(OLD, OLD_LEADS)
    before = world.dump()
    world.load(NEW, LONELY)
    for statement in AUTHORED[name].split(";"):
        world.run(statement, **({"id": uuid.UUID(int=7)} if ":id" in statement else {}))
    standing = world.dump()
    (blocker,) = world.plan_rollback().blockers
    assert (blocker.name, blocker.count, blocker.run_id) == (name, 1, None)
    with pytest.raises(RunError) as refused:
        world.roll_back()
    assert blocker.sentence in str(refused.value)
    assert differences(standing, world.dump()) == {}
    report = world.roll_back(force=True)
    assert report.forced[name] == 1
    assert differences(before, world.dump()) == {}


def test_every_obstacle_is_tried() -> None:
    of_runs = {"conflicts", "retries"}
    assert {obstacle.name for obstacle in OBSTACLES} == AUTHORED.keys() | of_runs
    for obstacle in OBSTACLES:
        assert obstacle.counted_by in statements()


def test_everything_at_once_goes_with_force(world: World) -> None:
    world.load(OLD, OLD_LEADS)
    before = world.dump()
    run = world.load(NEW, LONELY).run_id
    for statements_ in AUTHORED.values():
        for statement in statements_.split(";"):
            world.run(statement, **({"id": uuid.UUID(int=7)} if ":id" in statement else {}))
    world.run(
        """INSERT INTO job_items (id, job_id, customer_id, position, kind, name, quantity, unit)
           SELECT gen_random_uuid(), id, customer_id, 1, 'item', 'a thing', 1, 'each' FROM jobs""",
        """INSERT INTO job_events (id, job_id, customer_id, event_type, occurred_at, actor)
           SELECT gen_random_uuid(), id, customer_id, 'created', now(), 'agent' FROM jobs""",
        """UPDATE jobs SET service_address_id = (SELECT id FROM customer_addresses),
               lead_id = (SELECT id FROM leads WHERE external_id = 'lead-3'),
               conversation_id = (SELECT conversation_id FROM messages
                                  WHERE audit_id = 'live-1')""",
        """UPDATE memory_notes SET job_id = (SELECT id FROM jobs),
               address_id = (SELECT id FROM customer_addresses),
               source_message_ids = (SELECT array_agg(id) FROM messages
                                     WHERE audit_id = 'live-1')""",
    )
    assert {blocker.name for blocker in world.plan_rollback(run).blockers} == AUTHORED.keys()
    world.roll_back(run, force=True)
    assert differences(before, world.dump()) == {}
    sound(world)


def test_a_later_run_in_the_same_conversation_is_named_and_goes_first(world: World) -> None:
    first = world.load(OLD, OLD_LEADS)
    between = world.dump()
    later = world.load([*talk("lead-1", range(60, 63)), record(1, payload={"text": "not so"})])
    found = {
        (each.name, each.count, str(each.run_id))
        for each in world.plan_rollback(first.run_id).blockers
    }
    assert found == {("messages", 3, later.run_id), ("conflicts", 1, later.run_id)}
    with pytest.raises(RunError, match=f"`backstory rollback {str(later.run_id)[:8]}` first"):
        world.roll_back(first.run_id)
    world.roll_back(later.run_id)
    assert differences(between, world.dump()) == {}
    world.roll_back(first.run_id)


def test_force_takes_a_later_run_out_of_the_conversations_it_removes(world: World) -> None:
    before = world.dump()
    first = world.load(OLD, OLD_LEADS)
    later = world.load([*talk("lead-1", range(60, 63)), record(1, payload={"text": "not so"})])
    report = world.roll_back(first.run_id, force=True)
    assert report.forced == {"messages": 3, "conflicts": 1}
    assert {gate.name for gate in world.verify(sample=10).failed} == {"outcomes_add_up"}
    world.roll_back(later.run_id)
    assert differences(before, world.dump()) == {}
    sound(world)


def test_derived_notes_fall_with_what_they_were_made_of(world: World) -> None:
    world.load(OLD, OLD_LEADS)
    world.run(
        """INSERT INTO memory_notes (id, customer_id, kind, text, extracted_by)
           SELECT CAST(:id AS uuid), customer_id, 'fact', 'an old note', 'rules/1'
           FROM leads WHERE external_id = 'lead-1'""",
        id=uuid.UUID(int=1),
    )
    before = world.dump()
    world.load(talk("lead-1", range(60, 63)))
    world.run(
        """INSERT INTO memory_notes (id, customer_id, kind, text, extracted_by, source_message_ids)
           SELECT CAST(:id AS uuid), customer_id, 'summary', 'a new note', 'rules/1', ARRAY[id]
           FROM messages WHERE audit_id = 'a-61'""",
        "UPDATE memory_notes SET status = 'superseded', superseded_by_id = :id WHERE id <> :id",
        id=uuid.UUID(int=2),
    )
    assert world.roll_back().removed["memory_notes"] == 1
    assert differences(before, world.dump()) == {}


def test_what_happened_to_a_conversation_since_stays(world: World) -> None:
    """A run moves a conversation on; a person closes it, and live events begin the next one."""
    world.load(OLD, OLD_LEADS)
    run = world.load(
        talk("lead-1", range(60, 63)), [lead("lead-1", phone="512 555 0101", stage="x")]
    )
    lead_1 = "lead_id = (SELECT id FROM leads WHERE external_id = 'lead-1')"
    world.run(
        f"UPDATE conversations SET status = 'closed', closed_at = now() WHERE {lead_1}",
        f"""INSERT INTO conversations (id, lead_id, customer_id, ordinal, channel, status)
            SELECT gen_random_uuid(), lead_id, customer_id, 1, channel, 'open'
            FROM conversations WHERE {lead_1}""",
    )
    world.roll_back(run.run_id)
    statuses = world.rows(f"SELECT status FROM conversations WHERE {lead_1} ORDER BY ordinal")
    assert [row[0] for row in statuses] == ["closed", "open"]
    assert {gate.name for gate in world.verify().failed} == set()


def test_a_failure_in_the_middle_changes_nothing(world: World) -> None:
    world.load(OLD, OLD_LEADS)
    before = world.dump()
    world.run(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'not this one' USING ERRCODE = '23000'; END $$",
        "CREATE TRIGGER refuse BEFORE DELETE ON leads FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    with pytest.raises(RunError, match="nothing was changed"):
        world.roll_back()
    assert differences(before, world.dump()) == {}
    assert world.one("SELECT status FROM backfill_runs") == "done"
