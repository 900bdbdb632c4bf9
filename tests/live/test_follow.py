"""Following a log: every record that ever becomes visible is recorded, once, whatever happens."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from dumps import differences, logical
from live_world import BEGUN, World, record, texts
from sqlalchemy import make_url

from backstory.audit import tail as tails
from backstory.audit.tail import open_tail
from backstory.errors import BackstoryError, SourceError, Transient, UsageError
from backstory.live.follow import Followed, Follower, follow
from backstory.live.reading import LiveOptions
from backstory.store.engine import Database

TABLE = """
CREATE TABLE "Audit" (id text PRIMARY KEY, "leadId" text, actor text, action text, payload jsonb,
                      "createdAt" timestamp(3))
"""
ROW = 'INSERT INTO "Audit" VALUES (%s, %s, %s, %s, %s, %s)'
OPTIONS = LiveOptions(trusting_leads=False)


def follower(world: World, source: object, **options: Any) -> Follower:
    tail = open_tail(str(source), columns={}, **options)
    return Follower(world.database, tail, OPTIONS)


def append(file: Path, *lines: object, end: str = "\n") -> None:
    with file.open("a") as log:
        log.write("".join(_line(each) + end for each in lines))


def _line(each: object) -> str:
    return each if isinstance(each, str) else json.dumps(each)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "audit.jsonl"
    file.touch()
    return file


# --- files -----------------------------------------------------------------------------------


def test_lines_are_recorded_when_they_are_ended(world: World, log: Path) -> None:
    append(log, record(1), record(2))
    follows = follower(world, log)
    assert follows.look().outcomes == {"created": 2}
    assert follows.look().seen == 0
    append(log, _line(record(3))[:20], end="")
    assert follows.look().seen == 0
    append(log, _line(record(3))[20:], record(4))
    assert follows.look().outcomes == {"created": 2}
    assert texts(world) == [[f"message {n}" for n in range(1, 5)]]


def test_a_follower_goes_on_where_the_last_one_ended(world: World, log: Path) -> None:
    append(log, record(1), "", "{", record(2))
    assert follower(world, log).look().outcomes == {"created": 2, "quarantined": 1}
    append(log, record(3))
    assert follower(world, log).look().outcomes == {"created": 1}
    assert world.rows("SELECT seq FROM messages ORDER BY seq") == [(1,), (4,), (5,)]
    assert world.one("SELECT position FROM quarantine") == "audit.jsonl:3"


def test_a_file_that_was_replaced_or_emptied_is_read_anew(world: World, log: Path) -> None:
    append(log, record(1), record(2))
    follows = follower(world, log)
    follows.look()
    log.write_text("")
    assert follows.look().seen == 0
    append(log, record(3))
    assert follows.look().outcomes == {"created": 1}
    log.write_text("".join(json.dumps(record(n)) + "\n" for n in (7, 3, 8, 9)))
    assert follows.look().outcomes == {"created": 3, "duplicate": 1}


def test_a_large_file_is_followed_in_several_looks(
    world: World, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "_LOOK_BYTES", 2_000)
    append(log, *(record(n) for n in range(40)), record(40, payload={"text": "x" * 5_000}))
    looks = [follower(world, log).look()]
    while looks[-1].more:
        looks.append(follower(world, log).look())
    assert len(looks) > 3
    assert sum(look.seen for look in looks) == 41
    assert world.one("SELECT count(*) FROM messages") == 41


def test_a_followed_file_gives_the_rows_of_its_backfill(world: World, log: Path) -> None:
    records = [record(n % 14, f"lead-{n % 3}", created_at=BEGUN.isoformat()) for n in range(14)]
    lines = [*records, record(90, payload={}), b"{", record(91, actor="robot")]
    for line in lines:
        append(log, line.decode() if isinstance(line, bytes) else line)
    world.load(lines)
    with world.connection() as connection:
        loaded = logical(connection, without=("skips.position", "quarantine.position"))
    world.roll_back()
    follower(world, log).look()
    with world.connection() as connection:
        found = logical(connection, without=("skips.position", "quarantine.position"))
    for dump in (loaded, found):
        dump.pop("run_changes")
        dump["leads"] = [row.replace('"derived"', '"live"') for row in dump["leads"]]
        for table in ("messages", "conversations"):
            dump[table] = [row.replace('"audit_backfill"', '"live"') for row in dump[table]]
    assert differences(loaded, found) == []


@pytest.mark.parametrize("name", ["-", "audit.csv", "audit.jsonl.gz", "nothing.jsonl"])
def test_what_cannot_be_followed_is_refused_in_words(
    world: World, tmp_path: Path, name: str
) -> None:
    (tmp_path / "audit.csv").write_text("id,lead_id,actor,action,payload,created_at\n")
    (tmp_path / "audit.jsonl.gz").write_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\0")
    with pytest.raises(BackstoryError) as refused:
        follower(world, name if name == "-" else tmp_path / name)
    assert isinstance(refused.value, UsageError | SourceError)


# --- tables ----------------------------------------------------------------------------------


@pytest.fixture
def crm(empty_database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Return a connection to the database of a business with an empty audit table."""
    url = make_url(empty_database_url).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        connection.execute(TABLE)
        connection.commit()
        yield connection


