"""Writers beside one another, and a database that refuses: nobody is harmed, nothing is lost."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from dumps import differences, logical
from loaded_world import World, lead, record, talk
from sqlalchemy import event
from waiting import until

from backstory.backfill import control, decide, journey, manifest, spill
from backstory.backfill.decide import Pace
from backstory.backfill.rehearse import rehearse
from backstory.backfill.retry import retry
from backstory.errors import DatabaseError, DatabaseUnreachable, Interrupted, LeaseLost, RunError
from backstory.model import PartitionStage, RunStatus, RunWish
from backstory.runs import run as runs
from backstory.runs.claim import advance, claim_next, leading, renew
from backstory.store.engine import Database

LEADS = [lead(f"lead-{number}") for number in range(12)]
RECORDS = [record(number, f"lead-{number % 12}") for number in range(360)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the work small, so that a few records pass every road that a million would."""
    monkeypatch.setattr(Pace.__init__, "__defaults__", (3, 10))
    monkeypatch.setattr(decide, "_FEWEST_RECORDS", 10)
    monkeypatch.setattr(decide, "_MOST_RECORDS", 10)
    monkeypatch.setattr(manifest, "PARTITION_BYTES", 8000)
    monkeypatch.setattr(manifest, "SEGMENT_BYTES", 8000)
    monkeypatch.setattr(spill, "MAX_PARTITION_BYTES", 2000)
    monkeypatch.setattr(spill, "RUN_RECORDS", 7)


def dump(world: World) -> dict[str, list[str]]:
    with world.connection() as connection:
        return logical(connection)


# --- beside one another ----------------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_two_runs_at_once_write_what_one_run_writes(world: World):
    """Each sees half of the log, a third of it is in both, in another order."""
    halves = [RECORDS[:240], RECORDS[:119:-1]]
    options = [world.options(half, LEADS) for half in halves]
    with ThreadPoolExecutor(2) as pool:
        begun = [pool.submit(journey.start, world.database, world.home, each) for each in options]
        reports = [each.result() for each in begun]
    assert sum(report.messages_created for report in reports) == len(RECORDS)
    assert sum(report.messages_duplicate for report in reports) == 120
    assert [report.errors for report in reports] == [[], []]
    assert world.verify(sample=12).ok
    assert world.one("SELECT count(*) FROM messages") == len(RECORDS)


@pytest.mark.usefixtures("small")
def test_an_id_that_two_runs_give_to_two_leads_at_once_is_one_message_and_one_conflict(
    world: World,
):
    options = [
        world.options([record(n, f"lead-{n % 6 + shift}") for n in range(60)], LEADS)
        for shift in (0, 6)
    ]
    with ThreadPoolExecutor(2) as pool:
        begun = [pool.submit(journey.start, world.database, world.home, each) for each in options]
        reports = [each.result() for each in begun]
    assert sum(report.messages_created for report in reports) == 60
    assert sum(report.messages_conflicting for report in reports) == 60
    assert [report.errors for report in reports] == [[], []]


