"""A run may be killed anywhere, any number of times: resumed, it leaves what a clean run does."""

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import psutil
import psycopg
import pytest
from dumps import Dump, differences, logical
from killable import Death, Forks, Journey, Sizes, forks
from loaded_world import World, lead, record, talk, written
from sqlalchemy import Connection, Engine, make_url, text

from backstory.backfill import journey
from backstory.backfill.options import BackfillOptions
from backstory.errors import DatabaseUnreachable
from backstory.extract.identity import lead_id
from backstory.model import RunStatus
from backstory.runs.claim import is_led
from backstory.runs.progress import Progress
from backstory.runs.run import get_run
from backstory.store import embedded
from backstory.store.backfill import lock_slots
from backstory.store.engine import Database, open_engine
from backstory.store.schema import upgrade
from backstory.store.tables import Base

LEADS = [
    lead("lead-1", phone="512 555 0101"),
    lead("lead-2", phone="(512) 555-0101"),
    *(lead(f"lead-{number}") for number in range(3, 7)),
    lead("idle"),
    {"id": "bad", "created_at": "never"},
]
RECORDS = [
    # Interleaved by lead; lead-1 has more records than fit into a batch.
    *[record(number, f"lead-{1 + number % 6}") for number in range(24)],
    *talk("lead-1", range(30, 36)),
    record(7, "lead-2"),
    record(8, "lead-4", payload={"text": "another"}),
    record(9, "lead-4", payload={"text": "another"}),
    record(40, "stranger"),
    record(41, "lead-1", actor="robot"),
    record(42, "lead-2", payload=None),
    b"{",
    b"{",
    b'{"id": "x", "payload": NaN}',
]


class Killed(World):
    """A world whose one log is loaded over and over, from the same files."""

    def __init__(self, database: Database, home: Path) -> None:
        super().__init__(database, home)
        self.given = BackfillOptions(
            audit=(written(RECORDS, home / "audit.jsonl"),),
            leads=(written(LEADS, home / "leads.jsonl"),),
        )

    def empty(self) -> None:
        tables = reversed(Base.metadata.sorted_tables)
        self.run(
            "SET LOCAL session_replication_role = replica",
            *(f"DELETE FROM {table.name}" for table in tables),
            "CREATE INDEX IF NOT EXISTS messages_search_idx ON messages USING gin (search)",
        )

    def start(self, **more: Any) -> Journey:
        return Journey(self.database.url, self.home, self.given, **more)

    def resume(self, **more: Any) -> Journey:
        return Journey(self.database.url, self.home, None, **more)

    def dump(self) -> Dump:
        with self.connection() as connection:
            return logical(connection)

    def said(self) -> Counter[str]:
        """Return how many messages each conversation that is there has."""
        return Counter(
            dict(
                self.rows(
                    "SELECT l.external_id, count(m.id) FROM conversations c "
                    "JOIN leads l ON l.id = c.lead_id "
                    "LEFT JOIN messages m ON m.conversation_id = c.id GROUP BY 1"
                )
            )
        )

    def last(self) -> Any:
        with self.connection() as connection:
            return get_run(connection, "last")

    def led(self) -> bool:
        """Tell whether a living process leads the run."""
        run = self.last().id
        with self.connection() as connection:
            return is_led(connection, run)


@pytest.fixture
def world(engine: Engine, database_url: str, tmp_path: Path) -> Killed:
    killed = Killed(Database(database_url, "backstory", engine), tmp_path)
    # Processes are killed here, not the server.
    name = make_url(database_url).database
    killed.run(f"ALTER DATABASE {name} SET synchronous_commit = off")
    return killed


@pytest.fixture(scope="module")
def fork() -> Iterator[Forks]:
    with forks() as opened:
        yield opened


