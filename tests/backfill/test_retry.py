"""Quarantined records are read again: what can be taken is taken, and nothing is ever lost."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from dumps import differences, logical
from loaded_world import World, lead, record, talk

from backstory.backfill import control, journey
from backstory.backfill.options import BackfillOptions
from backstory.backfill.retry import retry
from backstory.errors import DatabaseError, Interrupted, RunError
from backstory.model import RunMode, RunStatus, RunWish
from backstory.runs.run import get_run

PLACES = ("messages.seq", "audit_log.seq", "quarantine.position")
LEADS = [lead("lead-1"), lead("lead-2")]


@contextmanager
def refusing(world: World, table: str, condition: str) -> Iterator[None]:
    """Let a table refuse rows, as a constraint of the user's own would."""
    world.run(f"ALTER TABLE {table} ADD CONSTRAINT ours CHECK (NOT ({condition})) NOT VALID")
    yield
    world.run(f"ALTER TABLE {table} DROP CONSTRAINT ours")


def open_ids(world: World) -> Counter[str]:
    rows = world.rows("SELECT coalesce(audit_id, code) FROM quarantine WHERE status = 'open'")
    return Counter(row[0] for row in rows)


def test_what_is_still_refused_stays_open_as_the_same_rows(world: World) -> None:
    bad = [b"{", b"{", b"[1, 2]", b'{"id": 1, "created_at": "soon"}', b'{"a": NaN}', b"\xff"]
    world.load([*talk("lead-1", range(3)), *bad], LEADS)
    before = world.rows("SELECT * FROM quarantine ORDER BY id")
    assert len(before) == 6
    (report,) = retry(world.database, world.home)
    assert (report.mode, report.records_read, report.records_quarantined) == ("retry", 6, 6)
    assert report.errors == []
    assert world.rows("SELECT * FROM quarantine ORDER BY id") == before


