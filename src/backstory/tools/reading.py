"""What a session may read beside its tools: its own customer's conversations.

A reading is one transaction, bound like a call; one that names something and finds nothing is
written down, because it may be a try at what is another's.
"""

from time import perf_counter
from uuid import UUID

from backstory.errors import UsageError
from backstory.search import conversations
from backstory.search.conversations import ConversationList, ConversationQuery
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
        asked = {"conversation_id": reference}
        _write_down(session, "read_conversation", asked, started, refused=True)
        raise


def list_conversations(session: Session, query: ConversationQuery) -> ConversationList:
    """Return a page of the conversations of the session's own customer.

    Another's customer or lead has none here, like one that is not there. Raises UsageError as the
    list of all does.
    """
    started = perf_counter()
    with session.bound() as mine:
        found = conversations.list_conversations(mine.connection, query)
    named = {"customer_id": query.customer_id, "lead_id": query.lead}
    asked = {name: str(each) for name, each in named.items() if each is not None}
    if asked and not found.conversations:
        _write_down(session, "list_conversations", asked, started, refused=False)
    return found


def _write_down(
    session: Session, what: str, asked: dict[str, str], started: float, *, refused: bool
) -> None:
    with translated(), session.database.engine.begin() as connection:
        calls.record(
            connection,
            calls.Call(
                tool=what,
                actor=session.actor,
                lead_id=session.lead_id,
                arguments=asked,
                outcome="not_found" if refused else "nothing_found",
                refused=refused,
                latency_ms=milliseconds_since(started),
                now=session.rules.clock(),
            ),
        )
