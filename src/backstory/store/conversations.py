"""Reads conversations and messages, and leads from any message back to its audit record."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from backstory.errors import Unanswerable, UsageError
from backstory.extract.identity import lead_id, message_id
from backstory.extract.parse import clean_text
from backstory.model import Channel, ConversationStatus, MessageKind, Role
from backstory.store.engine import translated
from backstory.store.statements import sql

MAX_PAGE = 1_000
MIN_PREFIX = 8
DEFAULT_LOG = "audit"
_UUID_DIGITS = 32
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class ConversationHeader:
    """A conversation without its messages; `lead` is the business's own id of the lead."""

    id: uuid.UUID
    ordinal: int
    lead_id: uuid.UUID
    lead: str
    stage: str | None
    customer_id: uuid.UUID
    customer: str | None
    channel: Channel
    external_id: str | None
    status: ConversationStatus
    started_at: datetime | None
    first_message_at: datetime | None
    last_message_at: datetime | None
    last_incoming_at: datetime | None
    closed_at: datetime | None
    summary: str | None
    messages: int
    events: int
    roles: dict[Role, int]
    conversations_of_lead: int


@dataclass(frozen=True)
class ConversationRow:
    """A conversation as a list shows it; `lead` is the business's own id of the lead."""

    id: uuid.UUID
    ordinal: int
    lead: str
    customer_id: uuid.UUID
    customer: str | None
    channel: Channel
    status: ConversationStatus
    started_at: datetime | None
    last_message_at: datetime | None
    closed_at: datetime | None
    summary: str | None
    messages: int


@dataclass(frozen=True)
class ConversationScope:
    """Which conversations are listed; None filters nothing.

    `since` and `until`, the first moment outside, are of the last message: a conversation without
    any is in no time.
    """

    customer_id: uuid.UUID | None = None
    lead_id: uuid.UUID | None = None
    channel: Channel | None = None
    status: ConversationStatus | None = None
    since: datetime | None = None
    until: datetime | None = None


class ConversationPlace(NamedTuple):
    """The place of a conversation in a list."""

    last_message_at: datetime | None
    id: uuid.UUID


@dataclass(frozen=True)
class Message:
    """One message as it was said; the text is as it came, not yet fit to be shown.

    `line` says in short what an event's `content` says as JSON; None where there is none.
    """

    id: uuid.UUID
    audit_id: str
    role: Role
    kind: MessageKind
    author: str | None
    content: str
    line: str | None
    attachment_text: str | None
    seq: int
    created_at: datetime


@dataclass(frozen=True)
class MessagePage:
    """Messages in the order of the log; `next` is what to give as `after`, None at the end."""

    messages: tuple[Message, ...]
    next: uuid.UUID | None


@dataclass(frozen=True)
class AuditRecord:
    """A record of the agent's log as we hold it, with its whole payload."""

    id: uuid.UUID
    log: str
    audit_id: str
    lead: str | None
    actor: str
    action: str
    payload: Any
    seq: int
    created_at: datetime
    received_at: datetime
    run_id: uuid.UUID | None


@dataclass(frozen=True)
class Projection:
    """The message a record was made into, and where it stands; `line_rules` made its line."""

    message: Message
    conversation_id: uuid.UUID
    customer_id: uuid.UUID
    metadata: dict[str, Any]
    line_rules: str | None


@dataclass(frozen=True)
class Trace:
    """A record and what was made of it: None where it made no message."""

    record: AuditRecord
    projection: Projection | None


def find_conversation(connection: Connection, reference: str) -> ConversationHeader:
    """Return the newest conversation of this lead, or the one with this id or beginning of it.

    Raise UsageError when nothing or more than one has it.
    """
    low, high = _bounds(reference)
    lead = _as_uuid(lead_id(clean_text(reference)[0]))
    with translated():
        named = connection.execute(
            sql("conversations_named"), {"low": low, "high": high, "lead_id": lead}
        ).all()
    found = _only(
        [row.id for row in named if row.exact] or [row.id for row in named],
        reference,
        what="conversation",
        forms="a conversation's id, its first 8 characters or more, or the id of a lead",
    )
    with translated():
        row = connection.execute(sql("conversation_header"), {"id": found}).one()
    fields = row._asdict()
    fields["roles"] = {Role(role): count for role, count in row.roles.items()}
    fields["channel"] = Channel(row.channel)
    fields["status"] = ConversationStatus(row.status)
    return ConversationHeader(**fields)


