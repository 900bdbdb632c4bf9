"""Claims on a run's partitions: one holder at a time, and nobody who was thought dead writes."""

import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from backstory.errors import LeaseLost, RunError
from backstory.model import PartitionStage, RunMode, RunStatus, RunWish
from backstory.runs import run as runs
from backstory.runs.claim import (
    Claim,
    advance,
    claim_next,
    is_interrupted,
    is_led,
    leading,
    release,
    renew,
)
from backstory.store.engine import open_engine
from backstory.store.statements import sql

WRITE = PartitionStage.WRITE


@pytest.fixture
def run_id(engine: Engine) -> uuid.UUID:
    """Return a running run with three partitions to be written, and one to be read."""
    run_id = uuid.uuid4()
    with engine.begin() as connection:
        runs.add_run(
            connection, run_id, mode=RunMode.BACKFILL, log="audit", options={}, spill_dir=Path("-")
        )
        for stage, count in ((WRITE, 3), (PartitionStage.READ, 1)):
            values = {"run_id": run_id, "stage": stage, "count": count}
            connection.execute(sql("add_partitions"), values)
    return run_id


@pytest.fixture
def two(engine: Engine) -> Iterator[tuple[Connection, Connection]]:
    """Return two sessions, as two workers have them."""
    with ExitStack() as opened:
        one, other = (opened.enter_context(engine.connect()) for _ in range(2))
        yield one, other


def take(connection: Connection, run_id: uuid.UUID) -> Claim:
    with connection.begin():
        claim = claim_next(connection, run_id, WRITE)
    assert claim is not None
    return claim


