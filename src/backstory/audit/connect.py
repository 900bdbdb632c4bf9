"""Connects to the database of a table, read only, and puts what goes wrong in words."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import psycopg
from psycopg import conninfo, pq
from psycopg import errors as pg

from backstory.errors import (
    AGAIN,
    BackstoryError,
    DatabaseUnreachable,
    SourceError,
    Transient,
    UsageError,
)

CONNECT_TIMEOUT_SECONDS = 10
STATEMENT_TIMEOUT_MINUTES = 5
_SCHEME = re.compile(r"postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)
_FORM = (
    "the form is postgresql://user:password@host:5432/name, and in a password every / : @ ? # % "
    "is written with a percent sign (@ is %40)"
)
# The settings of one page: they end with its transaction, so a pooler hands them to nobody else.
_SETTLE = """
SELECT set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO', true),
       set_config('statement_timeout', %s::text, true),
       set_config('client_encoding', %s::text, true)
"""
_REFUSED = (
    ("password authentication failed", "check user and password in the URL"),
    ("no password supplied", "put the password into the URL, or into PGPASSWORD"),
    ("no pg_hba.conf entry", "let the server's pg_hba.conf accept this user and this machine"),
    ('" does not exist', "correct the name of the database or of the user in the URL"),
    ("permission denied for database", "grant the user CONNECT on the database"),
)

Connection = psycopg.Connection[Any]


def is_url(argument: str) -> bool:
    """Tell whether an argument is the URL of a PostgreSQL database."""
    return _SCHEME.match(argument) is not None


def url_without_password(url: str) -> str:
    """Return user, host, port and name of the database: what a message may show."""
    parts, _ = _parsed(url)
    user = f"{parts['user']}@" if "user" in parts else ""
    port = f":{parts['port']}" if "port" in parts else ""
    return f"postgresql://{user}{parts.get('host', '')}{port}/{parts.get('dbname', '')}"


def schema_in(url: str) -> str | None:
    """Return the schema that a Prisma URL names: `?schema=crm`."""
    return _parsed(url)[1]


def _parsed(url: str) -> tuple[dict[str, Any], str | None]:
    """Return libpq's parameters, and the schema; what only Prisma knows is left out."""
    address, _, query = _SCHEME.sub("", url, count=1).partition("?")
    known = {each.keyword.decode() for each in pq.Conninfo.get_defaults()}
    options = [option.partition("=") for option in query.split("&") if option]
    kept = "&".join(f"{name}={value}" for name, _, value in options if name in known)
    try:
        parts = conninfo.conninfo_to_dict(f"postgresql://{address}?{kept}")
    except psycopg.Error:
        # The driver quotes what it does not understand, which may be a piece of the password.
        raise UsageError(f"The database URL cannot be read; {_FORM}.") from None
    # A password with a bare @ / or ? would be taken for a host, a port or a name, and be shown.
    misread = address.count("@") > 1 or "@" in address.partition("/")[2]
    misread |= not str(parts.get("port", "")).replace(",", "").isdigit() and "port" in parts
    if misread or not all(equals for _, equals, _ in options):
        raise UsageError(f"The database URL cannot be read; {_FORM}.")
    schemas = [unquote(value) for name, _, value in options if name == "schema"]
    return parts, schemas[0] if schemas else None


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """Yield a connection whose transactions can only read; close it at the end."""
    parts, _ = _parsed(url)
    parts.setdefault("connect_timeout", CONNECT_TIMEOUT_SECONDS)
    parts.setdefault("application_name", "backstory")
    parts["client_encoding"] = "UTF8"  # else a line comes in the encoding of the database
    address = conninfo.make_conninfo(**parts)
    try:
        connection = psycopg.connect(address, prepare_threshold=None)
    except psycopg.Error as raw:
        raise _not_connected(raw, url_without_password(url)) from raw
    with connection:
        connection.read_only = True
        yield connection


@contextmanager
def short_transaction(
    connection: Connection, *, timed: bool = True, raw: bool = False
) -> Iterator[None]:
    """Run what is inside in a read-only transaction of its own, in UTC and with ISO dates.

    Not `timed`, it may take longer than STATEMENT_TIMEOUT_MINUTES. `raw`: a database that knows no
    encoding sends bytes as they are; otherwise one that is no UTF-8 would end the statement.
    """
    seconds = STATEMENT_TIMEOUT_MINUTES * 60 if timed else 0
    stored = connection.info.parameter_status("server_encoding")
    encoding = "SQL_ASCII" if raw and stored == "SQL_ASCII" else "UTF8"
    connection.execute(_SETTLE, (f"{seconds:.0f}s", encoding))
    try:
        yield
    finally:
        if not connection.closed:
            connection.rollback()


@contextmanager
def in_words(label: str) -> Iterator[None]:
    """Raise our errors in place of the driver's, for a table called `label`."""
    try:
        yield
    except psycopg.Error as raw:
        raise _refused(raw, label) from raw


def advice_on_refusal(sentence: str) -> str | None:
    """Return what to do about a server that answers, and lets nobody in; None for another one.

    The driver gives such an error no SQLSTATE: its words are all there is.
    """
    return next((advice for telltale, advice in _REFUSED if telltale in sentence), None)


def _not_connected(raw: psycopg.Error, place: str) -> BackstoryError:
    sentence = _sentence(raw)
    if advice := advice_on_refusal(sentence):
        return SourceError(f"{place} refuses: {sentence} - {advice}.")
    return DatabaseUnreachable(
        f"{place} does not answer ({sentence}). Start the server or correct the URL, then {AGAIN}."
    )


def _refused(raw: psycopg.Error, label: str) -> BackstoryError:
    sentence = _sentence(raw)
    state = raw.sqlstate or ""
    if isinstance(raw, pg.QueryCanceled):
        return SourceError(
            f"A page of {label} took more than {STATEMENT_TIMEOUT_MINUTES} minutes ({sentence}): "
            "create an index on the column of its ids."
        )
    lost = not state and isinstance(raw, psycopg.OperationalError | psycopg.InterfaceError)
    if lost or state.startswith(("08", "57", "53")):
        return DatabaseUnreachable(
            f"The database of {label} stopped answering ({sentence}). Start it, then {AGAIN}."
        )
    if state.startswith("40"):
        return Transient(f"The server broke off reading {label} ({sentence}); repeat the command.")
    if isinstance(raw, pg.InsufficientPrivilege):
        return SourceError(f"{sentence}: GRANT SELECT ON {label} to the user in the URL.")
    if isinstance(raw, pg.UndefinedTable | pg.UndefinedColumn):
        return SourceError(f"{label} has changed while it was read ({sentence}): start again.")
    return SourceError(f"{label} cannot be read: {sentence}.")


def _sentence(raw: psycopg.Error) -> str:
    return " ".join(str(raw).split()).rstrip(".") or type(raw).__name__
