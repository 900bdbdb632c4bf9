"""Memory notes as the owner reads and writes them: taken from leads, proposed, reviewed."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row

from backstory.errors import UsageError
from backstory.model import NoteKind, NoteStatus
from backstory.store.statements import sql


@dataclass(frozen=True)
class NewNote:
    """A note to be written for the customer whose its lead is then."""

    id: UUID
    lead_id: UUID
    topic: str | None
    kind: NoteKind
    text: str
    extracted_by: str
    valid_from: datetime | None = None
    messages: tuple[UUID, ...] = ()
    quotation: str | None = None
    confidence: float | None = None
    status: NoteStatus = NoteStatus.CANDIDATE


@dataclass(frozen=True)
class Standing:
    """How a note is to stand from now on."""

    id: UUID
    status: NoteStatus
    superseded_by_id: UUID | None = None
    valid_until: datetime | None = None


@dataclass(frozen=True)
class Reworded:
    """The words in which a note is told from now on."""

    id: UUID
    text: str


@dataclass(frozen=True)
class NoteRow:
    """A note in a list; `others` are those that say something else of the same topic."""

    id: UUID
    customer_id: UUID
    customer: str | None
    kind: str
    text: str
    status: str
    topic: str | None
    extracted_by: str
    confidence: float | None
    source_lead_id: UUID | None
    lead: str | None
    source_message_ids: list[UUID]
    valid_from: datetime | None
    valid_until: datetime | None
    superseded_by_id: UUID | None
    created_at: datetime
    quotation: str | None
    others: list[UUID]


def next_leads(connection: Connection, after: UUID, *, limit: int) -> Sequence[Row[Any]]:
    """Return a page of leads whose state says something, or once did."""
    asked = {"after": after, "limit": limit}
    return connection.execute(sql("leads_to_note"), asked).all()


def leads_anew(connection: Connection, ids: Iterable[UUID]) -> Sequence[Row[Any]]:
    """Return the same leads as they are now that their locks are held."""
    return connection.execute(sql("leads_noted_anew"), {"ids": list(ids)}).all()


def count_leads(connection: Connection) -> int:
    """Return how many leads a run looks at."""
    found: int = connection.execute(sql("count_leads_to_note")).scalar_one()
    return found


def notes_of_leads(
    connection: Connection, leads: Iterable[UUID], extractor: str
) -> dict[UUID, list[Row[Any]]]:
    """Return the notes that were taken from these leads, by lead."""
    asked = {"leads": list(leads), "extractor": extractor}
    found: dict[UUID, list[Row[Any]]] = {}
    for row in connection.execute(sql("notes_of_leads"), asked):
        found.setdefault(row.source_lead_id, []).append(row)
    return found


def add(connection: Connection, notes: Iterable[NewNote], *, run_id: UUID | None) -> int:
    """Write notes that are not there yet; return how many those were."""
    written = orjson.dumps([asdict(note) for note in notes]).decode()
    done = connection.execute(sql("add_notes"), {"notes": written, "run_id": run_id})
    return done.rowcount


def change(connection: Connection, notes: Iterable[Standing], *, run_id: UUID | None) -> None:
    """Change how notes stand; with a run it is remembered how they stood."""
    written = orjson.dumps([asdict(note) for note in notes]).decode()
    connection.execute(sql("change_notes"), {"notes": written, "run_id": run_id})


def reword(connection: Connection, notes: Iterable[Reworded], *, run_id: UUID) -> None:
    """Tell notes in other words; it is remembered in which they were told before the run."""
    written = orjson.dumps([asdict(note) for note in notes]).decode()
    connection.execute(sql("reword_notes"), {"notes": written, "run_id": run_id})


def list_notes(
    connection: Connection,
    *,
    customer_id: UUID | None = None,
    status: NoteStatus | None = None,
    contradicted: bool = False,
    limit: int = 50,
    after: UUID | None = None,
) -> list[NoteRow]:
    """Return notes, the latest first; `after` is the last of the page before."""
    asked = {
        "customer_id": customer_id,
        "status": status,
        "contradicted": contradicted,
        "limit": limit,
        "after": after,
    }
    return [NoteRow(*row) for row in connection.execute(sql("list_notes"), asked)]


def contradictions(connection: Connection) -> int:
    """Return of how many topics the contacts of one customer say different things."""
    found: int = connection.execute(sql("contradicted_topics")).scalar_one()
    return found


def hold(connection: Connection, reference: str) -> Row[Any]:
    """Return the one note whose id begins so, for this transaction alone to change."""
    asked = {"beginning": reference.strip().lower()}
    found = connection.execute(sql("note_by_beginning"), asked).all()
    if len(found) != 1:
        said = "Several notes begin with" if found else "There is no note"
        raise UsageError(f"{said} {reference!r}: `backstory notes list` shows them.")
    return found[0]


def confirmed_otherwise(connection: Connection, note_id: UUID) -> Row[Any] | None:
    """Return a confirmed note that says something else of the same topic."""
    return connection.execute(sql("confirmed_otherwise"), {"id": note_id}).one_or_none()


def replace(
    connection: Connection, note_id: UUID, *, new_id: UUID, text: str, by: str, now: datetime
) -> None:
    """Write the confirmed note of a person that takes the place of another."""
    values = {"id": note_id, "new_id": new_id, "text": text, "by": by, "now": now}
    connection.execute(sql("replace_note"), values)


def latest_messages(connection: Connection, customer_id: UUID, *, limit: int) -> Sequence[Row[Any]]:
    """Return the last messages of a customer, in order, with their leads."""
    asked = {"customer_id": customer_id, "limit": limit}
    return connection.execute(sql("messages_to_propose_from"), asked).all()
