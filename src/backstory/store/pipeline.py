"""Sends several named statements at once: one round trip, and one planning for many calls."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import psycopg
from psycopg.rows import namedtuple_row
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from backstory.store.engine import driver_of, translated
from backstory.store.statements import sql

# A statement's name and its parameters.
Step = tuple[str, Mapping[str, Any]]


def pipelined(
    connection: Connection, steps: Sequence[Step], *, commit: bool = False
) -> list[list[Any]]:
    """Execute named statements in their order; return the rows of each, as named tuples.

    With `commit` the transaction ends with them: what the caller does with it afterwards, does
    nothing. Statements are prepared once a session.
    """
    with translated(), prepared(connection) as driver, driver.pipeline():
        cursors = [
            driver.cursor(row_factory=namedtuple_row).execute(_as_psycopg(name), values)
            for name, values in steps
        ]
        if commit:
            driver.commit()
        return [cursor.fetchall() for cursor in cursors]


@contextmanager
def prepared(connection: Connection, *, after: int = 0) -> "Iterator[psycopg.Connection[Any]]":
    """Let a statement be planned once a connection, when it was used more than `after` times.

    For the few that are asked again and again: planning is half of what they cost the server.
    """
    driver = driver_of(connection)
    before = driver.prepare_threshold
    driver.prepare_threshold = after
    try:
        yield driver
    except psycopg.Error:
        if driver.closed:
            # SQLAlchemy has not seen it happen, and would hand the connection out again.
            connection.invalidate()
        raise
    finally:
        driver.prepare_threshold = before


@cache
def _as_psycopg(name: str) -> bytes:
    """Return a named statement with its parameters as the driver writes them."""
    written = str(sql(name).compile(dialect=cast("Any", PGDialect_psycopg)()))
    return written.encode()
