"""Opens the database, and turns driver errors into ours: the only place that does either."""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, cast

import psycopg
from psycopg import errors as pg
from psycopg import pq, sql
from sqlalchemy import Connection, Engine, create_engine, event, exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from backstory.audit.connect import advice_on_refusal
from backstory.errors import (
    AGAIN,
    BackstoryError,
    Busy,
    DatabaseError,
    DatabaseUnreachable,
    RecordRefused,
    SchemaMismatch,
    Transient,
    UsageError,
)

MIN_SERVER_VERSION = 16
CONNECT_TIMEOUT_SECONDS = 10
_SURELY_THERE_SECONDS = 5.0
_LEFT = "backstory.left"


@dataclass(frozen=True)
class Database:
    """An open database: its address, the schema of the business, and the engine on both."""

    url: str
    schema: str
    engine: Engine

    @classmethod
    def open(
        cls, url: str, schema: str, *, pool_size: int = 5, statement_seconds: float | None = None
    ) -> "Database":
        """Return the database at `url`, connecting when it is first used."""
        engine = open_engine(url, schema, pool_size=pool_size, statement_seconds=statement_seconds)
        return cls(url, schema, engine)


# What Prisma writes into a DATABASE_URL, and libpq would refuse.
_PRISMA_ONLY = frozenset(
    {"schema", "connection_limit", "pool_timeout", "pgbouncer", "socket_timeout"}
)


def parse_url(url: str) -> URL:
    """Read a `postgres://` or `postgresql://` URL; raise UsageError for anything else."""
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError) as bad:
        raise UsageError(
            "The database URL cannot be read; the form is postgresql://user:password@host/name."
        ) from bad
    if parsed.drivername.split("+", 1)[0] not in {"postgresql", "postgres"}:
        raise UsageError(
            f"{parsed.drivername}:// is not PostgreSQL; the form is postgresql://user@host/name."
        )
    known = {name: value for name, value in parsed.query.items() if name not in _PRISMA_ONLY}
    return parsed.set(drivername="postgresql+psycopg", query=known)


def open_engine(
    url: str, schema: str, *, pool_size: int = 5, statement_seconds: float | None = None
) -> Engine:
    """Return an engine whose connections live in `schema` and speak UTC; connects lazily.

    With `statement_seconds` a statement that takes longer is canceled, and its error is Transient.
    """
    longest = 0 if statement_seconds is None else round(statement_seconds * 1000)
    engine = create_engine(
        parse_url(url),
        pool_size=pool_size,
        max_overflow=5,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "application_name": "backstory",
            # Our statements are prepared where it matters; poolers between us may not keep them.
            "prepare_threshold": None,
        },
    )

    @event.listens_for(engine, "connect")
    def _settle(driver: "psycopg.Connection[Any]", record: ConnectionPoolEntry) -> None:
        _check_version(driver)
        driver.autocommit = True
        driver.execute(
            sql.SQL("SET search_path TO {}, public; SET timezone TO 'UTC'").format(
                sql.Identifier(schema)
            )
        )
        if longest:
            driver.execute(sql.SQL("SET statement_timeout TO {}").format(longest))
        driver.autocommit = False
        record.info[_LEFT] = monotonic()

    _watch(engine)
    return engine


def _watch(engine: Engine) -> None:
    """Let no dead connection out of the pool, and no plan be lost, at next to no cost."""

    @event.listens_for(engine, "checkin")
    def _left(_driver: object, record: ConnectionPoolEntry) -> None:
        record.info[_LEFT] = monotonic()

    @event.listens_for(engine, "checkout")
    def _taken(
        driver: "psycopg.Connection[Any]", record: ConnectionPoolEntry, _proxy: object
    ) -> None:
        # A server that ends closes its side, which can be seen without asking it; what lies between
        # us forgets a connection without a word, but not so soon.
        idle = monotonic() - record.info[_LEFT]
        fresh = not driver.closed and idle < _SURELY_THERE_SECONDS
        if fresh and not _has_something_to_say(driver):
            return
        try:
            engine.dialect.do_ping(cast("DBAPIConnection", driver))
        except psycopg.Error as gone:
            raise exc.InvalidatePoolError("The database has closed a connection.") from gone

    @event.listens_for(engine, "rollback")
    def _undone(connection: Connection) -> None:
        # The driver forgets what is prepared when it rolls back, because of tables that are gone
        # then; ours stay. It finds nothing left to roll back.
        if connection.invalidated or (driver := driver_of(connection)).closed or is_idle(driver):
            return
        driver.pgconn.exec_(b"ROLLBACK")


