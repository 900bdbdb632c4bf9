"""A database that refuses rows: only what it refuses is left out, and every record is accounted."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from uuid import UUID

import pytest
from dumps import comparable, differences, logical
from killable import Sizes
from loaded_world import World, lead, record, talk

from backstory.backfill import journey, spill
from backstory.backfill.report import Report
from backstory.backfill.retry import retry
from backstory.errors import DatabaseError
from backstory.extract.identity import lead_id
from backstory.runs.progress import Progress

LEADS = [lead(f"lead-{number}") for number in range(8)]
RECORDS = [record(number, f"lead-{number % 8}") for number in range(64)]


@contextmanager
def refusing(world: World, table: str, condition: str) -> Iterator[None]:
    """Let a table refuse rows, as a constraint of the user's own would."""
    world.run(f"ALTER TABLE {table} ADD CONSTRAINT ours CHECK (NOT ({condition})) NOT VALID")
    yield
    world.run(f"ALTER TABLE {table} DROP CONSTRAINT ours")


def quarantined(world: World) -> set[str]:
    return {row[0] for row in world.rows("SELECT audit_id FROM quarantine WHERE status = 'open'")}


def accounted(report: Report) -> int:
    return (
        report.messages_created
        + report.messages_skipped
        + report.messages_conflicting
        + report.audits_skipped
        + report.records_quarantined
    )


@pytest.mark.parametrize("records_of_a_batch", [3, 20, 4000])
def test_exactly_the_refused_records_are_left_out_however_large_the_batch(
    world: World, monkeypatch: pytest.MonkeyPatch, records_of_a_batch: int
) -> None:
    Sizes(records_of_a_batch, first_load_records=10**9).apply(monkeypatch.setattr)
    refused = {f"a-{number}" for number in (0, 7, 8, 9, 10, 11, 63)}
    with refusing(world, "messages", f"audit_id IN {tuple(sorted(refused))}"):
        report = world.load(RECORDS, LEADS)
    assert quarantined(world) == refused
    assert (report.messages_created, report.records_quarantined) == (57, 7)
    assert report.errors == []
    rows = world.rows("SELECT code, stage, position, raw FROM quarantine")
    assert {(row.code, row.stage) for row in rows} == {("refused_23514", "write")}
    assert world.one("SELECT count(*) FROM conversations") == 8
    # An index refuses otherwise than a constraint: what is there twice is looked up again first.
    again = world.load(RECORDS, LEADS)
    assert (again.messages_created, again.messages_duplicate) == (7, 57)


@pytest.mark.parametrize("first_load", [True, False])
def test_a_first_load_may_be_refused_too(
    world: World, monkeypatch: pytest.MonkeyPatch, *, first_load: bool
) -> None:
    Sizes(6, first_load_records=1 if first_load else 10**9).apply(monkeypatch.setattr)
    world.run("CREATE UNIQUE INDEX ours ON messages (content)")
    records = [*RECORDS, record(100, "lead-1", payload={"text": "message 3"})]
    report = world.load(records, LEADS)
    assert (report.messages_created, report.records_quarantined) == (64, 1)
    assert [row[0] for row in world.rows("SELECT code FROM quarantine")] == ["refused_23505"]
    assert accounted(report) == report.records_read == 65
    world.run("DROP INDEX ours")
    assert [each.messages_created for each in retry(world.database, world.home)] == [1]


def test_what_a_refused_record_left_behind_is_accounted_for(world: World) -> None:
    """Its equals are duplicates of it, and others under its id are conflicts."""
    records = [
        record(1, payload={"text": "no"}),
        record(1, payload={"text": "no"}),
        record(1, payload={"text": "other"}),
        record(2),
    ]
    with refusing(world, "messages", "content = 'no'"):
        report = world.load(records, LEADS)
    assert (report.messages_created, report.records_quarantined) == (1, 1)
    assert (report.messages_duplicate, report.messages_conflicting) == (1, 1)
    assert report.errors == []
    assert world.verify(sample=10).ok
    assert [each.messages_created for each in retry(world.database, world.home)] == [1]
    assert world.verify(sample=10).ok
    assert world.one("SELECT content FROM messages WHERE audit_id = 'a-1'") == "no"


@pytest.mark.parametrize("listed", [True, False])
def test_a_conversation_that_is_refused_costs_its_own_records_and_no_others(
    world: World, *, listed: bool
) -> None:
    with refusing(world, "conversations", f"lead_id = '{UUID(bytes=lead_id('lead-3'))}'"):
        report = world.load(RECORDS, LEADS if listed else None)
        assert quarantined(world) == {f"a-{number}" for number in range(3, 64, 8)}
        # A listed lead is there all the same, without a conversation: somebody should know.
        assert all("'lead-3' was refused" in sentence for sentence in report.errors)
        assert len(report.errors) == listed
        assert (report.messages_created, report.records_quarantined) == (56, 8)
        assert world.one("SELECT count(*) FROM conversations") == 7
    (report,) = retry(world.database, world.home)
    assert report.messages_created == 8
    assert world.verify(sample=10).ok


def test_a_ledger_that_is_refused_fails_the_run(world: World) -> None:
    """Nothing may be lost in silence: a skip that cannot be written down is no skip."""
    records = [*talk("lead-1", range(3)), record(9, payload={})]
    no_text = refusing(world, "skips", "reason = 'no_text'")
    with no_text, pytest.raises(DatabaseError, match="skips"):
        world.load(records, LEADS)
    assert world.one("SELECT status FROM backfill_runs") == "failed"


@pytest.mark.parametrize("at_row", [1, 5, 40])
@pytest.mark.parametrize("first_load", [True, False])
def test_two_writers_that_meet_in_a_lead_of_many_pages_lose_none_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch, at_row: int, *, first_load: bool
) -> None:
    """The pages are read from the files once more, which are sorted on the disk."""
    monkeypatch.setattr(spill, "MAX_PARTITION_BYTES", 2000)
    monkeypatch.setattr(spill, "RUN_RECORDS", 7)
    Sizes(6, first_load_records=1 if first_load else 10**9).apply(monkeypatch.setattr)
    records = [*talk("lead-0", range(50, 53)), *talk("lead-1", range(40)), *talk("lead-2", [60])]
    clean = world.load(records, LEADS)
    with world.connection() as connection:
        before = logical(connection)
    world.roll_back()
    world.run(
        "CREATE SEQUENCE rows_seen",
        "CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF nextval('rows_seen') = {at_row} THEN "
        "RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END IF; "
        "RETURN NEW; END $$",
        "CREATE TRIGGER meet BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION meet()",
    )
    report = world.load(records, LEADS)
    assert world.one("SELECT last_value FROM rows_seen") > 44
    assert comparable(report) == comparable(clean)
    with world.connection() as connection:
        assert differences(before, logical(connection)) == []


def test_runs_that_end_at_once_give_each_idle_lead_one_conversation(world: World) -> None:
    idle = [lead(f"idle-{number}") for number in range(300)]
    meeting = Barrier(2)

    def meet(progress: Progress) -> None:
        if progress.step == "check":
            meeting.wait(timeout=60)

    options = [
        world.options(talk(f"lead-{n}", range(10 * n, 10 * n + 3)), [*idle, lead(f"lead-{n}")])
        for n in range(2)
    ]
    with ThreadPoolExecutor(2) as pool:
        begun = [
            pool.submit(journey.start, world.database, world.home, each, meet) for each in options
        ]
        reports = [each.result() for each in begun]
    assert [report.errors for report in reports] == [[], []]
    assert sum(report.conversations_created for report in reports) == 302
    assert world.one("SELECT count(*) FROM conversations") == 302