def change(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


LEFT = """SELECT lease_until - clock_timestamp() FROM run_partitions
          WHERE stage = 'write' AND number = 0"""
EXPIRE = "UPDATE run_partitions SET lease_until = clock_timestamp() - interval '1 millisecond'"


# --- one at a time -----------------------------------------------------------------------------


def test_each_partition_has_one_holder_and_none_is_left_out(
    run_id: uuid.UUID, two: tuple[Connection, Connection]
) -> None:
    claims = [take(two[number % 2], run_id) for number in range(3)]
    assert [(claim.number, claim.fence) for claim in claims] == [(0, 1), (1, 1), (2, 1)]
    for connection in two:
        with connection.begin():
            assert claim_next(connection, run_id, WRITE) is None


def test_nobody_waits_for_a_claim_that_is_being_made(
    run_id: uuid.UUID, two: tuple[Connection, Connection]
) -> None:
    one, other = two
    with one.begin():
        first = claim_next(one, run_id, WRITE)
        with other.begin():
            other.execute(text("SET LOCAL lock_timeout = '100ms'"))
            second = claim_next(other, run_id, WRITE)
    assert first is not None
    assert second is not None
    assert {first.number, second.number} == {0, 1}


def test_a_partition_goes_on_where_its_last_commit_left_it(
    run_id: uuid.UUID, two: tuple[Connection, Connection]
) -> None:
    one, other = two
    claim = take(one, run_id)
    with one.begin():
        advance(one, claim, cursor=b"half", counts={"records": 7}, done=False)
    with one.begin():
        release(one, run_id)
    again = take(other, run_id)
    assert (again.number, again.cursor, again.counts) == (0, b"half", {"records": 7})
    assert again.fence == claim.fence + 1
    with other.begin():
        advance(other, again, cursor=b"whole", counts={"records": 9}, done=True)
    assert take(other, run_id).number == 1


def test_a_session_gives_back_what_is_its_own_and_no_other(
    run_id: uuid.UUID, two: tuple[Connection, Connection]
) -> None:
    one, other = two
    kept = take(other, run_id)
    given = take(one, run_id)
    with one.begin():
        release(one, run_id)
    assert take(one, run_id).number == given.number
    with other.begin():
        assert renew(other, kept) is None


# --- the lease and the fence -------------------------------------------------------------------


def test_a_claim_ends_with_its_lease_and_whoever_comes_back_writes_nothing(
    engine: Engine, run_id: uuid.UUID, two: tuple[Connection, Connection]
) -> None:
    slow, quick = two
    late = take(slow, run_id)
    change(engine, EXPIRE)
    taken = take(quick, run_id)
    assert (taken.number, taken.fence) == (late.number, late.fence + 1)
    with pytest.raises(LeaseLost), slow.begin():
        advance(slow, late, cursor=b"forged", counts={"records": 99}, done=True)
    with pytest.raises(LeaseLost), slow.begin():
        renew(slow, late)
    with quick.begin():
        row = quick.execute(text("SELECT cursor, counts, status FROM run_partitions"
                                 " WHERE stage = 'write' AND number = 0")).one()  # fmt: skip
    assert (bytes(row.cursor), row.counts, row.status) == (b"", {}, "claimed")


def test_an_expired_lease_that_nobody_took_is_still_ones_own(
    engine: Engine, run_id: uuid.UUID, two: tuple[Connection, Connection]
) -> None:
    slow, other = two
    claim = take(slow, run_id)
    change(engine, EXPIRE)
    with slow.begin():
        assert renew(slow, claim) is None
    with other.begin():
        assert [claim_next(other, run_id, WRITE), claim_next(other, run_id, WRITE)]
        assert claim_next(other, run_id, WRITE) is None


def test_a_batch_renews_the_lease(
    engine: Engine, run_id: uuid.UUID, two: tuple[Connection, Connection]
) -> None:
    one, _ = two
    claim = take(one, run_id)
    for keep in (
        lambda: renew(one, claim),
        lambda: advance(one, claim, cursor=b"", counts={}, done=False),
    ):
        change(engine, EXPIRE)
        with one.begin():
            keep()
            left = one.execute(text(LEFT)).scalar_one()
        assert 25 < left.total_seconds() <= 30


def test_a_claim_ends_with_the_session_that_made_it_whatever_its_lease_says(
    database_url: str, run_id: uuid.UUID, two: tuple[Connection, Connection]
) -> None:
    gone = open_engine(database_url, "backstory")
    with gone.connect() as connection:
        held = take(connection, run_id)
    one, _ = two
    with one.begin():
        # A pooled session that lives still holds its claim.
        numbers = [claim_next(one, run_id, WRITE), claim_next(one, run_id, WRITE)]
        assert [claim and claim.number for claim in numbers] == [1, 2]
        assert claim_next(one, run_id, WRITE) is None
    gone.dispose()
    deadline = time.monotonic() + 20
    again = None
    while again is None and time.monotonic() < deadline:
        with one.begin():
            again = claim_next(one, run_id, WRITE)
    assert again is not None
    assert (again.number, again.fence) == (held.number, held.fence + 1)


def test_a_session_under_the_number_of_one_that_is_gone_is_not_taken_for_it(
    engine: Engine, run_id: uuid.UUID, two: tuple[Connection, Connection]
) -> None:
    one, other = two
    held = take(one, run_id)
    change(engine, "UPDATE run_partitions SET backend_start = backend_start - interval '1 second'"
                   " WHERE status = 'claimed'")  # fmt: skip
    again = take(other, run_id)
    assert (again.number, again.fence) == (held.number, held.fence + 1)


def test_a_wish_and_the_end_of_a_run_are_heard_with_the_next_renewal(
    engine: Engine, run_id: uuid.UUID, two: tuple[Connection, Connection]
) -> None:
    one, _ = two
    claim = take(one, run_id)
    with engine.begin() as connection:
        runs.wish(connection, runs.get_run(connection, str(run_id)), RunWish.PAUSE)
    with one.begin():
        assert renew(one, claim) is RunWish.PAUSE
    with engine.begin() as connection:
        runs.move(connection, runs.get_run(connection, str(run_id)), RunStatus.CANCELED)
    with pytest.raises(RunError, match="is canceled by now"), one.begin():
        renew(one, claim)


# --- who leads ---------------------------------------------------------------------------------


def test_one_process_leads_and_looking_takes_nothing_from_it(
    run_id: uuid.UUID, two: tuple[Connection, Connection]
) -> None:
    one, other = two
    with leading(one, run_id):
        with other.begin():
            assert is_led(other, run_id)
            assert not is_interrupted(other, runs.get_run(other, str(run_id)))
        with pytest.raises(RunError, match="worked on by another process"), leading(other, run_id):
            pytest.fail("two lead")
    with other.begin():
        assert not is_led(other, run_id)
        assert is_interrupted(other, runs.get_run(other, str(run_id)))
        # Whoever looks does not stand in the way of whoever takes over.
        with leading(one, run_id):
            assert is_led(other, run_id)


def test_a_run_that_has_ended_or_waits_is_not_interrupted(
    engine: Engine, run_id: uuid.UUID
) -> None:
    with engine.begin() as connection:
        for to in (RunStatus.PAUSED, RunStatus.CANCELED):
            runs.move(connection, runs.get_run(connection, str(run_id)), to)
            assert not is_interrupted(connection, runs.get_run(connection, str(run_id)))


def test_nobody_leads_when_the_session_is_gone(
    database_url: str, engine: Engine, run_id: uuid.UUID
) -> None:
    gone = open_engine(database_url, "backstory")
    connection = gone.connect()
    with connection.begin():
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with leading(connection, run_id), engine.connect() as other:
        with other.begin():
            assert is_led(other, run_id)
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        deadline = time.monotonic() + 20
        led = True
        while led and time.monotonic() < deadline:
            with other.begin():
                led = is_led(other, run_id)
        assert not led
        connection.invalidate()
    gone.dispose()
