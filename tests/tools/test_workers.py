"""Sessions served in other processes: the same answers, and nothing lost when a process is."""

import multiprocessing
import os
import pickle
import resource
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import psycopg
import pytest
from tools_world import SCHEMA, agent, refused, rows, told
from waiting import until

from backstory.app import opened_in_worker
from backstory.config import Settings
from backstory.errors import (
    BackstoryError,
    DatabaseUnreachable,
    Interrupted,
    NotRecognized,
    RecordRefused,
    Refused,
    Transient,
    UsageError,
)
from backstory.store.engine import Database
from backstory.tools.session import Rules
from backstory.tools.workers import Workers


def opening(url, home, **settings):
    given = Settings(DATABASE_URL=url, home=home, CONTEXT_MEMORY_ENABLED=True, **settings)
    return partial(opened_in_worker, given, statement_seconds=10)


def deep(depth):
    made = []
    for _ in range(depth):
        made = [made]
    return made


def processes():
    return [p for p in multiprocessing.active_children() if p.name == "backstory-worker"]


def kill(pid):
    """Kill a process, and return when it is gone."""
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_there(pid))


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def workers(database_url, tmp_path):
    with Workers(2, opening(database_url, tmp_path)) as workers:
        yield workers
    assert processes() == []


def worked(session, workers):
    return replace(session, elsewhere=workers)


@pytest.fixture
def ana(database, workers):
    return worked(agent(database, "ana-2"), workers)


@pytest.fixture
def bob(database, workers):
    return worked(agent(database, "bob-1"), workers)


def jobs(database):
    statement = "SELECT c.display_name, j.title FROM jobs j JOIN customers c ON c.id = customer_id"
    return sorted(map(tuple, rows(database, statement)))


def test_a_call_is_made_by_another_process_and_answered_here(database, ana):
    made = told(ana, "create_job", title="Garage")
    assert (made["outcome"], jobs(database)) == ("created", [("Ana", "Garage")])
    shown = told(ana, "memory_fetch_candidates", query="the sofa")
    pack = ana.context("the sofa")
    here = agent(database, "ana-2", clock=ana.rules.clock)
    assert shown["candidates"]
    assert pack.text == here.context("the sofa").text
    assert refused(ana, "no_such_tool")["outcome"] == "unknown_tool"
    called = rows(database, "SELECT tool FROM tool_calls ORDER BY created_at, tool")
    assert len(called) == 3


def test_a_repeated_call_is_answered_as_before_by_whichever_process(database, ana):
    first, *others = [
        ana.call("create_job", {"title": "Garage"}, idempotency_key="k-1") for _ in range(4)
    ]
    assert [each.data for each in others] == [first.data] * 3
    assert [each.replayed for each in others] == [True] * 3
    assert len(jobs(database)) == 1


def test_what_a_session_raises_is_raised_here(database_url, database, tmp_path, ana):
    with pytest.raises(UsageError, match="idempotency key"):
        ana.call("create_job", {"title": "Garage"}, idempotency_key="")
    forgetful = Settings(DATABASE_URL=database_url, home=tmp_path, CONTEXT_MEMORY_ENABLED=False)
    with Workers(1, partial(opened_in_worker, forgetful)) as workers:
        session = worked(agent(database, "ana-2"), workers)
        with pytest.raises(Refused) as refusal:
            session.context("the sofa")
    assert refusal.value.outcome == "memory_off"
    assert "CONTEXT_MEMORY_ENABLED" in refusal.value.next_step


def errors(kind=BackstoryError):
    for each in kind.__subclasses__():
        if each.__module__ == "backstory.errors":
            yield each
            yield from errors(each)


GIVEN = {
    Interrupted: ("pause", "run-1"),
    NotRecognized: (),
    RecordRefused: ("too large", "22001"),
    Refused: ("not_found", "There is none."),
}


@pytest.mark.parametrize("kind", list(errors()))
def test_an_error_is_the_same_in_another_process(kind):
    error = kind(*GIVEN.get(kind, ("in words",)))
    other = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(other), str(other), vars(other)) == (kind, str(error), vars(error))


@pytest.mark.parametrize("value", ["x" * 2_000_000, deep(700)], ids=["long", "deep"])
def test_arguments_of_any_size_are_refused_in_words_and_recorded(database, ana, value):
    said = refused(ana, "create_job", title=value)
    assert (said["outcome"], "`title`" in said["message"]) == ("invalid_arguments", True)
    recorded = rows(database, "SELECT outcome FROM tool_calls")
    assert [outcome for (outcome,) in recorded] == ["invalid_arguments"]


