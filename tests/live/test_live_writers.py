"""Live writers beside one another and beside everybody else: nothing is lost, nothing is twice."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from live_world import (
    BEGUN,
    World,
    customers,
    outcomes,
    record,
    record_all,
    record_one,
    texts,
    told,
)
from loaded_world import lead
from sqlalchemy import text

from backstory.errors import Transient
from backstory.live.conversations import close_conversation, ensure_conversation
from backstory.live.queue import EventQueue
from backstory.store.merging import undo_merge

CLIENTS = 8


def together(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Do all of these at once, each in a thread of its own; return what they returned."""
    start = threading.Barrier(len(tasks))

    def do(task: Callable[[], Any]) -> Any:
        start.wait()
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(do, tasks))


def patiently(task: Callable[[], Any]) -> Any:
    """Do something as a client does that was told it may try again."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return task()
        except Transient:
            assert time.monotonic() < deadline


def test_the_same_event_from_many_clients_is_created_once(world: World) -> None:
    record_one(world, record(0))
    for number in range(1, 6):
        done = together([lambda n=number: record_one(world, record(n))] * CLIENTS)
        assert Counter(outcomes(done)) == {"created": 1, "duplicate": CLIENTS - 1}
        assert len({(each.record_id, each.conversation_id) for each in done}) == 1
    assert len(texts(world)[0]) == 6


def test_different_events_under_one_id_and_of_different_leads_have_one_winner(
    world: World,
) -> None:
    done = together([lambda n=n: record_one(world, record(1, f"lead-{n}")) for n in range(CLIENTS)])
    assert Counter(outcomes(done)) == {"created": 1, "conflict": CLIENTS - 1}
    assert world.one("SELECT count(*) FROM messages") == 1
    assert world.one("SELECT count(*) FROM conflicts") == CLIENTS - 1
    assert world.verify(sample=10).ok


@pytest.mark.parametrize("said", [{}, {"phone": "512 555 0142", "channel": "sms"}])
def test_the_first_events_of_a_lead_make_one_lead_and_one_conversation(
    world: World, said: dict[str, str]
) -> None:
    events = [told(n, "lead-1", **said) if said else record(n) for n in range(CLIENTS)]
    done = together([lambda e=event: record_one(world, e) for event in events])
    assert outcomes(done) == ["created"] * CLIENTS
    assert len({(each.conversation_id, each.customer_id) for each in done}) == 1
    assert customers(world) == [["lead-1"]]
    assert len(texts(world)) == 1
    assert world.verify(sample=10).ok


def test_events_and_batches_of_the_same_leads_at_once_are_all_there(world: World) -> None:
    events = [record(n, f"lead-{n % 5}", created_at=BEGUN.isoformat()) for n in range(CLIENTS * 30)]
    random.Random(1).shuffle(events)
    shares = [events[n::CLIENTS] for n in range(CLIENTS)]
    together(
        [
            lambda s=share, k=size: [record_all(world, s[n : n + k]) for n in range(0, 30, k)]
            for share, size in zip(shares, [1, 2, 3, 5, 6, 10, 15, 30], strict=True)
        ]
    )
    rows = world.rows("SELECT conversation_id, seq FROM messages")
    assert len(rows) == len(set(rows)) == CLIENTS * 30
    assert world.verify(sample=10).ok


def test_events_beside_running_backfills_of_the_same_log(world: World) -> None:
    records = [record(n, f"lead-{n % 6}") for n in range(240)]
    listed = [lead(f"lead-{n}", phone=f"512 555 01{n % 3:02}") for n in range(6)]
    found: list[str] = []

    def live(part: Iterable[dict[str, Any]]) -> None:
        for each in part:
            event = each | {"lead": {"stage": f"s{each['id']}"}}
            found.append(patiently(lambda e=event: record_one(world, e)).outcome.value)

    reports = [
        report
        for report in together(
            [
                lambda: live(records[::-1]),
                lambda: live(records[::2]),
                lambda: world.load(records, listed),
                lambda: world.load(records[120:] + records[:120]),
            ]
        )
        if report is not None
    ]
    assert [report.errors for report in reports] == [[], []]
    created = sum(report.messages_created for report in reports) + found.count("created")
    assert created == world.one("SELECT count(*) FROM messages") == 240
    assert set(found) <= {"created", "duplicate"}
    assert world.one("SELECT count(*) FROM quarantine") == 0
    assert customers(world) == [["lead-0", "lead-3"], ["lead-1", "lead-4"], ["lead-2", "lead-5"]]
    assert world.verify(sample=10).ok


def test_events_of_customers_who_are_merged_and_taken_apart_at_once(world: World) -> None:
    record_all(world, [told(n, f"lead-{n}", phone=f"512 555 010{n}") for n in range(4)])

    def merge() -> None:
        for turn in range(6):
            phone = f"512 555 02{turn:02}"
            for n in range(4):
                event = told(1000 + 10 * turn + n, f"lead-{n}", phone=phone)
                patiently(lambda e=event: record_one(world, e))

    def part() -> None:
        for _ in range(12):
            merges = world.rows("SELECT id FROM customer_merges WHERE undone_at IS NULL LIMIT 1")
            for row in merges:
                patiently(lambda i=row.id: _undo(world, i))

    def talk(start: int) -> None:
        for n in range(start, start + 40):
            patiently(lambda n=n: record_one(world, record(n, f"lead-{n % 4}")))

    together([merge, part, lambda: talk(100), lambda: talk(200), lambda: talk(300)])
    assert world.one("SELECT count(*) FROM messages") == 4 + 24 + 120
    assert world.verify(sample=10).failed == []


def _undo(world: World, merge_id: Any) -> None:
    with world.connection() as connection:
        record = connection.execute(
            text("SELECT undone_at FROM customer_merges WHERE id = :id"), {"id": merge_id}
        ).one()
        if record.undone_at is None:
            undo_merge(connection, merge_id)


def test_a_conversation_is_closed_while_events_of_it_come(world: World) -> None:
    record_one(world, record(0))

    def talk() -> None:
        for n in range(1, 60):
            record_one(world, record(n))

    def close() -> None:
        for n in (10, 20, 30):
            close_conversation(world.database, "lead-1", at=BEGUN + timedelta(minutes=n))

    together([talk, close])
    said = [message for each in texts(world) for message in each]
    assert sorted(said) == sorted(f"message {n}" for n in range(60))
    assert world.verify(sample=10).ok


def test_whoever_needs_a_conversation_gets_the_same_one(world: World) -> None:
    record_one(world, record(1))
    lead_id = world.one("SELECT id FROM leads")
    close_conversation(world.database, "lead-1", at=BEGUN + timedelta(minutes=2))

    def ensure() -> Any:
        with world.connection() as connection:
            return ensure_conversation(connection, lead_id, BEGUN + timedelta(minutes=3))

    found = together([ensure] * 4 + [lambda: record_one(world, record(5)).conversation_id] * 1)
    assert len(set(found)) == 1
    assert [len(each) for each in texts(world)] == [1, 1]
    assert world.verify(sample=10).ok


RECORDER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from backstory.live.queue import EventQueue
from backstory.store.engine import Database
with EventQueue(Database.open(sys.argv[1], "backstory")) as queue, ThreadPoolExecutor(8) as pool:
    def hand_in(line):
        done = queue.record(line)
        sys.stdout.write(done.audit_id + " " + done.outcome + chr(10))
        sys.stdout.flush()
    list(pool.map(hand_in, sys.stdin.buffer.read().splitlines()))
"""