def list_conversations(
    connection: Connection,
    scope: ConversationScope,
    *,
    after: ConversationPlace | None,
    limit: int,
) -> list[ConversationRow]:
    """Return at most `limit` conversations behind `after`, those last heard of first."""
    moment, key = after or (None, None)
    asked = asdict(scope) | {"after_time": moment, "after_id": key, "limit": limit}
    with translated():
        rows = connection.execute(sql("conversations_listed"), asked).all()
    return [_conversation_row(row) for row in rows]


def messages(
    connection: Connection,
    conversation_id: uuid.UUID,
    *,
    after: uuid.UUID | None = None,
    limit: int = 100,
) -> MessagePage:
    """Return up to `limit` messages behind the message `after`, ordered by time, seq, audit id."""
    if not 1 <= limit <= MAX_PAGE:
        raise UsageError(f"A page has 1 to {MAX_PAGE} messages, not {limit}.")
    asked = {"conversation_id": conversation_id, "after": after, "limit": limit + 1}
    with translated():
        rows = connection.execute(sql("conversation_messages"), asked).all()
        if not rows and after is not None:
            _require_member(connection, conversation_id, after)
    page = tuple(_message(row) for row in rows[:limit])
    return MessagePage(page, page[-1].id if len(rows) > limit else None)


def trace(connection: Connection, reference: str, *, log: str = DEFAULT_LOG) -> Trace:
    """Return the audit record behind a message id, a prefix of it, or an audit id of `log`.

    Raise UsageError when nothing or more than one has it.
    """
    low, high = _bounds(reference)
    derived = _as_uuid(message_id(log, clean_text(reference)[0]))
    with translated():
        named = connection.execute(
            sql("records_named"), {"low": low, "high": high, "id": derived}
        ).all()
    found = _only(
        [row.id for row in named if row.exact] or [row.id for row in named],
        reference,
        what="message",
        forms=f"a message's id, its first 8 characters or more, or an audit id of the log {log!r}",
    )
    with translated():
        row = connection.execute(sql("audit_trace"), {"id": found}).one()
    return Trace(_record(row), _projection(row))


def _bounds(reference: str) -> tuple[uuid.UUID | None, uuid.UUID | None]:
    """Return the ids between which every id begins with `reference`; None if it begins none."""
    digits = reference.strip().lower().replace("-", "")
    if not MIN_PREFIX <= len(digits) <= _UUID_DIGITS or not _HEX.issuperset(digits):
        return None, None
    return uuid.UUID(digits.ljust(_UUID_DIGITS, "0")), uuid.UUID(digits.ljust(_UUID_DIGITS, "f"))


def _only(ids: Sequence[uuid.UUID], reference: str, *, what: str, forms: str) -> uuid.UUID:
    different = sorted(set(ids))
    if not different:
        raise UsageError(f"No {what} is known as {reference!r}; give {forms}.")
    if len(different) > 1:
        shown = ", ".join(str(key) for key in different[:2])
        raise UsageError(f"{reference!r} begins more than one {what} ({shown}): give more of it.")
    return different[0]


def _require_member(connection: Connection, conversation_id: uuid.UUID, message: uuid.UUID) -> None:
    asked = {"id": message, "conversation_id": conversation_id}
    if not connection.execute(sql("is_message_of"), asked).scalar_one():
        raise Unanswerable(f"Message {message} is not in this conversation: begin without `after`.")


def _conversation_row(row: Any) -> ConversationRow:
    words = {"channel": Channel(row.channel), "status": ConversationStatus(row.status)}
    return ConversationRow(**row._asdict() | words)


def _message(row: Any) -> Message:
    return Message(
        id=row.id,
        audit_id=row.audit_id,
        role=Role(row.role),
        kind=MessageKind(row.kind),
        author=row.author,
        content=row.content,
        line=row.line,
        attachment_text=row.attachment_text,
        seq=row.seq,
        created_at=row.created_at,
    )


def _record(row: Any) -> AuditRecord:
    return AuditRecord(
        id=row.id,
        log=row.log,
        audit_id=row.audit_id,
        lead=row.lead,
        actor=row.actor,
        action=row.action,
        payload=row.payload,
        seq=row.seq,
        created_at=row.created_at,
        received_at=row.received_at,
        run_id=row.run_id,
    )


def _projection(row: Any) -> Projection | None:
    if row.message_id is None:
        return None
    return Projection(
        _message(row), row.conversation_id, row.customer_id, row.metadata, row.line_rules
    )


def _as_uuid(raw: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=raw)
