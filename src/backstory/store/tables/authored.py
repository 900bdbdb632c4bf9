"""What people and agents write, as tables: addresses, jobs, notes."""

import uuid
from datetime import datetime
from decimal import Decimal

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Numeric,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from backstory import model
from backstory.store.tables.columns import (
    INDEXED_ID_BYTES,
    Base,
    Cents,
    Json,
    Key,
    Moment,
    Recorded,
    Run,
    one_of,
)


class CustomerAddress(Base):
    """Where a customer lives or wants service; one row a normalized address."""

    __tablename__ = "customer_addresses"

    id: Mapped[Key]
    customer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("customers.id"))
    label: Mapped[str | None]
    line1: Mapped[str]
    line2: Mapped[str | None]
    city: Mapped[str | None]
    region: Mapped[str | None]
    postal_code: Mapped[str | None]
    country: Mapped[str | None]
    raw_text: Mapped[str | None]
    access_notes: Mapped[str | None]
    is_primary: Mapped[bool] = mapped_column(server_default=text("false"))
    normalized_key: Mapped[str]
    created_at: Mapped[Recorded]

    __table_args__ = (
        UniqueConstraint("customer_id", "normalized_key"),
        UniqueConstraint("id", "customer_id"),
        CheckConstraint(f"octet_length(normalized_key) <= {INDEXED_ID_BYTES}", name="key_bounded"),
        Index(
            "customer_addresses_one_primary_key",
            "customer_id",
            unique=True,
            postgresql_where=text("is_primary"),
        ),
    )


class Job(Base):
    """A piece of work for a customer, with its money and its times."""

    __tablename__ = "jobs"

    id: Mapped[Key]
    job_number: Mapped[int] = mapped_column(Identity(), unique=True)
    customer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("customers.id"))
    service_address_id: Mapped[uuid.UUID | None]
    lead_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("leads.id"))
    conversation_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("conversations.id"))
    title: Mapped[str]
    description: Mapped[str | None]
    service_type: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default=text("'unscheduled'"))
    canceled_by: Mapped[str | None]
    scheduled_start: Mapped[datetime | None]
    scheduled_end: Mapped[datetime | None]
    actual_start: Mapped[datetime | None]
    actual_end: Mapped[datetime | None]
    subtotal_cents: Mapped[Cents]
    total_cents: Mapped[Cents]
    currency: Mapped[str] = mapped_column(server_default=text("'USD'"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[Recorded]

    __table_args__ = (
        ForeignKeyConstraint(
            ["service_address_id", "customer_id"],
            ["customer_addresses.id", "customer_addresses.customer_id"],
            onupdate="CASCADE",
        ),
        UniqueConstraint("id", "customer_id"),
        one_of("status", model.JobStatus),
        one_of("canceled_by", model.CanceledBy),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_iso"),
        CheckConstraint("scheduled_end >= scheduled_start", name="schedule_in_order"),
        CheckConstraint("actual_end >= actual_start", name="work_in_order"),
        Index(None, "customer_id"),
        Index(None, "lead_id"),
        Index(None, "conversation_id"),
    )


class JobItem(Base):
    """One line of a job; an item without a price is not priced yet, which is not zero."""

    __tablename__ = "job_items"

    id: Mapped[Key]
    job_id: Mapped[uuid.UUID]
    customer_id: Mapped[uuid.UUID]
    position: Mapped[int]
    kind: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    quantity: Mapped[Decimal] = mapped_column(Numeric(12, 3))
    unit: Mapped[str]
    unit_price_cents: Mapped[Cents]
    attributes: Mapped[Json]
    created_at: Mapped[Recorded]

    __table_args__ = (
        ForeignKeyConstraint(
            ["job_id", "customer_id"], ["jobs.id", "jobs.customer_id"], onupdate="CASCADE"
        ),
        UniqueConstraint("job_id", "position"),
        one_of("kind", model.JobItemKind),
        one_of("unit", model.Unit),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        Index(None, "customer_id"),
    )


class JobEvent(Base):
    """What happened to a job, append-only."""

    __tablename__ = "job_events"

    id: Mapped[Key]
    job_id: Mapped[uuid.UUID]
    customer_id: Mapped[uuid.UUID]
    event_type: Mapped[str]
    occurred_at: Mapped[Moment]
    recorded_at: Mapped[Recorded]
    actor: Mapped[str]
    from_status: Mapped[str | None]
    to_status: Mapped[str | None]
    payload: Mapped[Json]
    idempotency_key: Mapped[str | None]

    __table_args__ = (
        ForeignKeyConstraint(
            ["job_id", "customer_id"], ["jobs.id", "jobs.customer_id"], onupdate="CASCADE"
        ),
        one_of("event_type", model.JobEventType),
        one_of("from_status", model.JobStatus),
        one_of("to_status", model.JobStatus),
        CheckConstraint(
            f"octet_length(idempotency_key) <= {INDEXED_ID_BYTES}", name="idempotency_key_bounded"
        ),
        Index(None, "job_id", "idempotency_key", unique=True),
        Index(None, "customer_id"),
    )


class MemoryNote(Base):
    """Something worth keeping about a customer, with its source and its standing.

    `topic` is where a lead's state says it; with `[]` at its end it is one of several such.
    `quotation` is what a proposal quotes of its message.
    """

    __tablename__ = "memory_notes"

    id: Mapped[Key]
    customer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("customers.id"))
    address_id: Mapped[uuid.UUID | None]
    job_id: Mapped[uuid.UUID | None]
    kind: Mapped[str]
    text: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="candidate")
    source_message_ids: Mapped[list[uuid.UUID]] = mapped_column(ARRAY(Uuid), server_default="{}")
    source_lead_id: Mapped[uuid.UUID | None]
    extracted_by: Mapped[str]
    confidence: Mapped[Decimal | None] = mapped_column(Numeric(4, 3))
    valid_from: Mapped[datetime | None]
    valid_until: Mapped[datetime | None]
    superseded_by_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("memory_notes.id"))
    created_at: Mapped[Recorded]
    run_id: Mapped[Run]
    topic: Mapped[str | None]
    quotation: Mapped[str | None]

    __table_args__ = (
        ForeignKeyConstraint(
            ["address_id", "customer_id"],
            ["customer_addresses.id", "customer_addresses.customer_id"],
            onupdate="CASCADE",
        ),
        ForeignKeyConstraint(
            ["job_id", "customer_id"], ["jobs.id", "jobs.customer_id"], onupdate="CASCADE"
        ),
        one_of("kind", model.NoteKind),
        one_of("status", model.NoteStatus),
        CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence_is_a_share"),
        Index(None, "customer_id"),
        Index(None, "superseded_by_id"),
        Index(None, "source_lead_id"),
        Index(None, "run_id"),
    )