def test_a_recorder_that_is_killed_again_and_again_loses_and_doubles_nothing(
    world: World,
) -> None:
    events = [json.dumps(record(n, f"lead-{n % 9}")).encode() for n in range(400)]
    answered: set[str] = set()
    dice = random.Random(5)
    kills = 0
    for _ in range(30):
        rest = [each for each in events if json.loads(each)["id"] not in answered]
        if not rest:
            break
        process = subprocess.Popen(
            [sys.executable, "-c", RECORDER, world.database.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"\n".join(rest))
        process.stdin.close()
        lines = _some_of(process, dice.randrange(5, 120))
        kills += process.returncode == -signal.SIGKILL
        for line in lines:
            audit_id, outcome = line.split()
            assert outcome in {"created", "duplicate"}
            answered.add(audit_id)
        # Whoever got an answer finds the message, whatever happened to who gave it.
        assert answered <= {row[0] for row in world.rows("SELECT audit_id FROM messages")}
    assert kills >= 3
    assert len(answered) == len(events) == world.one("SELECT count(*) FROM messages")
    assert world.one("SELECT count(*) FROM audit_log WHERE log = 'audit'") == len(events)
    assert world.verify(sample=10).ok


def _some_of(process: "subprocess.Popen[bytes]", count: int) -> list[str]:
    """Return what a recorder says until it has ended, or is killed after so many lines."""
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if len(lines) == count:
            process.kill()
    process.stdout.close()
    process.wait()
    return [line.decode().strip() for line in lines if line.endswith(b"\n")]


def test_a_queue_and_single_events_share_their_leads(world: World) -> None:
    with EventQueue(world.database) as queue:
        done = together(
            [lambda n=n: queue.record(record(n % 10)) for n in range(10)]
            + [lambda n=n: record_one(world, record(n % 10)) for n in range(10)]
        )
    assert Counter(outcomes(done)) == {"created": 10, "duplicate": 10}
    assert len(texts(world)[0]) == 10