def check_nothing_is_half_written(world: Killed, whole: Counter[str]) -> None:
    """What is committed is whole conversations, and the ledger that counts them."""
    for name, count in world.said().items():
        assert count in {0, whole[name]}, name
    created = world.one(
        "SELECT coalesce(sum(CAST(counts ->> 'created' AS bigint)), 0) FROM run_partitions "
        "WHERE stage = 'write'"
    )
    assert world.one("SELECT count(*) FROM audit_log WHERE log = 'audit'") == created
    assert world.one("SELECT count(*) FROM messages") == created


def clean_run(world: Killed, fork: Forks) -> tuple[Dump, Counter[str], dict[str, Any]]:
    assert fork.end(world.start()) == 0
    found = world.dump(), world.said(), world.last().report
    world.empty()
    return found


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    hidden = {"run_id", "seconds", "seconds_by_step", "messages_per_second"}
    return {k: v for k, v in one.items() if k not in hidden} == {
        k: v for k, v in other.items() if k not in hidden
    }


# The database is the same before a commit and after the one before it; only files may differ.
@pytest.mark.parametrize(("when", "step"), [("before", 1), ("after", 3)])
def test_a_run_killed_at_any_commit_and_resumed_equals_a_clean_one(
    world: Killed, fork: Forks, when: Literal["before", "after"], step: int
) -> None:
    dump, whole, report = clean_run(world, fork)
    assert report["messages_created"] == 30
    deaths = 0
    for commit in range(1, 1000, step):
        exit_code = fork.end(world.start(death=Death(when, commit)))
        if exit_code == 0:
            break
        assert exit_code == -signal.SIGKILL
        deaths += 1
        check_nothing_is_half_written(world, whole)
        if not world.rows("SELECT FROM backfill_runs"):
            assert fork.end(world.start()) == 0
        elif world.last().status is not RunStatus.DONE:
            assert fork.end(world.resume()) == 0
        assert world.last().status is RunStatus.DONE
        assert same(world.last().report, report), commit
        assert differences(dump, world.dump()) == [], commit
        assert world.one("SELECT to_regclass('messages_search_idx') IS NOT NULL")
        world.empty()
    # As many as the journey has commits, several batches among them.
    assert deaths * step > 30


def test_a_run_may_be_killed_again_and_again(world: Killed, fork: Forks) -> None:
    dump, whole, report = clean_run(world, fork)
    exit_code = fork.end(world.start(death=Death("after", 14)))
    resumed = 0
    # It may be killed when all is done and it only lets go of the run.
    while exit_code and world.last().status is not RunStatus.DONE:
        assert exit_code == -signal.SIGKILL
        check_nothing_is_half_written(world, whole)
        resumed += 1
        assert resumed < 20
        exit_code = fork.end(world.resume(death=Death("before", 17)))
    assert resumed > 2
    assert same(world.last().report, report)
    assert differences(dump, world.dump()) == []


# --- several workers -------------------------------------------------------------------------

ENOUGH_SECONDS = 60


def until(true: Callable[[], Any]) -> None:
    """Wait until something is so."""
    patience = time.monotonic() + ENOUGH_SECONDS
    while not true():
        assert time.monotonic() < patience, "this takes too long"
        time.sleep(0.02)


@contextmanager
def writers_held(world: Killed) -> Iterator[Connection]:
    """Let no writer past the first lock it takes."""
    with world.database.engine.connect() as connection:
        for slot in lock_slots(map(lead_id, NAMES)):
            connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtext('backstory'), :slot)"), {"slot": slot}
            )
        yield connection
        connection.rollback()


NAMES = [each["id"] for each in LEADS]
WAITING = """
SELECT DISTINCT split_part(worker, ':', 2)::int
FROM run_partitions p JOIN pg_locks l ON l.pid = p.backend_pid
WHERE l.locktype = 'advisory' AND NOT l.granted
"""


def waiting_workers(world: Killed) -> list[int]:
    return [row[0] for row in world.rows(WAITING)]


@pytest.fixture
def two_workers(world: Killed) -> Killed:
    world.given = replace(world.given, workers=2)
    return world


