"""The role that agents' sessions run under: it owns nothing, and may do what is listed here.

Roles belong to the whole cluster and are lost when a dump is restored elsewhere, so the role and
its rights are brought, and healed, beside the migrations and not by one of them.
"""

from time import monotonic
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection

from backstory.errors import DatabaseError
from backstory.store.engine import driver_of
from backstory.store.statements import sql as named

_PROFILE = "display_name, company_name, phone_e164, phone_raw, email, preferred_channel, language"
# All but the number, which is unique in the business: it would tell of another customer's job.
_NEW_JOB = (
    "id, customer_id, service_address_id, lead_id, conversation_id, title, description, "
    "service_type, status, scheduled_start, scheduled_end, created_at"
)
_JOB = (
    "status, canceled_by, scheduled_start, scheduled_end, actual_start, actual_end, "
    "subtotal_cents, total_cents, version"
)
# Every right of the role, table by table; a table that is not here is closed to it.
RIGHTS: dict[str, tuple[str, ...]] = {
    "confirmations": ("SELECT", "INSERT", "UPDATE (fetched_at, content_hash, confirmed_at)"),
    "conversation_summaries": ("SELECT",),
    "conversations": ("SELECT",),
    "customer_addresses": (
        "SELECT",
        "INSERT",
        "UPDATE (label, access_notes, is_primary)",
    ),
    "customer_identities": ("SELECT", "INSERT"),
    "customers": ("SELECT", f"UPDATE ({_PROFILE})"),
    "embedding_models": ("SELECT",),
    "embeddings": ("SELECT",),
    "job_events": ("SELECT", "INSERT"),
    "job_items": ("SELECT", "INSERT"),
    "jobs": ("SELECT", f"INSERT ({_NEW_JOB})", f"UPDATE ({_JOB})"),
    "leads": ("SELECT",),
    "memory_notes": ("SELECT",),
    "messages": ("SELECT",),
}

_LOOKED_AT = "backstory.agents"
_LOOK_EVERY_SECONDS = 60.0
# A right we lack, a role that is therefore not there, or another process that was quicker.
_NOT_OURS_TO_DO = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedObject,
    psycopg.errors.DuplicateObject,
    psycopg.errors.UniqueViolation,
)


def role_name(schema: str) -> str:
    """Return the agent role of a business."""
    return f"{schema}_agent"


def missing(connection: Connection, schema: str) -> list[str]:
    """Return what keeps the role from serving, in words; empty when it can."""
    role = role_name(schema)
    found = connection.execute(named("agent_role"), {"role": role}).one()
    if not found.exists:
        return [f"the role {role} is not there"]
    if found.powerful:
        return [f"the role {role} may bypass row-level security or log in: it must not"]
    if found.owns:
        return [f"the role {role} owns tables or the schema itself: it must own nothing"]
    lacking = [] if found.settable else [f"this user may not become {role}"]
    wanted = [
        (table, word, column)
        for table, rights in RIGHTS.items()
        for word, columns in map(_split, rights)
        for column in columns or (None,)
    ]
    rows = connection.execute(
        named("agent_rights_missing"),
        {
            "role": role,
            "tables": [table for table, _, _ in wanted],
            "rights": [right for _, right, _ in wanted],
            "columns": [column for _, _, column in wanted],
        },
    )
    lacking += [f"{role} lacks {row.right} on {row.table_name}" for row in rows]
    rows = connection.execute(
        named("agent_rights_beyond"),
        {
            "role": role,
            "tables": [table for table, _, column in wanted if column is None],
            "rights": [right for _, right, column in wanted if column is None],
        },
    )
    return lacking + [f"{role} has {row.right} on {row.table_name}" for row in rows]


def ensure(connection: Connection, schema: str) -> list[str]:
    """Bring the role and its rights as far as this user may; return what is still missing."""
    if not missing(connection, schema):
        return []
    for step in (_make, _become, _grant):
        try:
            with connection.begin_nested():
                step(driver_of(connection), schema)
        except _NOT_OURS_TO_DO:
            continue
    return missing(connection, schema)


def require(connection: Connection, schema: str) -> None:
    """Raise DatabaseError, with what an administrator must do, if agents cannot be served.

    It is looked at once a minute a connection: what is missing later, a call will say as well.
    """
    looked_at = connection.info.get(_LOOKED_AT)
    if looked_at is not None and monotonic() - looked_at < _LOOK_EVERY_SECONDS:
        return
    left = missing(connection, schema)
    if left:
        raise DatabaseError(f"Agents cannot be served: {'; '.join(left[:3])}. {advice(schema)}")
    connection.info[_LOOKED_AT] = monotonic()


def _make(driver: "psycopg.Connection[Any]", schema: str) -> None:
    role = role_name(schema)
    found = driver.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    if found is None:
        driver.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))


def _become(driver: "psycopg.Connection[Any]", schema: str) -> None:
    """Let this user take the role on, without having its rights otherwise."""
    role = role_name(schema)
    settable = driver.execute("SELECT pg_has_role(current_user, %s, 'SET')", [role]).fetchone()
    if settable == (False,):
        driver.execute(
            sql.SQL("GRANT {} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE").format(
                sql.Identifier(role)
            )
        )


def _grant(driver: "psycopg.Connection[Any]", schema: str) -> None:
    name, place = sql.Identifier(role_name(schema)), sql.Identifier(schema)
    driver.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}").format(place, name))
    driver.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(place, name))
    for table, rights in RIGHTS.items():
        driver.execute(
            sql.SQL("GRANT {} ON {}.{} TO {}").format(
                sql.SQL(", ".join(rights)), place, sql.Identifier(table), name
            )
        )


def advice(schema: str) -> str:
    """Return what an administrator has to run where we may not make roles."""
    role = role_name(schema)
    return (
        f'Have an administrator run CREATE ROLE "{role}" NOLOGIN and GRANT "{role}" TO the user '
        "of your database URL WITH INHERIT FALSE, SET TRUE; then run `backstory db upgrade`."
    )


def _split(right: str) -> tuple[str, tuple[str, ...]]:
    """Return a right's word and its columns: UPDATE (a, b) -> UPDATE, (a, b)."""
    word, _, columns = right.partition(" (")
    return word, tuple(each.strip() for each in columns.rstrip(")").split(",") if each)
