"""Opens and closes conversations with a lead: one at a time goes on, the next begins after it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Connection

from backstory.errors import UsageError
from backstory.store import backfill as store
from backstory.store.conversations import find_conversation
from backstory.store.engine import Database, translated
from backstory.store.live import NewThread, begin_conversations, end_conversation, look_up

CLOSED_ACTION = "conversation_closed"


@dataclass(frozen=True)
class Closed:
    """A conversation that is closed; `changed` tells whether it was open until now."""

    conversation_id: UUID
    lead: str
    closed_at: datetime
    changed: bool


def ensure_conversation(connection: Connection, lead_id: UUID, now: datetime) -> UUID:
    """Return the conversation with this lead that goes on now, beginning it if there is none.

    In the caller's transaction, under the owner's role, and before anything else is written in it:
    the lead stays locked until its end. Raises UsageError for a lead that is not known.
    """
    key = lead_id.bytes
    with translated():
        lead = look_up(connection, [key], {}, since=now, locking=True).leads[key]
        if not lead.known or lead.erased:
            raise UsageError(f"There is no lead {lead_id}.")
        if lead.open is not None:
            return UUID(bytes=lead.open.id)
        thread = lead.begin()
        # As in a backfill: the first conversation begins with its lead, as far as that is known.
        started_at = lead.created_at if thread.ordinal == 0 else now
        begin_conversations(connection, [NewThread(lead, thread, started_at)])
        return UUID(bytes=thread.id)


def close_conversation(
    database: Database, reference: str, *, at: datetime | None = None, by: str = "system"
) -> Closed:
    """Close a conversation, named by its id, the beginning of it, or its lead; note who did.

    What happened up to `at` (now, unless it is said) still belongs to it, even if it is recorded
    later; what happens after begins the next. Raises UsageError for an unknown reference.
    """
    with translated(), database.engine.begin() as connection:
        key = find_conversation(connection, reference).lead_id.bytes
        store.lock_leads(connection, [key])
        # Once more, now that nobody else writes it.
        found = find_conversation(connection, reference)
        closed_at = end_conversation(connection, found.id, at or datetime.now(UTC))
        if closed_at is None:
            return Closed(found.id, found.lead, found.closed_at or datetime.now(UTC), changed=False)
        payload = {
            "conversation": str(found.id),
            "lead": found.lead,
            "closedAt": closed_at.isoformat(),
            "by": by,
        }
        store.add_own_audit(
            connection, run_id=None, action=CLOSED_ACTION, subject=found.id, payload=payload
        )
        return Closed(found.id, found.lead, closed_at, changed=True)
