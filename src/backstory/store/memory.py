"""What memory reads of the bound customer, and writes about what was shown and confirmed.

Texts come bounded; `content_hash` (SHA-256) is of the whole content, so that any change is seen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from backstory.model import MemorySource
from backstory.store.binding import Bound

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


def kept(bound: Bound, source: MemorySource, row_id: UUID, *, talk_since: datetime) -> Any | None:
    """Return one thing of a kind other than messages as it is now, None if it is gone."""
    found = bound.rows(_STATEMENTS[source], _kept(bound, row_id, talk_since))
    return found[0] if found else None


def all_kept(bound: Bound, *, talk_since: datetime) -> dict[MemorySource, list[Any]]:
    """Return all that is kept of the customer but messages, by kind, the latest first."""
    asked = _kept(bound, None, talk_since)
    found = bound.all_rows(*((name, asked) for name in _STATEMENTS.values()))
    return dict(zip(_STATEMENTS, found, strict=True))


def _kept(bound: Bound, row_id: UUID | None, talk_since: datetime) -> dict[str, Any]:
    return {
        "lead_id": bound.lead_id,
        "id": row_id,
        "now": bound.now,
        "talk_since": talk_since,
    }


def messages(bound: Bound, ids: Iterable[UUID]) -> list[Any]:
    """Return some messages, each with the question that it answers, by conversation, in order."""
    return bound.rows("memory_messages", {"ids": list(ids)})


def talk(bound: Bound, *, since: datetime, limit: int) -> list[UUID]:
    """Return the last messages of this conversation since a moment, the latest first."""
    asked = {"conversation_id": bound.conversation_id, "talk_since": since, "limit": limit}
    return [row.id for row in bound.rows("memory_talk", asked)]


def beside(bound: Bound, ids: Iterable[UUID], *, talk_since: datetime) -> dict[UUID, Beside]:
    """Return what stands right before and after some messages in their conversations."""
    asked = {
        "conversation_id": bound.conversation_id,
        "talk_since": talk_since,
        "ids": list(ids),
    }
    rows = bound.rows("memory_beside", asked)
    return {row.id: Beside(row.before_id, row.after_id) for row in rows}


def profile(bound: Bound) -> Any:
    """Return who the customer is."""
    return bound.rows("memory_profile", {})[0]


def summaries(bound: Bound) -> list[Any]:
    """Return the summaries of the last conversations with this lead, the latest first."""
    return bound.rows("memory_summaries", {"lead_id": bound.lead_id})


def remember_shown(bound: Bound, shown: Sequence[Shown]) -> None:
    """Have it written down, at the end of the call, what was shown in this conversation now."""
    asked = {
        "conversation_id": bound.conversation_id,
        "now": bound.now,
        "candidate_ids": [each.candidate_id for each in shown],
        "source_kinds": [each.source.value for each in shown],
        "source_ids": [each.source_id for each in shown],
        "content_hashes": [each.content_hash for each in shown],
    }
    bound.later("remember_shown", asked)


def shown(bound: Bound, candidate_ids: Sequence[str]) -> dict[str, Shown]:
    """Return what was shown in this conversation under these ids, by id."""
    # What this very call has shown may still wait to be written down.
    waiting = bound.pending.copy()
    bound.pending.clear()
    *_, rows = bound.all_rows(*waiting, ("shown_in_conversation", _these(bound, candidate_ids)))
    return {row.candidate_id: _shown(row) for row in rows}


def confirm(bound: Bound, candidate_ids: Sequence[str], *, since: datetime) -> frozenset[str]:
    """Confirm what was shown under these ids; return those not confirmed since a moment."""
    asked = _these(bound, candidate_ids) | {"now": bound.now, "since": since}
    return frozenset(row.candidate_id for row in bound.rows("confirm_shown", asked))


def confirmed(bound: Bound, *, since: datetime) -> list[Shown]:
    """Return what was confirmed in this conversation since a moment, the latest first."""
    asked = {"conversation_id": bound.conversation_id, "since": since}
    return [_shown(row) for row in bound.rows("confirmed_in_conversation", asked)]


def _these(bound: Bound, candidate_ids: Sequence[str]) -> dict[str, Any]:
    return {"conversation_id": bound.conversation_id, "candidate_ids": list(candidate_ids)}


def _shown(row: Any) -> Shown:
    return Shown(
        candidate_id=row.candidate_id,
        source=MemorySource(row.source_kind),
        source_id=row.source_id,
        content_hash=row.content_hash,
        confirmed_at=row.confirmed_at,
    )
