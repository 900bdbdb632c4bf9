"""A plan says what a run would do, and does nothing; a rehearsal does it and takes it back."""

from typing import Any

import pytest
from dumps import comparable
from loaded_world import World, lead, record, talk

from backstory.backfill import decide, journey
from backstory.backfill.decide import Pace
from backstory.backfill.plan import plan
from backstory.backfill.rehearse import rehearse
from backstory.errors import RunError, UsageError
from backstory.store.tables import Base

LEADS = [lead("lead-1", phone="512 555 0101"), lead("lead-2", phone="(512) 555-0101"), lead("idle")]
RECORDS = [
    *talk("lead-1", range(10)),
    *talk("lead-2", range(10, 20)),
    record(3, "lead-1"),
    record(4, "lead-1", payload={"text": "another"}),
    record(30, "stranger"),
    record(31, "lead-1", actor="robot"),
    record(32, "lead-1", payload={}),
    record(33, None),
    b"{",
    b'{"id": "x", "payload": NaN}',
]


def everything(world: World) -> list[Any]:
    """Return every row of every table, the ledgers included."""
    return [
        world.rows(f"SELECT xmin, * FROM {table} ORDER BY ctid") for table in Base.metadata.tables
    ]


def small_pages(monkeypatch: pytest.MonkeyPatch, records: int) -> None:
    """Let a batch hold so many records, whatever time it takes."""
    monkeypatch.setattr(Pace.__init__, "__defaults__", (2000, records))
    monkeypatch.setattr(decide, "_FEWEST_RECORDS", records)
    monkeypatch.setattr(decide, "_MOST_RECORDS", records)


def test_a_plan_equals_the_run_that_follows_and_writes_nothing(world: World) -> None:
    options = world.options(RECORDS, LEADS)
    before = everything(world)
    planned = plan(world.database, world.home, options)
    assert everything(world) == before
    report = journey.start(world.database, world.home, options)
    assert comparable(planned) == comparable(report)
    assert (planned.run_id, planned.mode) == (None, "plan")
    assert (report.messages_created, report.conversations_created, report.customers_created) == (
        (20, 3, 2)
    )
    assert report.skipped_by_reason == {
        "no_lead": 1, "lead_not_found": 1, "unknown_actor": 1, "no_text": 1,
    }  # fmt: skip
    assert (report.messages_duplicate, report.messages_conflicting) == (1, 1)
    assert report.records_quarantined == 2


def test_a_plan_over_what_is_there_equals_the_run_too(world: World) -> None:
    world.load(RECORDS, LEADS)
    more = [*RECORDS, *talk("lead-1", range(5, 40)), record(50, "lead-3"), record(51, "stranger")]
    leads = [*LEADS, lead("lead-3", email="three@example.com"), lead("late")]
    for listed in (leads, None):
        options = world.options(more, listed)
        planned = plan(world.database, world.home, options)
        assert comparable(planned) == comparable(journey.start(world.database, world.home, options))
        assert planned.messages_created


def test_a_plan_needs_no_database(world: World) -> None:
    options = world.options(RECORDS, LEADS)
    planned = plan(None, world.home, options)
    assert comparable(planned) == comparable(journey.start(world.database, world.home, options))


def test_a_plan_leaves_no_file_behind(world: World) -> None:
    plan(world.database, world.home, world.options(RECORDS, LEADS))
    empty = world.options([])
    with pytest.raises(RunError, match="allow-empty"):
        plan(world.database, world.home, type(empty)(audit=empty.audit))
    assert list((world.home / "runs").iterdir()) == []


@pytest.mark.parametrize("listed", [True, False])
def test_a_lead_of_many_pages_is_planned_as_it_is_run(
    world: World, monkeypatch: pytest.MonkeyPatch, *, listed: bool
) -> None:
    # The first page of lead-9 holds nothing but losers of conflicts, its last is new.
    records = [
        *talk("lead-1", range(5)),
        *[record(n, "lead-9", payload={"text": "other"}) for n in range(5)],
        *talk("lead-9", range(20, 27)),
    ]
    small_pages(monkeypatch, 3)
    options = world.options(records, [lead("lead-1"), lead("lead-9")] if listed else None)
    planned = plan(world.database, world.home, options)
    assert comparable(planned) == comparable(journey.start(world.database, world.home, options))
    assert (planned.messages_created, planned.messages_conflicting) == (12, 5)
    assert planned.customers_created == 2
    assert (planned.conversations_created, planned.conversations_skipped) == (2, 0)


def test_a_lead_of_whom_nothing_won_has_no_conversation_that_was_there_before(world: World) -> None:
    records = [record(1, "lead-1"), record(1, "lead-2")]
    for created, there_before in ((1, 0), (0, 1)):
        options = world.options(records)
        planned = plan(world.database, world.home, options)
        report = journey.start(world.database, world.home, options)
        assert comparable(planned) == comparable(report)
        assert report.messages_conflicting == 1
        found = (report.conversations_created, report.conversations_skipped)
        assert found == (created, there_before)
        assert world.rows("SELECT count(*) FROM conversations") == [(1,)]


REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.content = 'message 7' THEN RAISE EXCEPTION 'seven is not wanted'; END IF;
    RETURN NEW;
END $$
"""
TRIGGER = "CREATE TRIGGER t BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refuse()"


def test_a_rehearsal_finds_what_only_a_write_finds_and_takes_everything_back(world: World) -> None:
    world.load(talk("lead-0", range(100, 105)))
    world.run(
        REFUSE, "CREATE TRIGGER t BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    options = world.options(RECORDS, LEADS)
    before = everything(world)
    assert plan(world.database, world.home, options).records_quarantined == 2
    rehearsed = rehearse(world.database, world.home, options, batches=1000)
    assert rehearsed.records_quarantined == 3
    assert rehearsed.messages_created == 19
    assert rehearsed.conversations_created == 2
    assert everything(world) == before
    assert {path.name for path in (world.home / "runs").iterdir()} == set()


def test_a_rehearsal_stops_after_so_many_batches(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pages(monkeypatch, 10)
    records = [each for n in range(5) for each in talk(f"lead-{n}", range(10 * n, 10 * n + 10))]
    options = world.options(records)
    rehearsed = rehearse(world.database, world.home, options, batches=2)
    assert rehearsed.messages_created == 20
    assert rehearsed.mode == "rehearse"
    with pytest.raises(UsageError):
        rehearse(world.database, world.home, options, batches=0)
    assert not any(everything(world))
