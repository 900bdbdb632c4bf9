"""Times live writing in one process: single events, batches, and the queue that many threads share.

    python bench/events.py --url postgresql://... --events 4000 --rounds 3

Its floor, in the same run: the same two rows (log and message) in bare prepared INSERTs of psycopg,
a transaction each, over as many connections as there are threads. Events are of 330 bytes or so, of
leads that are known; every round writes into tables that hold the rounds before. The schema
`bench_events` is made anew and dropped at the end.
"""

import argparse
import json
import os
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql
from sqlalchemy import make_url
from vocabulary import COMMON, HUB, STOP

from backstory.live.queue import EventQueue
from backstory.live.record import record_event, record_events
from backstory.store.engine import Database
from backstory.store.schema import upgrade

SCHEMA = "bench_events"
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = 50
WORDS = (*STOP, *HUB, *COMMON)
AUDIT = """
INSERT INTO audit_log (id, log, audit_id, lead_id, lead_external_id, actor, action, payload,
                       payload_hash, seq, created_at)
VALUES (%s, 'floor', %s, %s, %s, %s, %s, %s, %s, 0, %s)
"""
MESSAGE = """
INSERT INTO messages (id, conversation_id, customer_id, log, audit_id, role, kind, content, seq,
                      created_at, metadata)
VALUES (%s, %s, %s, 'floor', %s, 'user', 'text', %s, 0, %s, %s)
"""

Event = dict[str, object]
Share = Callable[[Sequence[Event]], object]
# Of each way, round by round: events a second, and milliseconds of this process's CPU an event.
Figures = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class Way:
    """A way of writing: what a thread does with its share, opened once for all threads."""

    name: str
    threads: int
    opened: Callable[[], AbstractContextManager[Share]]


def make_event(number: int, leads: int) -> Event:
    """Return an event; its text is as long as to make the record some 330 bytes."""
    said = " ".join(WORDS[(number * 7 + place * 13) % len(WORDS)] for place in range(24))
    return {
        "id": f"event-{number}",
        "lead_id": f"lead-{number % leads}",
        "actor": "customer" if number % 2 else "agent",
        "action": "message_received" if number % 2 else "message_sent",
        "payload": {"text": said},
        "created_at": (BEGUN + timedelta(seconds=number)).isoformat(),
    }


def ways(database: Database, threads: int) -> list[Way]:
    """Return all ways that are measured, the floor first."""

    def cut(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
        return (events[start : start + BATCH] for start in range(0, len(events), BATCH))

    @contextmanager
    def bare() -> Iterator[Share]:
        yield lambda events: insert(database, events)

    @contextmanager
    def alone() -> Iterator[Share]:
        yield lambda events: [record_event(database, event) for event in events]

    @contextmanager
    def batches() -> Iterator[Share]:
        yield lambda events: [record_events(database, batch) for batch in cut(events)]

    @contextmanager
    def queued() -> Iterator[Share]:
        with EventQueue(database) as queue:
            yield lambda events: [queue.record(event) for event in events]

    return [
        Way(f"floor: two bare inserts, {threads} connections", threads, bare),
        Way(f"record_event, {threads} threads", threads, alone),
        Way("record_event, 1 thread", 1, alone),
        Way(f"record_events, batches of {BATCH}", 1, batches),
        Way(f"EventQueue, {threads} threads", threads, queued),
        Way("EventQueue, 1 thread", 1, queued),
    ]


def insert(database: Database, events: Sequence[Event]) -> None:
    """Insert rows as a program without any rules would."""
    with connected(database) as connection:
        found = "SELECT id, customer_id, lead_id FROM conversations LIMIT 1"
        conversation, customer, lead = connection.execute(found).fetchone() or ()
        for event in events:
            number, name, moment = uuid.uuid4(), event["id"], event["created_at"]
            payload = json.dumps(event["payload"])
            text = event["payload"]["text"]  # type: ignore[index]  # see make_event
            trace = json.dumps({"auditId": name, "auditAction": event["action"]})
            log = (event["lead_id"], event["actor"], event["action"], payload, number.bytes, moment)
            connection.execute(AUDIT, (number, name, lead, *log))
            connection.execute(MESSAGE, (number, conversation, customer, name, text, moment, trace))
            connection.commit()


@contextmanager
def connected(database: Database) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """Yield a connection of the driver's in the benchmark's schema."""
    url = make_url(database.url).set(drivername="postgresql")
    address = url.render_as_string(hide_password=False)
    with psycopg.connect(address, prepare_threshold=0) as connection:
        connection.execute(
            sql.SQL("SET search_path TO {}, public").format(sql.Identifier(database.schema))
        )
        connection.commit()
        yield connection


def timed(way: Way, events: Sequence[Event]) -> tuple[float, float]:
    """Write all events in the way's threads; return events a second and CPU ms of this process."""
    shares = [events[number :: way.threads] for number in range(way.threads)]
    with way.opened() as write:
        threads = [threading.Thread(target=write, args=(share,)) for share in shares]
        spent, started = time.process_time(), time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - started
    return len(events) / seconds, (time.process_time() - spent) / len(events) * 1000


def measure(
    database: Database, options: argparse.Namespace
) -> dict[str, list[tuple[float, float]]]:
    """Return the figures of each way by round; the first round warms up and does not count."""
    record_events(database, [make_event(number, options.leads) for number in range(options.leads)])
    begin = options.leads
    found: Figures = {}
    for turn in range(options.rounds + 1):
        for way in ways(database, options.threads):
            numbers = range(begin, begin + options.events)
            begin += options.events
            figures = timed(way, [make_event(number, options.leads) for number in numbers])
            if turn:
                found.setdefault(way.name, []).append(figures)
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--url", default=os.environ.get("DATABASE_URL"), required=False)
    parser.add_argument("--events", type=int, default=4_000, help="of each way in each round")
    parser.add_argument("--leads", type=int, default=500)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not options.url:
        parser.error("name a server: --url postgresql://… or DATABASE_URL")
    database = Database.open(options.url, SCHEMA)
    drop = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(SCHEMA))
    with connected(database) as connection:
        connection.execute(drop)
    try:
        upgrade(database.engine, SCHEMA)
        found = measure(database, options)
    finally:
        database.engine.dispose()
        with connected(database) as connection:
            connection.execute(drop)
    print(f"{'':48} events/s  share of the floor  CPU ms an event")
    floor = None
    for name, figures in found.items():
        rate = statistics.median(rate for rate, _ in figures)
        spent = statistics.median(spent for _, spent in figures)
        floor = floor or rate
        print(f"{name:48} {rate:8,.0f}  {rate / floor:18.2f}  {spent:15.2f}")


if __name__ == "__main__":
    main()