def _has_something_to_say(driver: "psycopg.Connection[Any]") -> bool:
    watched = select.poll()
    watched.register(driver.fileno(), select.POLLIN)
    return bool(watched.poll(0))


def _check_version(driver: "psycopg.Connection[Any]") -> None:
    major = driver.info.server_version // 10_000
    if major < MIN_SERVER_VERSION:
        raise SchemaMismatch(
            f"The server is PostgreSQL {major}; Backstory needs {MIN_SERVER_VERSION} or newer."
        )


def driver_of(connection: Connection) -> "psycopg.Connection[Any]":
    """Return the psycopg connection under a SQLAlchemy one: COPY goes through it."""
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


def is_idle(driver: "psycopg.Connection[Any]") -> bool:
    """Tell whether no transaction is open: the driver begins one with its first statement."""
    return driver.pgconn.transaction_status == pq.TransactionStatus.IDLE


@contextmanager
def translated() -> Iterator[None]:
    """Raise our errors in place of the driver's: Transient ones are worth a retry."""
    try:
        yield
    except exc.DBAPIError as wrapped:
        original = wrapped.orig
        if isinstance(original, BackstoryError):
            raise original from wrapped
        raise domain_error(cast("psycopg.Error", original)) from wrapped
    except exc.TimeoutError as busy:
        raise Busy("All connections of this process are in use: repeat it later.") from busy
    except psycopg.Error as raw:
        raise domain_error(raw) from raw


_ADVICE: tuple[tuple[type[psycopg.Error], str], ...] = (
    (pg.InvalidPassword, "check user and password in the database URL"),
    (pg.InvalidCatalogName, "create the database first, or correct its name in the URL"),
    (pg.InsufficientPrivilege, "grant the role what the message names"),
    (pg.UndefinedTable, "run `backstory db upgrade`, or check --schema"),
    (pg.DiskFull, f"free space on the server, then {AGAIN}"),
    (pg.ReadOnlySqlTransaction, "this server is a read-only replica: use the primary's URL"),
)
_RETRY = (pg.SerializationFailure, pg.DeadlockDetected, pg.LockNotAvailable)
# Data exceptions, integrity constraints, program limits, and what a trigger raises.
_DATA = "22000"
_RECORD_AT_FAULT = ("22", "23", "54", "P0")
_GONE = (
    pg.AdminShutdown,
    pg.CrashShutdown,
    pg.CannotConnectNow,
    pg.TooManyConnections,
    pg.ConnectionException,
)


def _not_reached(sentence: str, refusal: str | None) -> BackstoryError:
    if refusal:
        return DatabaseError(f"The database refuses: {sentence} - {refusal}.")
    return DatabaseUnreachable(
        f"The database does not answer ({sentence}). Nothing is half-written: start the "
        f"server or correct the URL, then {AGAIN}."
    )


def domain_error(raw: psycopg.Error) -> BackstoryError:
    """Return our error for a driver's: unreachable, worth a retry, or final with advice."""
    sentence = " ".join(str(raw).split()) or type(raw).__name__
    if isinstance(raw, _RETRY):
        return Transient(f"Two writers met ({sentence}); the same call may be repeated.")
    if isinstance(raw, pg.QueryCanceled):
        return Busy(f"The database took too long ({sentence}): repeat the call later.")
    for kind, advice in _ADVICE:
        if isinstance(raw, kind):
            return DatabaseError(f"{sentence} - {advice}.")
    lost = raw.sqlstate is None and isinstance(
        raw, psycopg.OperationalError | psycopg.InterfaceError
    )
    if lost or isinstance(raw, _GONE):
        return _not_reached(sentence, advice_on_refusal(sentence) if lost else None)
    # Without a state it is the driver's own word: a NUL, or a moment that no Python can hold.
    state = raw.sqlstate or (_DATA if isinstance(raw, psycopg.DataError) else "")
    if state.startswith(_RECORD_AT_FAULT):
        return RecordRefused(sentence, state)
    return DatabaseError(sentence)
