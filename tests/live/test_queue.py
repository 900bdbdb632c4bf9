"""The queue: who waits gets an answer, after its commit, whatever becomes of the others."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from live_world import World, outcomes, record, texts, told
from sqlalchemy import create_engine, text
from waiting import until

from backstory.errors import BackstoryError, Busy, DatabaseError, DatabaseUnreachable, Transient
from backstory.live import queue as queues
from backstory.live.queue import EventQueue
from backstory.store.engine import Database
from backstory.store.statements import sql

THREADS = 8


def test_many_threads_get_each_their_own_answer_after_its_commit(world: World) -> None:
    def hand_in(number: int) -> tuple[str, int]:
        done = queue.record(record(number, f"lead-{number % 7}"))
        return done.outcome.value, world.one(
            "SELECT count(*) FROM messages WHERE id = :id", id=done.record_id
        )

    with EventQueue(world.database) as queue, ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(hand_in, range(60))) == [("created", 1)] * 60
        assert list(pool.map(hand_in, range(60))) == [("duplicate", 1)] * 60
    assert world.verify(sample=10).ok


def test_what_waits_while_a_commit_is_under_way_is_written_in_one_transaction(
    world: World,
) -> None:
    with EventQueue(world.database) as queue, world.database.engine.connect() as other:
        queue.record(record(0))  # a lead that is not known would be handed on to another lane
        blocker = other.begin()
        other.execute(text("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE"))
        first = queue.submit(record(1))
        until(lambda: queue.waiting == 0)
        rest = [queue.submit(record(number)) for number in range(2, 21)]
        assert not first.done()
        blocker.commit()
        assert outcomes([each.result() for each in rest]) == ["created"] * 19
    transactions = world.rows("SELECT xmin, count(*) FROM messages GROUP BY 1 ORDER BY 2")
    assert [row.count for row in transactions] == [1, 1, 19]


def test_events_that_the_database_does_not_take_spoil_none_of_the_others(world: World) -> None:
    world.run(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.content = 'message 2' THEN RAISE EXCEPTION 'not this one'; END IF;"
        " IF NEW.content = 'message 3' THEN"
        " RAISE EXCEPTION 'no right' USING ERRCODE = '42501'; END IF;"
        " RETURN NEW; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    with EventQueue(world.database) as queue:
        answers = [queue.submit(record(number)) for number in range(1, 6)]
        wait(answers)
    assert [type(each.exception()) for each in answers] == [
        *(type(None), type(None), DatabaseError, type(None), type(None)),
    ]
    assert answers[1].result().outcome == "quarantined"
    assert texts(world) == [["message 1", "message 4", "message 5"]]


def test_closing_writes_what_is_waiting_and_takes_no_more(world: World) -> None:
    queue = EventQueue(world.database)
    answers = [queue.submit(record(number)) for number in range(50)]
    queue.close()
    assert outcomes([each.result(timeout=0) for each in answers]) == ["created"] * 50
    with pytest.raises(Transient, match="closing"):
        queue.record(record(51))
    queue.close()


def test_too_much_waiting_is_refused_and_may_come_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "MOST_WAITING", 3)
    with EventQueue(world.database) as queue, world.database.engine.connect() as other:
        queue.record(record(0))  # as above
        blocker = other.begin()
        other.execute(text("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE"))
        queue.submit(record(1))
        until(lambda: queue.waiting == 0)
        for number in range(2, 5):
            queue.submit(record(number))
        with pytest.raises(Busy, match="waiting already"):
            queue.submit(record(5))
        blocker.commit()
    assert len(texts(world)[0]) == 5


def test_a_connection_that_was_lost_in_between_is_replaced(world: World) -> None:
    with EventQueue(world.database) as queue:
        queue.record(record(1))
        _end_sessions(world)
        assert queue.record(record(2)).outcome == "created"
    assert texts(world) == [["message 1", "message 2"]]


def test_a_database_that_does_not_answer_is_told_to_whoever_waits() -> None:
    away = Database.open("postgresql://nobody@127.0.0.1:1/none", "backstory")
    with EventQueue(away) as queue, pytest.raises(DatabaseUnreachable):
        queue.record(record(1))
    away.engine.dispose()


def test_sessions_that_are_ended_all_the_time_lose_and_double_nothing(world: World) -> None:
    """A connection may be lost after the commit and before its answer: who retries finds out."""
    numbers = range(120)
    done: list[int] = []
    stop = threading.Event()

    def end_sessions() -> None:
        while not stop.wait(0.05):
            before = len(done)
            _end_sessions(world)
            # A slow machine gets something written between two ends, as a fast one does.
            while len(done) == before and not stop.wait(0.005):
                pass

    def hand_in(number: int) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                queue.record(told(number, f"lead-{number % 5}", stage=f"stage {number}"))
            except BackstoryError:
                continue
            done.append(number)
            return
        raise AssertionError("The queue did not recover.")

    killer = threading.Thread(target=end_sessions)
    with EventQueue(world.database) as queue, ThreadPoolExecutor(THREADS) as pool:
        killer.start()
        try:
            list(pool.map(hand_in, numbers))
        finally:
            stop.set()
            killer.join()
    assert world.one("SELECT count(*) FROM messages") == len(numbers)
    assert world.one("SELECT count(*) FROM audit_log WHERE log = 'audit'") == len(numbers)
    assert world.verify(sample=10).ok


def _end_sessions(world: World) -> None:
    """End the queue's sessions, and wait until they are gone: one that is ending looks well."""
    world.run(
        "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND application_name = 'backstory'"
    )


def test_events_of_known_leads_do_not_wait_while_somebody_links_a_list(world: World) -> None:
    with EventQueue(world.database) as queue, world.database.engine.connect() as other:
        queue.record(told(1, stage="new"))
        linking = other.begin()
        other.execute(sql("lock_linking"))
        waiting = [
            queue.submit(record(2, "lead-2")),
            queue.submit(told(3, stage="quoted")),
            queue.submit(record(4, "lead-2")),
        ]
        done = [queue.record(event) for event in (record(5), told(6, stage="new"), record(7))]
        assert outcomes(done) == ["created"] * 3
        assert not any(each.done() for each in waiting)
        linking.commit()
        assert outcomes([each.result() for each in waiting]) == ["created"] * 3
    assert world.one("SELECT stage FROM leads WHERE external_id = 'lead-1'") == "quoted"
    assert texts(world, "lead-2") == [["message 2", "message 4"]]
    assert world.verify(sample=10).ok


def test_a_process_that_is_out_of_connections_says_so_and_recovers(database_url: str) -> None:
    busy = create_engine(
        database_url.replace("postgresql://", "postgresql+psycopg://"),
        pool_size=1,
        max_overflow=0,
        pool_timeout=0.1,
        connect_args={"options": "-csearch_path=backstory"},
    )
    only = busy.connect()
    with EventQueue(Database(database_url, "backstory", busy)) as queue:
        with pytest.raises(Busy, match="in use"):
            queue.record(record(1, payload={}))
        only.close()
        assert queue.record(record(1, payload={})).reason == "no_text"
    busy.dispose()