def insert(crm: psycopg.Connection[Any], number: int, moment: datetime, name: str = "") -> None:
    """Insert a row without committing it."""
    payload = json.dumps({"text": f"message {number}"})
    times = moment.replace(tzinfo=None)
    crm.execute(ROW, (name or f"a-{number}", "lead-1", "agent", "message_sent", payload, times))


NOW = datetime.now(UTC)


def test_rows_are_recorded_as_they_become_visible(
    world: World, crm: psycopg.Connection[Any], empty_database_url: str
) -> None:
    follows = follower(world, empty_database_url)
    assert follows.look().seen == 0
    # Of now, not of when this file was read: what is older than the overlap waits for the sweep.
    now = datetime.now(UTC)
    insert(crm, 1, now)
    assert follows.look().seen == 0
    crm.commit()
    assert follows.look().outcomes == {"created": 1}
    insert(crm, 2, now + timedelta(seconds=1))
    crm.commit()
    done = follows.look()
    assert (done.outcomes, done.whole) == ({"created": 1}, False)
    assert follower(world, empty_database_url).look().outcomes == {"duplicate": 2}


def test_a_row_that_commits_late_behind_younger_ones_is_not_lost(
    world: World, crm: psycopg.Connection[Any], empty_database_url: str
) -> None:
    url = make_url(empty_database_url).set(drivername="postgresql")
    overlap = 0.2
    follows = follower(world, empty_database_url, overlap=overlap)
    insert(crm, 1, datetime.now(UTC), name="zz")
    time.sleep(3 * overlap)
    with psycopg.connect(url.render_as_string(hide_password=False)) as other:
        for number in (2, 3):
            insert(other, number, datetime.now(UTC))
            other.commit()
            assert follows.look().outcomes["created"] == 1
    crm.commit()
    done = follows.look()
    assert (done.outcomes["created"], done.whole) == (1, False)
    assert sorted(texts(world)[0]) == ["message 1", "message 2", "message 3"]


def test_a_row_with_an_old_time_is_found_by_the_sweep(
    world: World, crm: psycopg.Connection[Any], empty_database_url: str
) -> None:
    insert(crm, 1, NOW)
    crm.commit()
    follower(world, empty_database_url).look()
    insert(crm, 2, NOW - timedelta(days=90))
    crm.commit()
    assert "created" not in follower(world, empty_database_url).look().outcomes
    done = follower(world, empty_database_url, sweep=0.0).look()
    assert (done.outcomes, done.whole) == ({"created": 1, "duplicate": 1}, True)
    assert texts(world) == [["message 2", "message 1"]]


def test_a_row_from_the_future_hides_none_of_the_present(
    world: World, crm: psycopg.Connection[Any], empty_database_url: str
) -> None:
    insert(crm, 1, NOW + timedelta(days=900))
    crm.commit()
    follows = follower(world, empty_database_url)
    follows.look()
    insert(crm, 2, datetime.now(UTC))
    crm.commit()
    assert follows.look().outcomes["created"] == 1


def test_a_table_without_a_column_of_times_is_swept_each_time(
    world: World, crm: psycopg.Connection[Any], empty_database_url: str
) -> None:
    crm.execute('ALTER TABLE "Audit" ALTER "createdAt" TYPE text')
    crm.commit()
    follows = follower(world, empty_database_url)
    for number in range(3):
        insert(crm, number, NOW + timedelta(seconds=number))
        crm.commit()
        done = follows.look()
        assert (done.outcomes["created"], done.whole) == (1, True)


# --- on and on -------------------------------------------------------------------------------


class _EnoughError(Exception):
    pass


def test_following_waits_when_there_is_nothing_and_tells_what_there_is(
    world: World, log: Path
) -> None:
    pauses: list[float] = []
    told: list[Followed] = []

    def wait(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise _EnoughError
        if len(pauses) == 2:
            append(log, record(1))

    with pytest.raises(_EnoughError):
        follow(follower(world, log), every=5.0, told=told.append, failed=_fail, wait=wait)
    assert pauses == [5.0, 5.0, 5.0]
    assert [each.outcomes for each in told] == [{"created": 1}]


def test_following_outlives_a_database_that_is_away(log: Path) -> None:
    append(log, record(1))
    away = Database.open("postgresql://nobody@127.0.0.1:1/none", "backstory")
    follows = Follower(away, open_tail(str(log), columns={}), OPTIONS)
    pauses: list[float] = []
    failures: list[Transient] = []

    def wait(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise _EnoughError

    with pytest.raises(_EnoughError):
        follow(follows, every=1.0, told=_fail, failed=failures.append, wait=wait)
    assert pauses == [2.0, 4.0, 8.0]
    assert len(failures) == 3
    away.engine.dispose()


def _fail(said: object) -> None:
    raise AssertionError(said)