def test_two_first_loads_at_once_build_one_search_index(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(journey, "FIRST_LOAD_RECORDS", 1)
    barrier = threading.Barrier(2)
    finish = journey.finish

    def together(*arguments: object) -> object:
        barrier.wait(timeout=60)
        return finish(*arguments)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(journey, "finish", together)
    for _ in range(3):
        options = [world.options(RECORDS, LEADS) for _ in range(2)]
        with ThreadPoolExecutor(2) as pool:
            begun = [
                pool.submit(journey.start, world.database, world.home, each) for each in options
            ]
            reports = [each.result() for each in begun]
        assert sum(report.messages_created for report in reports) == len(RECORDS)
        assert world.verify().ok
        for report in sorted(reports, key=lambda each: each.messages_created):
            world.roll_back(report.run_id, force=True)


def test_a_run_that_is_done_says_that_there_is_nothing_to_resume(world: World):
    world.load(RECORDS[:5], LEADS)
    with pytest.raises(RunError, match="is done"):
        journey.resume(world.database, "last")


def test_eight_workers_write_what_one_writes(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(manifest, "PARTITION_BYTES", 2000)
    monkeypatch.setattr(manifest, "SEGMENT_BYTES", 4000)
    world.load(RECORDS, LEADS)
    once = dump(world)
    world.roll_back()
    report = world.load(RECORDS, LEADS, workers=8)
    assert report.messages_created == len(RECORDS)
    assert differences(once, dump(world)) == []


def test_only_one_process_leads_a_run(world: World):
    report = world.load(RECORDS[:5], LEADS)
    with world.database.engine.connect() as first, world.database.engine.connect() as second:
        run = runs.get_run(first, report.run_id or "")
        first.rollback()
        with (
            leading(first, run.id),
            pytest.raises(RunError, match="another process"),
            leading(second, run.id),
        ):
            pass
        with leading(second, run.id):
            pass


def test_a_writer_whose_claim_was_taken_over_writes_nothing(world: World):
    report = world.load(RECORDS[:5], LEADS)
    run_id = world.one("SELECT id FROM backfill_runs")
    world.run(
        "UPDATE backfill_runs SET status = 'running'",
        "UPDATE run_partitions SET status = 'pending'",
    )
    engine = world.database.engine
    with engine.connect() as slow, engine.connect() as quick:
        with slow.begin():
            late = claim_next(slow, run_id, PartitionStage.WRITE)
        assert late is not None
        world.run("UPDATE run_partitions SET lease_until = clock_timestamp() - interval '1 s'")
        with quick.begin():
            taken = claim_next(quick, run_id, PartitionStage.WRITE)
        assert taken is not None
        assert (taken.number, taken.fence) == (late.number, late.fence + 1)
        with pytest.raises(LeaseLost), slow.begin():
            advance(slow, late, cursor=b"forged", counts={"records": 99}, done=True)
        with pytest.raises(LeaseLost), slow.begin():
            renew(slow, late)
        with quick.begin():
            advance(quick, taken, cursor=b"", counts=late.counts, done=True)
    assert world.one("SELECT count(*) FROM run_partitions WHERE cursor = 'forged'") == 0
    assert report.messages_created == 5


def test_a_claim_is_free_as_soon_as_its_session_is_gone(world: World):
    world.load(RECORDS[:5], LEADS)
    run_id = world.one("SELECT id FROM backfill_runs")
    world.run(
        "UPDATE backfill_runs SET status = 'running'",
        "UPDATE run_partitions SET status = 'pending'",
    )
    gone = Database.open(world.database.url, world.database.schema)
    with gone.engine.connect() as connection, connection.begin():
        held = claim_next(connection, run_id, PartitionStage.WRITE)
    with world.connection() as connection:
        assert claim_next(connection, run_id, PartitionStage.WRITE) is None
    gone.engine.dispose()
    assert held is not None
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with world.connection() as connection:
            if again := claim_next(connection, run_id, PartitionStage.WRITE):
                assert again.fence == held.fence + 1
                return
        time.sleep(0.02)
    pytest.fail("the claim of a session that is gone was not taken over")


# --- a lead larger than a batch --------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_a_lead_of_many_pages_shows_when_it_is_complete(world: World):
    """Seen by another connection at every statement of the run: none of it, or all."""
    seen = set()
    watcher = Database.open(world.database.url, world.database.schema)

    @event.listens_for(world.database.engine, "after_cursor_execute")
    def _look(*_: object) -> None:
        with watcher.engine.connect() as other:
            seen.add(other.exec_driver_sql("SELECT count(*) FROM messages").scalar_one())

    records = talk("lead-1", range(95))
    # The engine of the worker is its own: look at every commit of the parent, and at the end.
    timer = threading.Event()

    def look_often() -> None:
        while not timer.is_set():
            _look()

    thread = threading.Thread(target=look_often)
    thread.start()
    report = world.load(list(reversed(records)), LEADS)
    timer.set()
    thread.join()
    event.remove(world.database.engine, "after_cursor_execute", _look)
    watcher.engine.dispose()
    assert report.messages_created == 95
    assert seen == {0, 95}
    assert world.verify(sample=5).ok
    ordered = [row[0] for row in world.rows("SELECT audit_id FROM messages ORDER BY created_at")]
    assert ordered == [each["id"] for each in records]


@pytest.mark.usefixtures("small")
def test_a_lead_of_many_pages_loses_only_the_record_that_is_refused(world: World):
    with refused(world, "message 77"):
        report = world.load(talk("lead-1", range(95)), LEADS)
    assert (report.messages_created, report.records_quarantined) == (94, 1)
    assert report.errors == []
    assert world.one("SELECT last_message_at IS NOT NULL FROM conversations c "
                     "JOIN leads l ON l.id = c.lead_id WHERE l.external_id = 'lead-1'")  # fmt: skip


# --- a database that refuses -----------------------------------------------------------------


class refused:  # noqa: N801 - reads as a sentence
    """A trigger of the user's own that refuses messages of certain texts."""

    def __init__(self, world: World, *texts: str) -> None:
        self.world = world
        self.texts = texts

    def __enter__(self) -> None:
        texts = ", ".join(f"'{each}'" for each in self.texts)
        self.world.run(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF NEW.content IN ({texts}) THEN RAISE EXCEPTION 'not this one'; END IF; "
            "RETURN NEW; END $$",
            "CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW "
            "EXECUTE FUNCTION refuse()",
        )

    def __exit__(self, *_: object) -> None:
        self.world.run("DROP FUNCTION refuse() CASCADE")


def test_only_the_records_the_database_refuses_are_quarantined_and_a_retry_takes_them(
    world: World,
):
    world.load(RECORDS, LEADS)
    clean = dump(world)
    world.roll_back()
    with refused(world, "message 17", "message 200"):
        report = world.load(RECORDS, LEADS)
        assert (report.messages_created, report.records_quarantined) == (358, 2)
        rows = world.rows("SELECT audit_id, stage, code, message, raw FROM quarantine ORDER BY 1")
        assert [row.audit_id for row in rows] == ["a-17", "a-200"]
        assert {(row.stage, row.code) for row in rows} == {("write", "refused_P0001")}
        assert all("not this one" in row.message for row in rows)
        (failed,) = retry(world.database, world.home)
        assert (failed.messages_created, failed.records_quarantined) == (0, 2)
        assert world.one("SELECT count(*) FROM quarantine WHERE status = 'open'") == 2
    (taken,) = retry(world.database, world.home)
    assert (taken.messages_created, taken.records_quarantined, taken.errors) == (2, 0, [])
    assert world.one("SELECT count(*) FROM quarantine WHERE status = 'open'") == 0
    assert retry(world.database, world.home) == []
    assert world.verify(sample=12).ok
    world.run("DELETE FROM quarantine", "DELETE FROM run_changes")
    hidden = ("audit_log.seq", "messages.seq")
    with world.connection() as connection:
        found = logical(connection, without=hidden)
    without = {
        table: rows for table, rows in clean.items() if table not in {"audit_log", "messages"}
    }
    assert differences(without, {table: found[table] for table in without}) == []


def test_a_rehearsal_finds_what_only_a_write_finds_and_leaves_nothing(world: World):
    before = dump(world)
    with refused(world, "message 3"):
        report = rehearse(world.database, world.home, world.options(RECORDS, LEADS), batches=50)
        assert (report.messages_created, report.records_quarantined) == (359, 1)
    assert differences(before, dump(world)) == []
    assert world.one("SELECT count(*) FROM backfill_runs") == 0


@pytest.mark.parametrize(
    ("damage", "repair"),
    [
        ("ALTER TABLE messages RENAME TO hidden", "ALTER TABLE hidden RENAME TO messages"),
        (
            "ALTER TABLE messages RENAME COLUMN kind TO sort",
            "ALTER TABLE messages RENAME COLUMN sort TO kind",
        ),
    ],
)
def test_a_database_that_is_broken_fails_the_run_and_quarantines_nobody(
    world: World, damage: str, repair: str
):
    world.run(damage)
    with pytest.raises(DatabaseError):
        world.load(RECORDS, LEADS)
    world.run(repair)
    with world.connection() as connection:
        assert runs.get_run(connection, "last").status is RunStatus.FAILED
    assert world.one("SELECT count(*) FROM quarantine") == 0
    report = journey.resume(world.database, "last")
    assert report.messages_created == len(RECORDS)
    assert world.verify(sample=12).ok


def test_a_connection_that_is_cut_ends_the_run_with_advice_and_resume_goes_on(world: World):
    blocked = Database.open(world.database.url, world.database.schema)
    with blocked.engine.connect() as holder, ThreadPoolExecutor(1) as pool:
        holder.exec_driver_sql("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
        options = world.options(RECORDS, LEADS)
        begun = pool.submit(journey.start, world.database, world.home, options)
        until(lambda: world.one("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"))
        world.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        with pytest.raises(DatabaseUnreachable, match=r"`backstory resume [0-9a-f]{8}`"):
            begun.result()
        holder.rollback()
    blocked.engine.dispose()
    assert world.one("SELECT count(*) FROM quarantine") == 0
    assert journey.resume(world.database, "last").messages_created == len(RECORDS)


# --- wishes ----------------------------------------------------------------------------------


@pytest.fixture
def long_run(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A run of many small batches in a thread, each slowed by the table's own trigger."""
    monkeypatch.setattr(Pace.__init__, "__defaults__", (1, 10))
    monkeypatch.setattr(decide, "_MOST_RECORDS", 10)
    monkeypatch.setattr(decide, "_FEWEST_RECORDS", 10)
    world.run(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END $$",
        "CREATE TRIGGER slow AFTER INSERT ON messages EXECUTE FUNCTION slow()",
    )
    leads = [lead(f"lead-{number}") for number in range(60)]
    records = [record(number, f"lead-{number}") for number in range(60)]
    options = world.options(records, leads)
    with ThreadPoolExecutor(1) as pool:
        begun = pool.submit(journey.start, world.database, world.home, options)
        until(lambda: world.one("SELECT count(*) > 2 FROM messages"))
        yield begun
    world.run("DROP FUNCTION slow() CASCADE")


def test_a_pause_is_heard_between_two_batches_and_resume_ends_the_run(world: World, long_run):
    paused = control.stop(world.database, "last", RunWish.PAUSE)
    assert paused.status is RunStatus.PAUSED
    with pytest.raises(Interrupted) as stopped:
        long_run.result()
    assert stopped.value.run_id == str(paused.id)
    written = world.one("SELECT count(*) FROM messages")
    assert 0 < written < 60
    world.run("DROP TRIGGER slow ON messages")
    report = journey.resume(world.database, "last")
    assert (report.records_read, report.messages_created, report.errors) == (60, 60, [])


def test_a_cancel_ends_the_run_for_good_and_a_rollback_takes_it_back(world: World, long_run):
    canceled = control.stop(world.database, "last", RunWish.CANCEL)
    assert canceled.status is RunStatus.CANCELED
    with pytest.raises(Interrupted):
        long_run.result()
    with pytest.raises(RunError):
        journey.resume(world.database, "last")
    assert world.one("SELECT to_regclass('messages_search_idx') IS NOT NULL")
    world.roll_back()
    assert world.one("SELECT count(*) FROM messages") == 0
    assert world.one("SELECT count(*) FROM leads") == 0


def test_every_state_goes_only_where_the_table_says(world: World):
    world.load(RECORDS[:3], LEADS)
    with world.connection() as connection:
        run = runs.get_run(connection, "last")
    for before in RunStatus:
        for after in RunStatus:
            world.run("UPDATE backfill_runs SET status = :status", status=before)
            with world.database.engine.connect() as connection, connection.begin():
                if after in runs.TRANSITIONS[before]:
                    runs.move(connection, run, after)
                else:
                    with pytest.raises(RunError, match=f"{before.replace('_', ' ')}: it cannot be"):
                        runs.move(connection, run, after)
