"""What a session may read beside its tools: its own customer's conversations.

A reading is one transaction, bound like a call; one that finds nothing is written down, because it
may be a try at what is another's.
"""

from time import perf_counter
from uuid import UUID

from backstory.errors import UsageError
from backstory.store import calls
from backstory.store.conversations import (
    ConversationHeader,
    MessagePage,
    find_conversation,
    messages,
)
from backstory.store.engine import translated
from backstory.tools.session import Session
from backstory.tools.toolset import milliseconds_since


def read_conversation(
    session: Session, reference: str, *, after: UUID | None = None, limit: int = 100
) -> tuple[ConversationHeader, MessagePage]:
    """Return a conversation of the session's own customer, by its id or its lead, and a page of it.

    Raises UsageError for anything else, in the same words whether it is there or not.
    """
    started = perf_counter()
    try:
        with session.bound() as mine:
            header = find_conversation(mine.connection, reference)
            return header, messages(mine.connection, header.id, after=after, limit=limit)
    except UsageError:
        _write_down(session, "read_conversation", {"conversation_id": reference}, started)
        raise


def _write_down(session: Session, what: str, asked: dict[str, str], started: float) -> None:
    with translated(), session.database.engine.begin() as connection:
        calls.record(
            connection,
            calls.Call(
                tool=what,
                actor=session.actor,
                lead_id=session.lead_id,
                arguments=asked,
                outcome="not_found",
                refused=True,
                latency_ms=milliseconds_since(started),
                now=session.rules.clock(),
            ),
        )
