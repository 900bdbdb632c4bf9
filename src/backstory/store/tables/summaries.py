"""What conversations come to, as a table: which messages a summary covers, and who made it."""

import uuid

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from backstory.store.tables.columns import Base, Moment, Recorded, Run


class ConversationSummary(Base):
    """Where `conversations.summary` comes from: it covers a stretch of messages, to its last one.

    `left_out` counts the earlier messages that were too many to read; `made_by` is a version.
    """

    __tablename__ = "conversation_summaries"

    conversation_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[uuid.UUID]
    made_by: Mapped[str]
    messages: Mapped[int]
    left_out: Mapped[int]
    first_message_id: Mapped[uuid.UUID]
    last_message_id: Mapped[uuid.UUID]
    last_at: Mapped[Moment]
    run_id: Mapped[Run]
    created_at: Mapped[Recorded]

    __table_args__ = (
        ForeignKeyConstraint(
            ["conversation_id", "customer_id"],
            ["conversations.id", "conversations.customer_id"],
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        CheckConstraint("messages > 0 AND left_out >= 0", name="covers_something"),
        Index(None, "customer_id"),
        Index(None, "run_id"),
    )
