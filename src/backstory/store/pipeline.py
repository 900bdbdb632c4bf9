"""Sends several named statements at once: one round trip, and one planning for many calls.

This is the driver's own protocol layer: a call of an agent has ten statements, and a cursor for
each of them costs four times what the statement does.
"""

import hashlib
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import errors as pg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.abc import Transformer as AnyTransformer
from psycopg.adapt import PyFormat, Transformer
from psycopg.waiting import Ready, Wait
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from backstory.errors import Transient
from backstory.store.engine import driver_of, is_idle, translated
from backstory.store.statements import sql

# A statement's name and its parameters.
Step = tuple[str, Mapping[str, Any]]
_Driver = psycopg.Connection[Any]
# It writes parameters as the server does: `$1`.
_NUMBERED = PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # it has no types
_PREPARED = "backstory.prepared"
# What makes rows of a prepared statement with so many columns.
_ROWS: dict[tuple[bytes, int], Any] = {}
_FAILED = frozenset({pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE})


class _Written(NamedTuple):
    """A named statement as the server gets it: `$1` is the first of `parameters`."""

    text: bytes
    prepared_as: bytes
    parameters: tuple[str, ...]


class _Batch(NamedTuple):
    """What goes to the server together, with the begin and the end of a transaction around it."""

    steps: Sequence[Step]
    begins: bool
    commits: bool
    format: pq.Format


class _Message(NamedTuple):
    """Something to send; `prepares` a statement of this name, or wants the rows of this one."""

    send: Callable[[], None]
    prepares: bytes | None = None
    wants: bytes | None = None


def pipelined(
    connection: Connection,
    steps: Sequence[Step],
    *,
    commit: bool = False,
    binary: bool = False,
) -> list[list[Any]]:
    """Execute named statements in their order; return the rows of each, as named tuples.

    With `commit` the transaction ends with them: what the caller does with it afterwards, does
    nothing. With `binary` rows come as the server keeps them, which is quicker where they are many.
    Statements are prepared once a connection.
    """
    driver, known = driver_of(connection), connection.info.setdefault(_PREPARED, set())
    begins = not driver.autocommit and is_idle(driver)
    batch = _Batch(steps, begins=begins, commits=commit, format=pq.Format(binary))
    with translated(), _lost_if_closed(connection, driver):
        try:
            return _exchanged(driver, known, batch)
        except pg.InvalidSqlStatementName as forgotten:
            # The driver deallocates everything after DDL, also what we have prepared.
            known.clear()
            if not begins:
                sentence = "The database has forgotten a plan: repeat the call."
                raise Transient(sentence) from forgotten
        driver.rollback()
        return _exchanged(driver, known, batch)


def rows(connection: Connection, name: str, values: Mapping[str, Any]) -> list[Any]:
    """Execute one named statement; return its rows, as named tuples."""
    return pipelined(connection, [(name, values)])[0]


@contextmanager
def prepared(connection: Connection, *, after: int) -> Iterator[None]:
    """Let a statement be planned once a connection, when it was used more than `after` times.

    For the few that are asked again and again: planning is half of what they cost the server.
    """
    driver = driver_of(connection)
    before = driver.prepare_threshold
    driver.prepare_threshold = after
    try:
        with _lost_if_closed(connection, driver):
            yield
    finally:
        driver.prepare_threshold = before


@contextmanager
def _lost_if_closed(connection: Connection, driver: _Driver) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if driver.closed:
            # SQLAlchemy has not seen it happen: it would tell what it finds when it rolls back in
            # place of this, a Ctrl-C for example, and might hand the connection out again.
            connection.invalidate()
        raise


# --- what is sent ----------------------------------------------------------------------------


@cache
def _written(name: str) -> _Written:
    compiled = sql(name).compile(dialect=_NUMBERED)
    text = str(compiled).encode()
    # The same name is the same statement, whoever has prepared it.
    digest = hashlib.blake2b(text, digest_size=12).hexdigest()
    return _Written(text, f"{name[:30]}_{digest}".encode(), tuple(compiled.positiontup or ()))