def test_what_a_killed_worker_held_is_taken_over_at_once(two_workers: Killed, fork: Forks) -> None:
    world = two_workers
    dump, whole, report = clean_run(world, fork)
    with writers_held(world):
        parent = fork.begin(world.start())
        until(lambda: len(waiting_workers(world)) == 2)
        os.kill(waiting_workers(world)[0], signal.SIGKILL)
        check_nothing_is_half_written(world, whole)
        released = time.monotonic()
    assert fork.end(parent) == 0
    # Far sooner than the thirty seconds of a lease.
    assert time.monotonic() - released < 20
    assert same(world.last().report, report)
    assert differences(dump, world.dump()) == []


def test_workers_whose_parent_was_killed_stop_and_the_run_is_resumed(
    two_workers: Killed, fork: Forks
) -> None:
    world = two_workers
    dump, whole, report = clean_run(world, fork)
    with writers_held(world):
        parent = fork.begin(world.start())
        until(lambda: len(waiting_workers(world)) == 2)
        orphans = waiting_workers(world)
        os.kill(parent, signal.SIGKILL)
        assert fork.end(parent) == -signal.SIGKILL
        assert world.last().status is RunStatus.RUNNING
        check_nothing_is_half_written(world, whole)
    until(lambda: not any(map(psutil.pid_exists, orphans)))
    # They end the batch they are in, and no more.
    assert world.one("SELECT count(*) FROM run_partitions WHERE status <> 'done'") >= 2
    check_nothing_is_half_written(world, whole)
    assert fork.end(world.resume()) == 0
    assert same(world.last().report, report)
    assert differences(dump, world.dump()) == []


def test_a_run_is_resumed_while_the_orphans_of_the_old_one_still_hold_their_claims(
    two_workers: Killed, fork: Forks
) -> None:
    world = two_workers
    dump, _, report = clean_run(world, fork)
    with writers_held(world):
        parent = fork.begin(world.start())
        until(lambda: len(waiting_workers(world)) == 2)
        os.kill(parent, signal.SIGKILL)
        assert fork.end(parent) == -signal.SIGKILL
        until(lambda: not world.led())
        resumed = fork.begin(world.resume())
        until(world.led)
    assert fork.end(resumed) == 0
    assert same(world.last().report, report)
    assert differences(dump, world.dump()) == []


# --- the server ------------------------------------------------------------------------------


def kill_server(url: str) -> None:
    """Kill every process of a server."""
    with psycopg.connect(url) as connection:
        [(data,)] = connection.execute("SHOW data_directory").fetchall()
        pid = int((Path(data) / "postmaster.pid").read_text().split()[0])
    postmaster = psutil.Process(pid)
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes)


def test_a_server_killed_in_the_middle_is_a_clear_error_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Sizes().apply(monkeypatch.setattr)
    home = tmp_path / "server"
    told: list[int] = []

    def kill_after_some(progress: Progress) -> None:
        if progress.step == "write" and progress.done >= 12:
            told.append(progress.done)
            kill_server(lease.url)

    try:
        with embedded.start(home, linger=2) as lease:
            engine = open_engine(lease.url, "backstory")
            upgrade(engine, "backstory")
            world = Killed(Database(lease.url, "backstory", engine), tmp_path)
            report = journey.start(world.database, tmp_path, world.given).as_json()
            dump, whole = world.dump(), world.said()
            world.empty()
            with pytest.raises(DatabaseUnreachable, match="`backstory resume ") as away:
                journey.start(world.database, tmp_path, world.given, kill_after_some)
            assert len(told) == 1
            assert "same command" not in str(away.value)
            engine.dispose()
        with embedded.start(home, linger=2) as lease:
            world.database = Database.open(lease.url, "backstory")
            check_nothing_is_half_written(world, whole)
            assert world.last().status is RunStatus.RUNNING
            named = re.search("`backstory resume ([0-9a-f]{8})`", str(away.value))
            journey.resume(world.database, named[1])
            assert same(world.last().report, report)
            assert differences(dump, world.dump()) == []
            assert world.one("SELECT to_regclass('messages_search_idx') IS NOT NULL")
            world.database.engine.dispose()
    finally:
        embedded.stop(home, purge=True)
