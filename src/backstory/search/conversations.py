"""Lists conversations, those last heard of first, page by page.

A page begins where the one before it ended in time, not behind a row: a conversation that goes on
meanwhile moves to the beginning of the list, and every other one is still shown once.
"""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from backstory.errors import UsageError
from backstory.extract.identity import lead_id
from backstory.extract.parse import clean_text
from backstory.model import Channel, ConversationStatus
from backstory.search.cursor import digest_of, id_of, moment_of, read_back, written
from backstory.search.text import require_zones
from backstory.store import conversations as store
from backstory.store.conversations import ConversationPlace, ConversationRow

MAX_LISTED = 1_000


@dataclass(frozen=True)
class ConversationQuery:
    """Which conversations to list; `lead` is the business's own id of a lead.

    `since` (inside) and `until` (the first moment outside) are of the last message. `after` is the
    `next` of the page before.
    """

    customer_id: uuid.UUID | None = None
    lead: str | None = None
    channel: Channel | None = None
    status: ConversationStatus | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50
    after: str | None = None


@dataclass(frozen=True)
class ConversationList:
    """A page of conversations; `next` continues it, None at the end."""

    conversations: tuple[ConversationRow, ...]
    next: str | None


def list_conversations(connection: Connection, query: ConversationQuery) -> ConversationList:
    """Return a page of the conversations that the connection may see.

    A customer or a lead that is not known has none. Raises UsageError for a limit or a time that
    cannot be, Unanswerable for such a cursor.
    """
    scope, digest = _scope(query), digest_of(replace(query, limit=1, after=None))
    after = read_back(query.after, digest, _place) if query.after else None
    # One more than is shown tells whether there is a next page.
    rows = store.list_conversations(connection, scope, after=after, limit=query.limit + 1)
    page = tuple(rows[: query.limit])
    return ConversationList(page, _next(page[-1], digest) if len(rows) > query.limit else None)


def _scope(query: ConversationQuery) -> store.ConversationScope:
    if not 1 <= query.limit <= MAX_LISTED:
        raise UsageError(f"A page has 1 to {MAX_LISTED:,} conversations, not {query.limit}.")
    require_zones(query.since, query.until)
    lead = None if query.lead is None else uuid.UUID(bytes=lead_id(clean_text(query.lead)[0]))
    return store.ConversationScope(
        customer_id=query.customer_id,
        lead_id=lead,
        channel=query.channel,
        status=query.status,
        since=query.since,
        until=query.until,
    )


def _next(last: ConversationRow, digest: str) -> str:
    moment = last.last_message_at
    return written([digest, moment and moment.isoformat(), last.id.hex])


def _place(moment: Any, key: Any) -> ConversationPlace:
    return ConversationPlace(moment_of(moment), id_of(key))
