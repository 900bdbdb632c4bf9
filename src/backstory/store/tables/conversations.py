"""What was said, as tables: conversations and messages."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from backstory import model
from backstory.store.tables.columns import (
    INDEXED_TEXT_CHARS,
    Base,
    Json,
    Key,
    Moment,
    Recorded,
    Run,
    one_of,
    unique_audit_id,
)


class Conversation(Base):
    """One thread with one lead; the backfill makes ordinal 0, live events the next ones."""

    __tablename__ = "conversations"

    id: Mapped[Key]
    lead_id: Mapped[uuid.UUID]
    customer_id: Mapped[uuid.UUID]
    ordinal: Mapped[int] = mapped_column(server_default=text("0"))
    channel: Mapped[str]
    external_id: Mapped[str | None]
    status: Mapped[str]
    started_at: Mapped[datetime | None]
    last_message_at: Mapped[datetime | None]
    last_incoming_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    summary: Mapped[str | None]
    # `metadata` is taken by SQLAlchemy's own attribute.
    details: Mapped[Json] = mapped_column("metadata")
    run_id: Mapped[Run]

    __table_args__ = (
        ForeignKeyConstraint(
            ["lead_id", "customer_id"], ["leads.id", "leads.customer_id"], onupdate="CASCADE"
        ),
        UniqueConstraint("lead_id", "ordinal"),
        UniqueConstraint("id", "customer_id"),
        CheckConstraint("ordinal >= 0", name="ordinal_counts_up"),
        CheckConstraint("(status = 'closed') = (closed_at IS NOT NULL)", name="closed_has_time"),
        one_of("channel", model.Channel),
        one_of("status", model.ConversationStatus),
        Index(
            "conversations_one_open_key",
            "lead_id",
            unique=True,
            postgresql_where=text("status = 'open'"),
        ),
        Index(None, "customer_id"),
        Index(None, "run_id"),
    )


class LineRules(Base):
    """Rules by which lines of messages were rendered; what they were is needed to check those."""

    __tablename__ = "line_rules"

    name: Mapped[str] = mapped_column(primary_key=True)
    rules: Mapped[Json]
    created_at: Mapped[Recorded]


class Message(Base):
    """The projection of one audit record, under the record's own id."""

    __tablename__ = "messages"

    id: Mapped[Key] = mapped_column(ForeignKey("audit_log.id"))
    conversation_id: Mapped[uuid.UUID]
    customer_id: Mapped[uuid.UUID]
    log: Mapped[str]
    audit_id: Mapped[str]
    role: Mapped[str]
    kind: Mapped[str]
    author: Mapped[str | None]
    content: Mapped[str]
    attachment_text: Mapped[str | None]
    seq: Mapped[int]
    created_at: Mapped[Moment]
    details: Mapped[Json] = mapped_column("metadata")
    run_id: Mapped[Run]
    # What an event says, in short; null where nothing is to be rendered, or nothing was yet.
    line: Mapped[str | None]
    line_rules: Mapped[str | None]
    search: Mapped[Any] = mapped_column(
        TSVECTOR,
        Computed(
            "to_tsvector('english'::regconfig, left(content || coalesce(' ' || line, '')"
            " || coalesce(' ' || attachment_text, '')"
            f" || coalesce(' ' || author, ''), {INDEXED_TEXT_CHARS}))",
            persisted=True,
        ),
    )

    __table_args__ = (
        ForeignKeyConstraint(
            ["conversation_id", "customer_id"],
            ["conversations.id", "conversations.customer_id"],
            onupdate="CASCADE",
        ),
        one_of("role", model.Role),
        one_of("kind", model.MessageKind),
        *unique_audit_id("messages"),
        Index("messages_in_order_idx", "conversation_id", "created_at", "seq"),
        Index("messages_of_customer_idx", "customer_id", "created_at"),
        # The newest messages of all: a search that ranks only those walks along it.
        Index(None, "created_at"),
        Index("messages_search_idx", "search", postgresql_using="gin"),
    )