def test_many_callers_get_each_their_own_answer(database, ana, bob):
    wrong = []

    def call(session, name, number):
        title = f"{name} {number}"
        if told(session, "create_job", title=title)["job"]["title"] != title:
            wrong.append(title)

    callers = [
        threading.Thread(target=call, args=(session, name, number))
        for number in range(12)
        for session, name in ((ana, "Ana"), (bob, "Bob"))
    ]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    assert wrong == []
    found = jobs(database)
    assert len(found) == 24
    assert all(title.startswith(name) for name, title in found)


def test_a_worker_that_was_killed_while_idle_is_replaced_unseen(database, ana):
    for each in processes():
        kill(each.pid)
    for number in range(4):
        told(ana, "create_job", title=f"Job {number}")
    assert len(jobs(database)) == 4
    assert len(processes()) == 2


@contextmanager
def calling(session, database, database_url):
    """Let a call wait for a lock; yield the list in which its answer comes, or its error."""
    came = []

    def call():
        try:
            came.append(session.call("create_job", {"title": "Garage"}, idempotency_key="k-1"))
        except Transient as error:
            came.append(error)

    with psycopg.connect(database_url) as other:
        other.execute(f"SELECT FROM {SCHEMA}.customers FOR UPDATE")
        caller = threading.Thread(target=call)
        caller.start()
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        until(lambda: rows(database, waiting))
        yield came
        other.rollback()
    caller.join()


def test_a_worker_that_is_killed_at_work_is_replaced_and_its_call_can_be_repeated(
    database_url, database, ana
):
    before = [each.pid for each in processes()]
    with calling(ana, database, database_url) as came:
        for each in before:
            kill(each)
        until(lambda: came)
    assert isinstance(came[0], Transient)
    assert "repeat the call" in str(came[0])
    again = ana.call("create_job", {"title": "Garage"}, idempotency_key="k-1")
    assert (again.outcome, again.replayed, len(jobs(database))) == ("created", False, 1)


def test_a_call_that_hangs_is_given_up_and_its_late_answer_is_nobody_s(
    database_url, database, tmp_path
):
    with Workers(1, opening(database_url, tmp_path), longest=1) as workers:
        ana, bob = (worked(agent(database, lead), workers) for lead in ("ana-2", "bob-1"))
        with calling(ana, database, database_url) as came:
            until(lambda: came)
        assert "took too long" in str(came[0])
        assert told(bob, "create_job", title="Shed")["job"]["title"] == "Shed"


def test_what_is_under_way_is_finished_when_workers_are_closed(database_url, database, tmp_path):
    workers = Workers(1, opening(database_url, tmp_path))
    closing = threading.Thread(target=workers.close)
    with calling(worked(agent(database, "ana-2"), workers), database, database_url) as came:
        closing.start()
        time.sleep(0.3)
        assert closing.is_alive()
    closing.join()
    assert (came[0].outcome, processes()) == ("created", [])


def test_a_worker_that_cannot_be_started_is_started_later(database, ana):
    for each in processes():
        kill(each.pid)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4, before[1]))
    try:
        for _ in range(3):
            with pytest.raises(Transient, match="No process can be started"):
                ana.call("create_job", {"title": "Garage"})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    for number in range(4):
        told(ana, "create_job", title=f"Job {number}")
    assert len(jobs(database)) == 4


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_go_to_all_processes_end_no_call(database, ana, by):
    """A terminal and a service manager send them to each process; the one that serves decides."""
    for each in processes():
        os.kill(each.pid, by)
    told(ana, "create_job", title="Garage")
    assert [each.exitcode for each in processes()] == [None, None]
    assert len(jobs(database)) == 1


def clock_of(file):
    """Tell the time, unless this file says that the clock is broken."""
    if file.exists():
        raise ZeroDivisionError
    return datetime.now(UTC)


def with_a_clock(url, file):
    return Database.open(url, SCHEMA), Rules(clock=partial(clock_of, file))


def test_a_defect_is_an_error_where_it_was_asked_for_and_the_worker_serves_on(
    database_url, database, tmp_path
):
    flaw = tmp_path / "flaw"
    with Workers(1, partial(with_a_clock, database_url, flaw)) as workers:
        session = worked(agent(database, "ana-2"), workers)
        before = [each.pid for each in processes()]
        flaw.touch()
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            session.call("create_job", {"title": "Garage"})
        flaw.unlink()
        told(session, "create_job", title="Cellar")
        assert [each.pid for each in processes()] == before
    assert jobs(database) == [("Ana", "Cellar")]


def test_workers_that_cannot_open_the_database_are_none(tmp_path):
    nowhere = opening("postgresql://nobody@127.0.0.1:1/nothing", tmp_path)
    with pytest.raises(DatabaseUnreachable):
        Workers(2, nowhere)
    assert processes() == []


def test_connections_that_were_cut_are_opened_again(database_url, ana):
    told(ana, "create_job", title="Job")
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    for number in range(4):
        told(ana, "create_job", title=f"Job {number}")
