"""Merges of customers as a person looks at them, and takes one apart that was wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from backstory.errors import UsageError
from backstory.extract.parse import clean_text
from backstory.store.backfill import add_own_audit
from backstory.store.engine import Database, translated
from backstory.store.merging import undo_merge
from backstory.store.statements import sql

UNDONE_ACTION = "merge_undone"


@dataclass(frozen=True)
class MergeRow:
    """A merge in a list; the names are the customers' of now, `reason` the keys that led to it."""

    id: UUID
    merged_at: datetime
    survivor_id: UUID
    survivor: str | None
    absorbed_id: UUID
    absorbed: str | None
    reason: Mapping[str, Any]
    undone_at: datetime | None
    run_id: UUID | None


@dataclass(frozen=True)
class Undone:
    """A merge that was undone: two customers again."""

    id: UUID
    survivor_id: UUID
    absorbed_id: UUID


def list_merges(
    connection: Connection, *, customer: str | None = None, limit: int = 50
) -> list[MergeRow]:
    """Return the latest merges, of all customers or of those whose id begins so."""
    beginning = None if customer is None else _beginning(customer)
    rows = connection.execute(sql("list_merges"), {"customer": beginning, "limit": limit})
    return [MergeRow(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it


def undo(database: Database, reference: str, *, by: str, now: datetime) -> Undone:
    """Undo the one merge whose id begins so, and write down who did, by ids alone.

    Raises UsageError for one that is unknown or undone already.
    """
    with translated(), database.engine.begin() as connection:
        asked = {"beginning": _beginning(reference)}
        found = connection.execute(sql("merges_by_beginning"), asked).all()
        if len(found) != 1:
            said = "Several merges begin with" if found else "There is no merge"
            raise UsageError(f"{said} {reference!r}: `backstory merges list` shows them.")
        undone = Undone(*found[0])
        undo_merge(connection, undone.id)
        payload = {
            "merge": str(undone.id),
            "survivor": str(undone.survivor_id),
            "absorbed": str(undone.absorbed_id),
            "by": by,
        }
        # A merge may be undone again that a rollback took away and a later run has made anew.
        subject = f"{undone.id}:{now.isoformat()}"
        add_own_audit(
            connection, run_id=None, action=UNDONE_ACTION, subject=subject, payload=payload
        )
        return undone


def _beginning(reference: str) -> str:
    return clean_text(reference)[0].strip().lower()
