"""What memory reads of the bound customer, and writes about what was shown and confirmed.

Texts come bounded; `content_hash` (SHA-256) is of the whole content, so that any change is seen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.rows import namedtuple_row
from sqlalchemy import Row
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from backstory.model import MemorySource
from backstory.store.binding import Bound
from backstory.store.engine import driver_of, translated
from backstory.store.statements import sql

_STATEMENTS = {
    MemorySource.JOB: "memory_jobs",
    MemorySource.LEAD: "memory_leads",
    MemorySource.ADDRESS: "memory_addresses",
    MemorySource.NOTE: "memory_notes_valid",
}


class Beside(NamedTuple):
    """The neighbours of a message, None at an end."""

    before: UUID | None
    after: UUID | None


@dataclass(frozen=True)
class Shown:
    """What was shown in a conversation under a candidate id; None is not yet confirmed."""

    candidate_id: str
    source: MemorySource
    source_id: UUID
    content_hash: bytes
    confirmed_at: datetime | None = None


def kept(
    bound: Bound, source: MemorySource, row_id: UUID, *, talk_since: datetime
) -> Row[Any] | None:
    """Return one thing of a kind other than messages as it is now, None if it is gone."""
    asked = _kept(bound, row_id, talk_since)
    with translated():
        return bound.connection.execute(sql(_STATEMENTS[source]), asked).one_or_none()


def all_kept(bound: Bound, *, talk_since: datetime) -> dict[MemorySource, list[Any]]:
    """Return all that is kept of the customer but messages, by kind, the latest first.

    The statements go out together: waiting for each would take as long as they do.
    """
    driver = driver_of(bound.connection)
    asked = _kept(bound, None, talk_since)
    with translated(), driver.pipeline():
        cursors = {
            source: driver.cursor(row_factory=namedtuple_row).execute(_as_driven(name), asked)
            for source, name in _STATEMENTS.items()
        }
        return {source: cursor.fetchall() for source, cursor in cursors.items()}


@cache
def _as_driven(name: str) -> bytes:
    """Return a named statement in the words of the driver."""
    dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # it has no types
    return str(sql(name).compile(dialect=dialect)).encode()


def _kept(bound: Bound, row_id: UUID | None, talk_since: datetime) -> dict[str, Any]:
    return {
        "customer_id": bound.customer_id,
        "lead_id": bound.lead_id,
        "id": row_id,
        "now": bound.now,
        "talk_since": talk_since,
    }


def messages(bound: Bound, ids: Iterable[UUID]) -> Sequence[Row[Any]]:
    """Return some messages, each with the question that it answers, by conversation, in order."""
    asked = {"customer_id": bound.customer_id, "ids": list(ids)}
    with translated():
        return bound.connection.execute(sql("memory_messages"), asked).all()


def talk(bound: Bound, *, since: datetime, limit: int) -> list[UUID]:
    """Return the last messages of this conversation since a moment, the latest first."""
    asked = {
        "customer_id": bound.customer_id,
        "conversation_id": bound.conversation_id,
        "talk_since": since,
        "limit": limit,
    }
    with translated():
        return list(bound.connection.execute(sql("memory_talk"), asked).scalars())


def beside(bound: Bound, ids: Iterable[UUID], *, talk_since: datetime) -> dict[UUID, Beside]:
    """Return what stands right before and after some messages in their conversations."""
    asked = {
        "customer_id": bound.customer_id,
        "conversation_id": bound.conversation_id,
        "talk_since": talk_since,
        "ids": list(ids),
    }
    with translated():
        rows = bound.connection.execute(sql("memory_beside"), asked)
        return {row.id: Beside(row.before_id, row.after_id) for row in rows}


def profile(bound: Bound) -> Row[Any]:
    """Return who the customer is."""
    with translated():
        asked = {"customer_id": bound.customer_id}
        return bound.connection.execute(sql("memory_profile"), asked).one()


def summaries(bound: Bound) -> Sequence[Row[Any]]:
    """Return the summaries of the last conversations with this lead, the latest first."""
    asked = {"customer_id": bound.customer_id, "lead_id": bound.lead_id}
    with translated():
        return bound.connection.execute(sql("memory_summaries"), asked).all()


def remember_shown(bound: Bound, shown: Sequence[Shown]) -> None:
    """Write down what was shown in this conversation now."""
    asked = {
        "customer_id": bound.customer_id,
        "conversation_id": bound.conversation_id,
        "now": bound.now,
        "candidate_ids": [each.candidate_id for each in shown],
        "source_kinds": [each.source.value for each in shown],
        "source_ids": [each.source_id for each in shown],
        "content_hashes": [each.content_hash for each in shown],
    }
    with translated():
        bound.connection.execute(sql("remember_shown"), asked)


def shown(bound: Bound, candidate_ids: Sequence[str]) -> dict[str, Shown]:
    """Return what was shown in this conversation under these ids, by id."""
    with translated():
        rows = bound.connection.execute(sql("shown_in_conversation"), _these(bound, candidate_ids))
        return {row.candidate_id: _shown(row) for row in rows}


def confirm(bound: Bound, candidate_ids: Sequence[str], *, since: datetime) -> frozenset[str]:
    """Confirm what was shown under these ids; return those not confirmed since a moment."""
    asked = _these(bound, candidate_ids) | {"now": bound.now, "since": since}
    with translated():
        return frozenset(bound.connection.execute(sql("confirm_shown"), asked).scalars())


def confirmed(bound: Bound, *, since: datetime) -> list[Shown]:
    """Return what was confirmed in this conversation since a moment, the latest first."""
    asked = _these(bound, ()) | {"since": since}
    with translated():
        rows = bound.connection.execute(sql("confirmed_in_conversation"), asked)
        return [_shown(row) for row in rows]


def _these(bound: Bound, candidate_ids: Sequence[str]) -> dict[str, Any]:
    return {
        "customer_id": bound.customer_id,
        "conversation_id": bound.conversation_id,
        "candidate_ids": list(candidate_ids),
    }


def _shown(row: Row[Any]) -> Shown:
    return Shown(
        candidate_id=row.candidate_id,
        source=MemorySource(row.source_kind),
        source_id=row.source_id,
        content_hash=bytes(row.content_hash),
        confirmed_at=row.confirmed_at,
    )
