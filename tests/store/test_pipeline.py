"""Statements sent together: their plans, their failures, and connections that are gone."""

import signal
import uuid

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from backstory.errors import RecordRefused, Transient
from backstory.store import pipeline
from backstory.store.engine import Database, driver_of
from backstory.store.pipeline import pipelined, rows

LEAD = {"ids": f"{{{uuid.uuid4()}}}"}
NOBODY = ("call_under_key", {"lead_id": uuid.uuid4(), "tool": "t", "idempotency_key": "k"})
STEPS = [("lead_of_session", LEAD), NOBODY]


@pytest.fixture
def database(database_url):
    database = Database.open(database_url, "backstory", pool_size=1)
    yield database
    database.engine.dispose()


def plans(connection: Connection) -> set[str]:
    found = connection.execute(text("SELECT name FROM pg_prepared_statements"))
    return {name.split("_")[0] for (name,) in found}


def end(url, backend):
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])


def backend_of(connection):
    return connection.execute(text("SELECT pg_backend_pid()")).scalar_one()


def test_each_statement_has_its_rows_in_their_order(connection):
    role = {"role": "nobody_of_that_name"}
    leads, roles = pipelined(connection, [("lead_of_session", LEAD), ("agent_role", role)])
    assert leads == []
    assert [each._asdict() for each in roles] == [
        {"exists": False, "powerful": False, "settable": False, "owns": False}
    ]


ARRAYS = {
    "text": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    "uuid": st.uuids(),
    "bytea": st.binary(),
    "bigint": st.integers(-(2**63), 2**63 - 1),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_a_list_arrives_as_it_was_given(database, monkeypatch, kind):
    asked = text(f"SELECT CAST(:listed AS {kind}[]) AS listed")
    monkeypatch.setattr(pipeline, "sql", lambda _name: asked)

    @given(st.lists(ARRAYS[kind]) | st.lists(ARRAYS[kind] | st.none()))
    def arrives(listed):
        [row] = rows(connection, f"listed as {kind}", {"listed": listed})
        assert row.listed == listed

    with database.engine.connect() as connection:
        arrives()


def test_a_plan_is_made_once_a_connection_and_outlives_a_rollback(database):
    with database.engine.connect() as connection:
        pipelined(connection, STEPS)
        before = plans(connection)
    assert before == {"lead", "call"}
    with database.engine.connect() as connection:
        assert plans(connection) == before
        pipelined(connection, STEPS)
        assert plans(connection) == before


def test_what_the_connection_has_forgotten_is_planned_again(database):
    with database.engine.begin() as connection:
        pipelined(connection, STEPS)
        connection.execute(text("DEALLOCATE ALL"))
    with database.engine.begin() as connection:
        assert pipelined(connection, STEPS) == [[], []]
        connection.execute(text("DEALLOCATE ALL"))
        # Something was done in this transaction: it may not begin anew of itself.
        with pytest.raises(Transient):
            rows(connection, *STEPS[0])


def test_a_failure_is_told_as_ours_and_leaves_a_connection_of_use(database):
    with pytest.raises(RecordRefused), database.engine.begin() as connection:
        pipelined(connection, [STEPS[0], ("lead_of_session", {"ids": "{no id}"}), NOBODY])
    with pytest.raises(RecordRefused), database.engine.begin() as connection:
        pipelined(connection, [("call_under_key", NOBODY[1] | {"tool": "a\0b"})])
    with database.engine.begin() as connection:
        assert not driver_of(connection).closed
        assert pipelined(connection, STEPS) == [[], []]


def test_what_is_sent_with_the_commit_is_kept_and_the_rest_of_the_block_finds_it_ended(database):
    with database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE kept (n int)"))
        pipelined(connection, [STEPS[0]], commit=True)
    with database.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM kept")).scalar() == 0


def test_a_connection_that_the_server_closed_is_replaced_before_it_is_used(database, database_url):
    with database.engine.begin() as connection:
        pipelined(connection, STEPS)
        first = backend_of(connection)
    end(database_url, first)
    with database.engine.begin() as connection:
        assert pipelined(connection, STEPS) == [[], []]
        assert backend_of(connection) != first


def test_a_connection_that_breaks_while_it_is_used_is_not_handed_out_again(database, database_url):
    with database.engine.connect() as connection:
        end(database_url, backend_of(connection))
        with pytest.raises(Transient):
            pipelined(connection, STEPS)
    with database.engine.begin() as connection:
        assert pipelined(connection, STEPS) == [[], []]


def test_an_interrupt_is_told_as_what_it_is_and_leaves_no_connection_behind(database, database_url):
    key = {"lead_id": uuid.uuid4(), "tool": "t", "idempotency_key": "k"}
    other = Database.open(database_url, "backstory", pool_size=1)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with other.engine.begin() as first:
            pipelined(first, [("lock_idempotency_key", key)])
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(KeyboardInterrupt), database.engine.begin() as connection:
                pipelined(connection, [("lock_idempotency_key", key)])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        other.engine.dispose()
    with database.engine.begin() as connection:
        assert pipelined(connection, STEPS) == [[], []]


def test_a_connection_that_was_closed_here_is_replaced_before_it_is_used(database):
    with database.engine.begin() as connection:
        driver = driver_of(connection)
    driver.close()
    with database.engine.begin() as connection:
        assert pipelined(connection, STEPS) == [[], []]


def test_a_rollback_of_nothing_is_not_sent(database):
    warned = []
    with database.engine.connect() as connection, connection.begin() as nothing:
        driver_of(connection).add_notice_handler(lambda notice: warned.append(notice.sqlstate))
        nothing.rollback()
    assert warned == []
