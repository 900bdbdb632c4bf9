"""What happened, as a table: the agent's log as we hold it."""

import uuid
from typing import Any

from sqlalchemy import (
    Index,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from backstory.store.tables.columns import (
    Base,
    Key,
    Moment,
    Recorded,
    Run,
    unique_audit_id,
)


class AuditLog(Base):
    """The agent's log as we hold it, append-only; the log `backstory` holds our own deeds."""

    __tablename__ = "audit_log"

    id: Mapped[Key]
    log: Mapped[str]
    audit_id: Mapped[str]
    # Soft reference: a lead may be erased while the fact that something was logged remains.
    lead_id: Mapped[uuid.UUID | None]
    lead_external_id: Mapped[str | None]
    actor: Mapped[str]
    action: Mapped[str]
    payload: Mapped[Any] = mapped_column(JSONB)
    payload_hash: Mapped[bytes]
    seq: Mapped[int]
    created_at: Mapped[Moment]
    received_at: Mapped[Recorded]
    # Soft, here and on messages: a million checks of one run's row buy nothing; a gate looks.
    run_id: Mapped[Run]

    __table_args__ = (*unique_audit_id("audit_log"), Index(None, "lead_id"))
