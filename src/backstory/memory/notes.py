"""Reviews notes: a person confirms them, rejects them, or puts another in their place.

from         to           by
candidate    confirmed    confirm
candidate    rejected     reject
confirmed    rejected     reject
rejected     confirmed    confirm
candidate    superseded   supersede, or a later state of the lead
confirmed    superseded   supersede
candidate    expired      a later state of the lead, which says nothing of it any more
superseded   candidate    a later state of the lead, which says it again
expired      candidate    a later state of the lead, which says it again
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row

from backstory.errors import UsageError
from backstory.model import NoteStatus
from backstory.store import notes as store
from backstory.store.backfill import add_own_audit
from backstory.store.engine import Database, translated

_S = NoteStatus
# What a person may do, from where.
TRANSITIONS: Mapping[NoteStatus, frozenset[NoteStatus]] = {
    _S.CONFIRMED: frozenset({_S.CANDIDATE, _S.REJECTED}),
    _S.REJECTED: frozenset({_S.CANDIDATE, _S.CONFIRMED}),
    _S.SUPERSEDED: frozenset({_S.CANDIDATE, _S.CONFIRMED}),
}
_TEXT_CHARS = 500


def confirm(database: Database, reference: str, *, by: str, now: datetime) -> UUID:
    """Say that a note is true; return its id.

    Raises UsageError if another note that somebody has confirmed says otherwise: nothing is
    overwritten without a word.
    """
    with translated(), database.engine.begin() as connection:
        note = _held(connection, reference, _S.CONFIRMED)
        other = store.confirmed_otherwise(connection, note.id)
        if other is not None:
            raise UsageError(
                f"Note {str(other.id)[:8]} is confirmed and says otherwise ({other.text!r}): "
                f"reject it, or `backstory notes supersede {str(other.id)[:8]} TEXT`."
            )
        _stand(connection, note, store.Standing(note.id, _S.CONFIRMED), by=by, now=now)
        return _id(note)


def reject(database: Database, reference: str, *, by: str, now: datetime) -> UUID:
    """Say that a note is not true, or not worth keeping; return its id."""
    with translated(), database.engine.begin() as connection:
        note = _held(connection, reference, _S.REJECTED)
        _stand(connection, note, store.Standing(note.id, _S.REJECTED), by=by, now=now)
        return _id(note)


def supersede(database: Database, reference: str, text: str, *, by: str, now: datetime) -> UUID:
    """Put a person's words in the place of a note, confirmed; return the new note's id."""
    words = " ".join(text.split())
    if not 0 < len(words) <= _TEXT_CHARS:
        raise UsageError(f"A note has 1 to {_TEXT_CHARS} characters.")
    with translated(), database.engine.begin() as connection:
        note = _held(connection, reference, _S.SUPERSEDED)
        new = uuid4()
        store.replace(connection, note.id, new_id=new, text=words, by=f"person:{by}", now=now)
        standing = store.Standing(note.id, _S.SUPERSEDED, new, now)
        _stand(connection, note, standing, by=by, now=now)
        return new


def _id(note: Row[tuple[UUID]]) -> UUID:
    found: UUID = note.id
    return found


def _held(connection: Connection, reference: str, to: NoteStatus) -> Row[tuple[UUID]]:
    note = store.hold(connection, reference)
    if NoteStatus(note.status) not in TRANSITIONS[to]:
        raise UsageError(f"Note {str(note.id)[:8]} is {note.status}: it cannot become {to}.")
    return note


def _stand(
    connection: Connection,
    note: Row[tuple[UUID]],
    standing: store.Standing,
    *,
    by: str,
    now: datetime,
) -> None:
    """Change how a note stands and write down who did, by ids alone."""
    store.change(connection, [standing], run_id=None)
    payload = {
        "note": str(note.id),
        "customer": str(note.customer_id),
        "from": note.status,
        "to": standing.status,
        "by": by,
    }
    if standing.superseded_by_id:
        payload["superseded_by"] = str(standing.superseded_by_id)
    add_own_audit(
        connection,
        run_id=None,
        action=f"note_{standing.status}",
        subject=f"{note.id}:{now.isoformat()}",
        payload=payload,
    )
