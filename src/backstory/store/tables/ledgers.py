"""The ledgers as typed models: runs, their partitions, and every record that made no message.

A run's counts live in `run_partitions`, written in the transaction of the rows they count.
Records that made no message have a row each, keyed by their content and the how-manieth identical
record they are, so that running again adds none.
"""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from backstory import model
from backstory.store.tables.columns import (
    INDEXED_ID_BYTES,
    Base,
    Json,
    Key,
    Moment,
    Recorded,
    Run,
    one_of,
)


class BackfillRun(Base):
    """One journey over a log, from its options to its report."""

    __tablename__ = "backfill_runs"

    id: Mapped[Key]
    mode: Mapped[str]
    log: Mapped[str]
    status: Mapped[str]
    wish: Mapped[str | None]
    options: Mapped[Json]
    host: Mapped[str]
    spill_dir: Mapped[str]
    records_read: Mapped[int | None]
    first_load: Mapped[bool] = mapped_column(server_default=text("false"))
    seconds_by_step: Mapped[Json]
    findings: Mapped[Json]
    report: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    error: Mapped[str | None]
    created_at: Mapped[Recorded]
    updated_at: Mapped[Recorded]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        one_of("mode", model.RunMode),
        one_of("status", model.RunStatus),
        one_of("wish", model.RunWish),
    )


class RunPartition(Base):
    """A share of a run's work: who holds it, how far it is, and what was committed of it."""

    __tablename__ = "run_partitions"

    run_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("backfill_runs.id", ondelete="CASCADE"), primary_key=True
    )
    stage: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    fence: Mapped[int] = mapped_column(server_default=text("0"))
    worker: Mapped[str | None]
    backend_pid: Mapped[int | None]
    backend_start: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    cursor: Mapped[bytes] = mapped_column(server_default=text("''::bytea"))
    counts: Mapped[Json]
    updated_at: Mapped[Recorded]

    __table_args__ = (
        one_of("stage", model.PartitionStage),
        one_of("status", model.PartitionStatus),
    )


class RunChange(Base):
    """A row that a run changed but did not create, as it was before."""

    __tablename__ = "run_changes"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("backfill_runs.id"))
    table_name: Mapped[str]
    row_id: Mapped[uuid.UUID]
    before: Mapped[Json]

    __table_args__ = (Index(None, "run_id"), Index(None, "table_name", "row_id"))


class Skip(Base):
    """A record that was read and left aside, with the reason."""

    __tablename__ = "skips"

    id: Mapped[Key]
    log: Mapped[str]
    digest: Mapped[bytes]
    occurrence: Mapped[int]
    reason: Mapped[str]
    audit_id: Mapped[str | None]
    lead_external_id: Mapped[str | None]
    actor: Mapped[str | None]
    position: Mapped[str]
    created_at: Mapped[Recorded]
    run_id: Mapped[Run]

    __table_args__ = (one_of("reason", model.SkipReason), Index(None, "run_id"))


class Quarantine(Base):
    """A record that could not be taken: its bytes, why, at which stage, by which extractor."""

    __tablename__ = "quarantine"

    id: Mapped[Key]
    log: Mapped[str]
    digest: Mapped[bytes]
    occurrence: Mapped[int]
    raw: Mapped[bytes]
    code: Mapped[str]
    message: Mapped[str]
    stage: Mapped[str]
    extractor_version: Mapped[str]
    position: Mapped[str]
    audit_id: Mapped[str | None]
    lead_external_id: Mapped[str | None]
    options: Mapped[Json]
    status: Mapped[str] = mapped_column(server_default=text("'open'"))
    created_at: Mapped[Recorded]
    run_id: Mapped[Run]
    resolved_run_id: Mapped[uuid.UUID | None]

    __table_args__ = (
        one_of("stage", model.QuarantineStage),
        one_of("status", model.QuarantineStatus),
        Index(None, "run_id"),
        Index(None, "status"),
    )


class Conflict(Base):
    """A second record under an audit id that is taken, with other content: the first won."""

    __tablename__ = "conflicts"

    id: Mapped[Key]
    log: Mapped[str]
    audit_id: Mapped[str]
    occurrence: Mapped[int]
    winner_id: Mapped[uuid.UUID]
    lead_external_id: Mapped[str | None]
    actor: Mapped[str]
    action: Mapped[str]
    payload: Mapped[Any] = mapped_column(JSONB)
    payload_hash: Mapped[bytes]
    record_created_at: Mapped[Moment]
    position: Mapped[str]
    created_at: Mapped[Recorded]
    run_id: Mapped[Run]

    __table_args__ = (Index(None, "run_id"), Index(None, "winner_id"))


class Tombstone(Base):
    """A keyed hash of something erased, which a later run must not bring back."""

    __tablename__ = "tombstones"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    kind: Mapped[str]
    erased_at: Mapped[Recorded]

    __table_args__ = (one_of("kind", model.TombstoneKind),)


class TombstoneKey(Base):
    """The secret that tombstones are keyed with; without it they stand for nothing."""

    __tablename__ = "tombstone_keys"

    id: Mapped[Key]
    secret: Mapped[bytes]
    created_at: Mapped[Recorded]


class ToolCall(Base):
    """One call of an agent's tool: what was asked, by whom, and what was answered."""

    __tablename__ = "tool_calls"

    id: Mapped[Key]
    customer_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("customers.id"))
    lead_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("leads.id"))
    conversation_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("conversations.id"))
    tool: Mapped[str]
    actor: Mapped[str]
    arguments_hash: Mapped[bytes]
    idempotency_key: Mapped[str | None]
    outcome: Mapped[str]
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    latency_ms: Mapped[int]
    created_at: Mapped[Recorded]

    __table_args__ = (
        CheckConstraint(
            f"octet_length(idempotency_key) <= {INDEXED_ID_BYTES}", name="idempotency_key_bounded"
        ),
        Index(None, "lead_id", "tool", "idempotency_key", unique=True),
        Index(None, "customer_id"),
        Index(None, "conversation_id"),
    )


class Confirmation(Base):
    """A remembered detail the customer said yes to, bound to what was shown."""

    __tablename__ = "confirmations"

    id: Mapped[Key]
    customer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("customers.id"))
    conversation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("conversations.id"))
    candidate_id: Mapped[str]
    source_kind: Mapped[str]
    source_id: Mapped[uuid.UUID]
    content_hash: Mapped[bytes]
    fetched_at: Mapped[Moment]
    confirmed_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(f"octet_length(candidate_id) <= {INDEXED_ID_BYTES}", name="id_bounded"),
        Index(None, "conversation_id", "candidate_id", unique=True),
        Index(None, "customer_id"),
    )