@pytest.mark.parametrize(
    "first",
    [
        *(b"[1]", b"{", b"BZh", b"PK\x03\x04", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xff\xfe"),
        *(
            b"SQLite format 3",
            b"PGDMP",
            b"PAR1",
            b"id,lead_id,actor",
            b"\xef\xbb\xbf[",
            b"\xfe\xff",
        ),
    ],
)
def test_a_bad_line_is_never_taken_for_another_kind_of_file(world: World, first: bytes) -> None:
    """Whatever comes first in the file of a retry is a record that could not be read."""
    world.load([*talk("lead-1", range(3)), first], LEADS)
    assert world.one("SELECT raw FROM quarantine") == first
    (report,) = retry(world.database, world.home)
    assert (report.records_read, report.records_quarantined) == (1, 1)
    assert [bytes(row[0]) for row in world.rows("SELECT raw FROM quarantine")] == [first]
    assert world.one("SELECT status FROM quarantine") == "open"


def test_a_record_that_was_refused_is_read_again_whatever_its_source_called_the_fields(
    world: World,
) -> None:
    theirs = {"id": "event", "lead_id": "contact", "payload": "data"}
    lines = [
        {theirs.get(name, name): value for name, value in each.items()}
        for each in talk("lead-1", range(4))
    ]
    with refusing(world, "messages", "content = 'message 2'"):
        report = world.load(lines, LEADS, columns={f"audit.{k}": v for k, v in theirs.items()})
    assert (report.messages_created, report.records_quarantined) == (3, 1)
    (report,) = retry(world.database, world.home)
    assert (report.messages_created, report.records_quarantined) == (1, 0)
    assert open_ids(world) == {}


def test_a_row_of_a_table_of_cells_is_read_again_under_our_names(world: World) -> None:
    log = world.home / "log.csv"
    log.write_text(
        "event,lead_id,actor,action,data,created_at\n"
        'x1,lead-1,customer,note,"{""text"": ""one""}",2026-01-01T00:00:00Z\n'
        'x2,lead-1,customer,note,"{""text"": ""two""}",2026-01-01T00:00:00Z\n'
        'x3,lead-1,customer,note,"{""text"": ""three""}",soon\n'
    )
    options = BackfillOptions(audit=(str(log),), columns={"id": "event", "payload": "data"})
    with refusing(world, "messages", "content = 'two'"):
        report = journey.start(world.database, world.home, options)
    assert (report.messages_created, report.records_quarantined) == (1, 2)
    (raw,) = world.rows("SELECT raw FROM quarantine WHERE code = 'bad_time'")
    reports = retry(world.database, world.home)
    assert sum(each.messages_created for each in reports) == 1
    rows = world.rows("SELECT raw, code FROM quarantine WHERE status = 'open'")
    assert [tuple(row) for row in rows] == [(raw[0], "bad_time")]


def test_a_retry_of_one_run_leaves_the_others_alone(world: World) -> None:
    with refusing(world, "messages", "content IN ('message 1', 'message 11')"):
        first = world.load(talk("lead-1", range(3)), LEADS)
        world.load(talk("lead-2", range(10, 13)), LEADS)
    assert open_ids(world) == {"a-1": 1, "a-11": 1}
    (report,) = retry(world.database, world.home, first.run_id)
    assert report.messages_created == 1
    assert open_ids(world) == {"a-11": 1}


def test_records_that_were_read_in_another_way_are_read_so_again(world: World) -> None:
    clock = {"created_at": "2026-01-01T00:00:00"}
    with refusing(world, "messages", "content LIKE 'message%'"):
        world.load([record(1, **clock)], LEADS, assume_tz="Asia/Tokyo")
        world.load([record(2, **clock, actor="robot")], LEADS, unknown_actor="system")
    reports = retry(world.database, world.home)
    assert [report.messages_created for report in reports] == [1, 1]
    rows = dict(world.rows("SELECT audit_id, role || ' ' || created_at FROM messages"))
    assert rows == {"a-1": "user 2025-12-31 15:00:00+00", "a-2": "system 2026-01-01 00:00:00+00"}


def test_a_retry_that_was_canceled_leaves_its_records_in_quarantine(world: World) -> None:
    with refusing(world, "messages", "content LIKE 'message%'"):
        world.load(talk("lead-1", range(4)), LEADS)
    assert sum(open_ids(world).values()) == 4

    def cancel(_: object) -> None:
        with world.connection() as connection:
            run = get_run(connection, "last")
        if run.mode is RunMode.RETRY and run.status is RunStatus.RUNNING and run.wish is None:
            world.run("UPDATE backfill_runs SET wish = 'cancel' WHERE mode = 'retry'")

    with pytest.raises(Interrupted):
        retry(world.database, world.home, listener=cancel)
    assert world.one("SELECT status FROM backfill_runs WHERE mode = 'retry'") == "canceled"
    assert world.one("SELECT count(*) FROM messages") == 0
    assert sum(open_ids(world).values()) == 4
    (report,) = retry(world.database, world.home)
    assert report.messages_created == 4
    assert open_ids(world) == {}


def test_a_retry_that_failed_goes_on_or_is_canceled_without_a_loss(world: World) -> None:
    with refusing(world, "messages", "content LIKE 'message%'"):
        world.load(talk("lead-1", range(4)), LEADS)
    for canceled in (True, False):
        world.run("ALTER TABLE messages RENAME TO hidden")
        with pytest.raises(DatabaseError, match="messages"):
            retry(world.database, world.home)
        world.run("ALTER TABLE hidden RENAME TO messages")
        if canceled:
            control.stop(world.database, "last", RunWish.CANCEL)
            assert sum(open_ids(world).values()) == 4
    assert journey.resume(world.database, "last").messages_created == 4
    assert open_ids(world) == {}
    with pytest.raises(RunError, match="done"):
        journey.resume(world.database, "last")


def test_a_retry_leaves_no_file_behind(world: World) -> None:
    world.load([*talk("lead-1", range(3)), b"{"], LEADS)
    retry(world.database, world.home)
    assert list((world.home / "runs").iterdir()) == []


def test_a_retried_database_equals_one_where_nothing_was_refused(world: World) -> None:
    records = [*talk("lead-1", range(6)), *talk("lead-2", range(10, 16)), record(2), b"{"]
    world.load(records, LEADS)
    with world.connection() as connection:
        clean = logical(connection, without=PLACES)
    world.roll_back()
    with refusing(world, "messages", "content IN ('message 0', 'message 2', 'message 15')"):
        world.load(records, LEADS)
    assert open_ids(world) == {"a-0": 1, "a-2": 1, "a-15": 1, "bad_json": 1}
    retry(world.database, world.home)
    assert world.verify(sample=10).ok
    world.run("DELETE FROM quarantine WHERE status = 'resolved'", "DELETE FROM run_changes")
    with world.connection() as connection:
        found = logical(connection, without=PLACES)
    assert differences(clean, found) == []
