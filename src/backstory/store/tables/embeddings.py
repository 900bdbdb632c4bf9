"""What messages mean, as tables: a vector of each message by each model, and the models."""

import uuid
from datetime import datetime

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from backstory.store.tables.columns import Base, Recorded, Run


class EmbeddingModel(Base):
    """A model that has embedded messages; the one that was completed last serves recall."""

    __tablename__ = "embedding_models"

    name: Mapped[str] = mapped_column(primary_key=True)
    dimensions: Mapped[int]
    run_id: Mapped[uuid.UUID]
    completed_at: Mapped[datetime | None]

    __table_args__ = (CheckConstraint("dimensions > 0", name="dimensions_count"),)


class Embedding(Base):
    """What one message means to one model; `content_hash` is of the text that was embedded."""

    __tablename__ = "embeddings"

    message_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True
    )
    model: Mapped[str] = mapped_column(ForeignKey("embedding_models.name"), primary_key=True)
    conversation_id: Mapped[uuid.UUID]
    customer_id: Mapped[uuid.UUID]
    content_hash: Mapped[bytes]
    vector: Mapped[list[float]] = mapped_column(HALFVEC)
    run_id: Mapped[Run]
    created_at: Mapped[Recorded]

    __table_args__ = (
        ForeignKeyConstraint(
            ["conversation_id", "customer_id"],
            ["conversations.id", "conversations.customer_id"],
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        Index(None, "conversation_id"),
        Index(None, "customer_id", "model"),
        Index(None, "model"),
        Index(None, "run_id"),
    )
