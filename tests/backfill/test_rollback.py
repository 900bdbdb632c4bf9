"""A rollback takes back exactly one run: the dump before the run equals the one after it."""

import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loaded_world import World, differences, lead, record, talk
from some_loads import some_runs
from two_loads import NEW, NEW_LEADS, OLD, OLD_LEADS, sound

from backstory.backfill import journey
from backstory.backfill.retry import retry
from backstory.errors import Interrupted, RunError, UsageError
from backstory.runs.progress import Progress
from backstory.store.tables import Base

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


UNINDEXED = """
    SELECT k.conname
    FROM pg_constraint k
    WHERE k.contype = 'f' AND k.connamespace = to_regnamespace(current_schema())
      AND NOT EXISTS (
          SELECT FROM pg_index i
          JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
          WHERE i.indrelid = k.conrelid AND i.indkey[0] = ANY (k.conkey)
            AND (i.indpred IS NULL
                 OR pg_get_expr(i.indpred, i.indrelid) = format('(%s IS NOT NULL)', a.attname)))
"""


def test_deleting_a_row_never_searches_a_whole_table_for_who_names_it(world: World) -> None:
    assert world.rows(UNINDEXED) == []
    world.run("DROP INDEX customer_merges_absorbed_id_idx")
    assert world.rows(UNINDEXED) == [("customer_merges_absorbed_id_fkey",)]


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


@pytest.mark.parametrize("order", ["bca", "bac", "cab"])
def test_runs_that_joined_the_same_customers_leave_nobody_behind_in_any_order(
    world: World, order: str
) -> None:
    """Two runs each join the two customers of the first."""
    messenger = {"channel": "messenger", "messenger_psid": "783"}
    phone = {"phone": "512 555 0101"}
    before = world.dump()
    loads = {
        "a": [
            lead("l1", email="a@ex.com", created_at="2026-05-01", **messenger),
            lead("l2", created_at="2026-05-04", **phone),
        ],
        "b": [lead("l3", email="a@ex.com", created_at="2026-05-02", **phone)],
        "c": [lead("l4", created_at="2026-05-03", **messenger, **phone)],
    }
    runs = {name: world.load([], leads).run_id for name, leads in loads.items()}
    for name in order:
        plan = world.plan_rollback(runs[name])
        report = world.roll_back(runs[name])
        assert (plan.removed, plan.kept) == (report.removed, report.kept)
        sound(world)
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


def test_a_run_that_changed_a_lead_and_moved_its_conversation_on_is_taken_out_of_the_middle(
    world: World,
) -> None:
    world.load(OLD, OLD_LEADS)
    before = world.dump()
    middle = world.load(talk("lead-1", [60, 61]), [lead("lead-1", stage="won")]).run_id
    images = world.rows(
        "SELECT before - '{channel,external_id,started_at,metadata}'::text[] AS times"
        " FROM run_changes WHERE table_name = 'conversations' ORDER BY id DESC LIMIT 1"
    )
    assert images[0].times.keys() == {"last_message_at", "last_incoming_at"}
    last = world.load(talk("lead-1", [70, 71])).run_id
    world.roll_back(middle)
    sound(world)
    world.roll_back(last)
    assert differences(before, world.dump()) == {}


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
        standing.remove(turn)
        if standing == list(range(len(standing))):
            assert differences(dumps[len(standing)], world.dump()) == {}
        sound(world)


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
    assert not any((world.home / "runs").iterdir())
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


QUARANTINED = "SELECT status, CAST(resolved_run_id AS text) FROM quarantine"


@pytest.mark.parametrize("order", ["fra", "raf", "far", "arf"])
def test_a_record_out_of_quarantine_and_in_again_is_where_it_was_whichever_run_goes_first(
    world: World, order: str
) -> None:
    """A retry takes it, another run meets it again and cannot, a second retry takes it again."""
    lines = [record(1), record(2, payload={"text": "not yet"})]
    refuse = "ALTER TABLE messages ADD CONSTRAINT c CHECK (content <> 'not yet') NOT VALID"
    allow = "ALTER TABLE messages DROP CONSTRAINT c"
    world.run(refuse)
    world.load(lines)
    states = [world.rows(QUARANTINED)]
    world.run(allow)
    runs = {"r": retry(world.database, world.home)[0].run_id}
    states.append(world.rows(QUARANTINED))
    assert states == [[("open", None)], [("resolved", runs["r"])]]
    gone = "DELETE FROM {} WHERE audit_id = 'a-2'"
    world.run(gone.format("messages"), gone.format("audit_log"), refuse)
    runs["f"] = world.load(lines).run_id
    states.append(world.rows(QUARANTINED))
    world.run(allow)
    runs["a"] = retry(world.database, world.home)[0].run_id
    assert states[-1] == [("open", None)]
    assert world.rows(QUARANTINED) == [("resolved", runs["a"])]
    standing = "rfa"
    for turn in order:
        world.roll_back(runs[turn])
        standing = standing.replace(turn, "")
        last = standing[-1:] or "f"
        expected = ("open", None) if last == "f" else ("resolved", runs[last])
        assert world.rows(QUARANTINED) == [expected]
    assert world.rows("SELECT * FROM run_changes WHERE table_name = 'quarantine'") == []
