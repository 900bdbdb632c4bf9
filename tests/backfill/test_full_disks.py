"""A disk that is full, here or at the server, ends a run in words; with space again it goes on."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from loaded_world import World, lead, record

from backstory.backfill import decide, journey, manifest, spill
from backstory.backfill.decide import Pace
from backstory.backfill.plan import plan
from backstory.errors import DatabaseError, SourceError

LEADS = [lead(f"lead-{number}") for number in range(12)]
RECORDS = [record(number, f"lead-{number % 12}") for number in range(360)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the work small, so that something is committed before the disk is full."""
    monkeypatch.setattr(Pace.__init__, "__defaults__", (3, 10))
    monkeypatch.setattr(decide, "_FEWEST_RECORDS", 10)
    monkeypatch.setattr(decide, "_MOST_RECORDS", 10)
    monkeypatch.setattr(manifest, "PARTITION_BYTES", 8000)


# What a server says when a table cannot grow, as soon as it holds more than a hundred messages.
FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM messages) > 100 THEN
        RAISE 'could not extend file "base/1/2": No space left on device' USING ERRCODE = '53100';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER full_disk AFTER INSERT ON messages FOR EACH STATEMENT EXECUTE FUNCTION full_disk()
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_of_the_server_ends_a_run_with_advice_and_resume_goes_on(
    world: World, workers: int
) -> None:
    world.run(FULL)
    with pytest.raises(DatabaseError, match=r"No space left on device.*free space on the server"):
        world.load(RECORDS, LEADS, workers=workers)
    ((status, error),) = world.rows("SELECT status, error FROM backfill_runs")
    assert status == "failed"
    assert "No space left on device" in error
    assert 0 < world.one("SELECT count(*) FROM messages") <= 100
    # No conversation is half-written, and no record is blamed for the disk.
    half = """SELECT count(*) FROM messages GROUP BY conversation_id HAVING count(*) <> 30"""
    assert world.rows(half) == []
    assert world.one("SELECT count(*) FROM quarantine") == 0
    with pytest.raises(DatabaseError, match="No space left on device"):
        journey.resume(world.database, "last")
    world.run("DROP FUNCTION full_disk() CASCADE")
    report = journey.resume(world.database, "last")
    assert (report.messages_created, report.errors) == (len(RECORDS), [])
    assert world.verify(sample=12).ok


@contextmanager
def disk_of(octets: int) -> Iterator[None]:
    """Let the system refuse every file of this process that grows beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_of_the_home_ends_a_run_with_advice_and_resume_goes_on(world: World) -> None:
    options = world.options(RECORDS, LEADS)
    with (
        disk_of(12_000),
        pytest.raises(SourceError, match=r"no more working files.*resume") as full,
    ):
        journey.start(world.database, world.home, options)
    assert str(world.home) in str(full.value)
    assert world.one("SELECT status FROM backfill_runs") == "failed"
    assert world.one("SELECT count(*) FROM messages") == 0
    report = journey.resume(world.database, "last")
    assert (report.messages_created, report.errors) == (len(RECORDS), [])
    assert world.verify(sample=12).ok
    assert list((world.home / "runs").iterdir()) == []


def test_the_disk_may_be_full_while_a_large_partition_is_sorted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "PARTITION_BYTES", 1 << 30)
    monkeypatch.setattr(spill, "MAX_PARTITION_BYTES", 2000)
    options = world.options(RECORDS, LEADS)
    read = spill.Spill.taken

    def taken(self: spill.Spill, partition: int) -> Iterator[object]:
        with disk_of(1000):
            yield from read(self, partition)

    with monkeypatch.context() as full:
        full.setattr(spill.Spill, "taken", taken)
        with pytest.raises(SourceError, match="no more working files"):
            journey.start(world.database, world.home, options)
    report = journey.resume(world.database, "last")
    assert (report.messages_created, report.errors) == (len(RECORDS), [])


def test_a_plan_on_a_full_disk_says_so_and_leaves_no_file(world: World) -> None:
    options = world.options(RECORDS, LEADS)
    with disk_of(12_000), pytest.raises(SourceError, match="no more working files"):
        plan(world.database, world.home, options)
    assert list((world.home / "runs").iterdir()) == []