def _exchanged(driver: _Driver, known: set[bytes], batch: _Batch) -> list[list[Any]]:
    """Send everything, wait once, and read what came; raises psycopg's errors."""
    transformer = Transformer(driver)
    messages = list(_messages(driver.pgconn, transformer, known, batch))
    results = _answers(driver, messages)
    for message, result in zip(messages, results, strict=True):
        if result.status in _FAILED:
            raise pg.error_from_result(result)
        if message.prepares:
            known.add(message.prepares)
    return [
        _rows(transformer, message.wants, result)
        for message, result in zip(messages, results, strict=True)
        if message.wants
    ]


def _messages(
    pgconn: pq.abc.PGconn, transformer: AnyTransformer, known: set[bytes], batch: _Batch
) -> Iterator[_Message]:
    prepared_now: set[bytes] = set()
    if batch.begins:
        yield _Message(partial(pgconn.send_query_params, b"BEGIN", None))
    for name, values in batch.steps:
        text, as_name, parameters = _written(name)
        if as_name not in known and as_name not in prepared_now:
            prepared_now.add(as_name)
            yield _Message(partial(pgconn.send_prepare, as_name, text), prepares=as_name)
        given = [_given(values[each]) for each in parameters]
        dumped = transformer.dump_sequence(given, [PyFormat.TEXT] * len(given))
        send = partial(pgconn.send_query_prepared, as_name, dumped, result_format=batch.format)
        yield _Message(send, wants=as_name)
    if batch.commits:
        yield _Message(partial(pgconn.send_query_params, b"COMMIT", None))


def _given(value: Any) -> Any:
    """Return a parameter as the driver gets it: a list as text, which the driver is slow to write.

    Every parameter is cast where it stands, so that the server knows of what the list is.
    """
    if not isinstance(value, list):
        return value
    if all(isinstance(each, str) for each in value):
        return _array('"' + each.replace("\\", r"\\").replace('"', r"\"") + '"' for each in value)
    if all(isinstance(each, UUID) for each in value):
        return _array(each.hex for each in value)
    if all(isinstance(each, bytes) for each in value):
        return _array(rf'"\\x{each.hex()}"' for each in value)
    return value


def _array(written: Iterable[str]) -> str:
    return "{" + ",".join(written) + "}"


# --- what comes back -------------------------------------------------------------------------


def _answers(driver: _Driver, messages: Sequence[_Message]) -> list[pq.abc.PGresult]:
    """Send messages and return the result of each; after a failure the others are aborted."""
    pgconn = driver.pgconn
    pgconn.enter_pipeline_mode()
    try:
        for message in messages:
            message.send()
        pgconn.pipeline_sync()
        results = driver.wait(_results(pgconn))
        pgconn.exit_pipeline_mode()
    except BaseException:
        # Nobody knows what is still under way: this connection is of no use any more.
        pgconn.finish()
        raise
    return results


def _results(pgconn: pq.abc.PGconn) -> PQGen[list[pq.abc.PGresult]]:
    while pgconn.flush():
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()
    found: list[pq.abc.PGresult] = []
    while True:
        while pgconn.is_busy():
            yield Wait.R
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:  # between two messages, or after the last that came
            if pgconn.status == pq.ConnStatus.BAD:
                raise psycopg.OperationalError("the connection is lost")
            continue
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            return found
        found.append(result)


def _rows(transformer: AnyTransformer, statement: bytes, result: pq.abc.PGresult) -> list[Any]:
    if result.status != pq.ExecStatus.TUPLES_OK:
        return []
    transformer.set_pgresult(result)
    make = _ROWS.get((statement, result.nfields))
    if make is None:
        names = [(result.fname(place) or b"").decode() for place in range(result.nfields)]
        row = namedtuple("Row", names, rename=True)  # type: ignore[misc]  # noqa: PYI024 - its fields are known when it is read
        make = _ROWS.setdefault((statement, result.nfields), row._make)
    return transformer.load_rows(0, result.ntuples, make)
