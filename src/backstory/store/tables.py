"""Our tables as typed SQLAlchemy models: the one place where the schema is written down.

Every row a customer owns carries `customer_id` itself, and composite foreign keys with
`ON UPDATE CASCADE` keep it equal from the lead down to the message: merging two customers means
re-pointing their leads, and the database does the rest.

Ids of ours are UUIDs; ids from outside are text of any form and length (`*external_id`, `audit_id`),
which is why nothing indexes them without a bound. Money is BIGINT minor units beside an ISO-4217
code, times are `timestamptz`.
"""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    Numeric,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstory import model

# A b-tree entry holds about 2,700 bytes: longer ids are indexed by their hash.
INDEXED_ID_BYTES = 1024
# A tsvector holds 1 MB; 132,000 characters of hyphenated four-byte text were seen to reach it.
INDEXED_TEXT_CHARS = 60_000

Key = Annotated[uuid.UUID, mapped_column(Uuid, primary_key=True)]
Moment = Annotated[datetime, mapped_column(TIMESTAMP(timezone=True))]
Recorded = Annotated[datetime, mapped_column(TIMESTAMP(timezone=True), server_default=func.now())]
Json = Annotated[dict[str, Any], mapped_column(JSONB, server_default=text("'{}'::jsonb"))]
Run = Annotated[uuid.UUID | None, mapped_column(Uuid)]
Cents = Annotated[int | None, mapped_column(BigInteger)]


def _one_of(column: str, vocabulary: type[model.Vocabulary]) -> CheckConstraint:
    words = ", ".join(f"'{word}'" for word in vocabulary)
    return CheckConstraint(f"{column} IN ({words})", name=f"{column}_known")


def _unique_audit_id(table: str) -> tuple[Index, Index]:
    """(log, audit_id) is unique whatever the length of the id."""
    return (
        Index(
            f"{table}_audit_id_key",
            "log",
            "audit_id",
            unique=True,
            postgresql_where=text(f"octet_length(audit_id) <= {INDEXED_ID_BYTES}"),
        ),
        Index(
            f"{table}_long_audit_id_key",
            "log",
            text("md5(audit_id)"),
            unique=True,
            postgresql_where=text(f"octet_length(audit_id) > {INDEXED_ID_BYTES}"),
        ),
    )


class Base(DeclarativeBase):
    """Names every constraint, so that a migration can speak of it."""

    metadata = MetaData(
        naming_convention={
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "pk": "%(table_name)s_pkey",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        int: BigInteger,
        uuid.UUID: Uuid,
        datetime: TIMESTAMP(timezone=True),
        bytes: LargeBinary,
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
    }


# --- what happened ---------------------------------------------------------------------------


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

    __table_args__ = (*_unique_audit_id("audit_log"), Index(None, "lead_id"))


# --- who -------------------------------------------------------------------------------------


class Customer(Base):
    """A person or company; merged customers point to the survivor."""

    __tablename__ = "customers"

    id: Mapped[Key]
    display_name: Mapped[str | None]
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    company_name: Mapped[str | None]
    phone_e164: Mapped[str | None]
    phone_raw: Mapped[str | None]
    email: Mapped[str | None]
    preferred_channel: Mapped[str | None]
    language: Mapped[str | None]
    timezone: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(server_default=text("'{}'::text[]"))
    do_not_contact: Mapped[bool] = mapped_column(server_default=text("false"))
    merged_into_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("customers.id"))
    created_at: Mapped[Moment]
    run_id: Mapped[Run]

    __table_args__ = (
        CheckConstraint("merged_into_id <> id", name="not_merged_into_itself"),
        _one_of("preferred_channel", model.Channel),
        Index(None, "merged_into_id", postgresql_where=text("merged_into_id IS NOT NULL")),
        Index(None, "run_id"),
    )


class CustomerIdentity(Base):
    """What a customer is known by; only verified identities are unique, and only they link."""

    __tablename__ = "customer_identities"

    id: Mapped[Key]
    customer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("customers.id"))
    kind: Mapped[str]
    value: Mapped[str]
    provenance: Mapped[str]
    created_at: Mapped[Recorded]
    run_id: Mapped[Run]

    __table_args__ = (
        _one_of("kind", model.IdentityKind),
        _one_of("provenance", model.Provenance),
        CheckConstraint(f"octet_length(value) <= {INDEXED_ID_BYTES}", name="value_bounded"),
        Index(
            "customer_identities_verified_key",
            "kind",
            "value",
            unique=True,
            postgresql_where=text("provenance = 'verified'"),
        ),
        Index(None, "customer_id"),
        Index(None, "run_id"),
    )


class CustomerMerge(Base):
    """One customer absorbed by another: what linked them, and every row that was re-pointed."""

    __tablename__ = "customer_merges"

    id: Mapped[Key]
    survivor_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("customers.id"))
    absorbed_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("customers.id"))
    reason: Mapped[Json]
    moved: Mapped[Json]
    merged_at: Mapped[Recorded]
    undone_at: Mapped[datetime | None]
    run_id: Mapped[Run]

    __table_args__ = (
        Index(None, "survivor_id"),
        Index(None, "absorbed_id"),
        Index(
            "customer_merges_standing_key",
            "absorbed_id",
            unique=True,
            postgresql_where=text("undone_at IS NULL"),
        ),
        Index(None, "run_id"),
    )


class Lead(Base):
    """One contact through one channel, as the business lists it or as the log implies it."""

    __tablename__ = "leads"

    id: Mapped[Key]
    external_id: Mapped[str]
    customer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("customers.id"))
    channel: Mapped[str]
    messenger_psid: Mapped[str | None]
    phone_raw: Mapped[str | None]
    phone_e164: Mapped[str | None]
    email: Mapped[str | None]
    name: Mapped[str | None]
    stage: Mapped[str | None]
    state_metadata: Mapped[Any] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    created_at: Mapped[datetime | None]
    source: Mapped[str]
    run_id: Mapped[Run]

    __table_args__ = (
        _one_of("channel", model.Channel),
        _one_of("source", model.LeadSource),
        UniqueConstraint("id", "customer_id"),
        Index(None, "customer_id"),
        Index(
            "leads_messenger_idx",
            "channel",
            "messenger_psid",
            postgresql_where=text("octet_length(messenger_psid) <= 1024"),
        ),
        Index(None, "phone_e164", postgresql_where=text("phone_e164 IS NOT NULL")),
        Index(None, "email", postgresql_where=text("octet_length(email) <= 1024")),
        Index(None, "run_id"),
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


# --- what was said ---------------------------------------------------------------------------


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
        _one_of("channel", model.Channel),
        _one_of("status", model.ConversationStatus),
        Index(
            "conversations_one_open_key",
            "lead_id",
            unique=True,
            postgresql_where=text("status = 'open'"),
        ),
        Index(None, "customer_id"),
        Index(None, "run_id"),
    )


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
    search: Mapped[Any] = mapped_column(
        TSVECTOR,
        Computed(
            "to_tsvector('english'::regconfig, left(content || coalesce(' ' || attachment_text, '')"
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
        _one_of("role", model.Role),
        _one_of("kind", model.MessageKind),
        *_unique_audit_id("messages"),
        Index("messages_in_order_idx", "conversation_id", "created_at", "seq"),
        Index("messages_of_customer_idx", "customer_id", "created_at"),
        Index("messages_search_idx", "search", postgresql_using="gin"),
    )


# --- what was done ---------------------------------------------------------------------------


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
        _one_of("status", model.JobStatus),
        _one_of("canceled_by", model.CanceledBy),
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
        _one_of("kind", model.JobItemKind),
        _one_of("unit", model.Unit),
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
        _one_of("event_type", model.JobEventType),
        _one_of("from_status", model.JobStatus),
        _one_of("to_status", model.JobStatus),
        CheckConstraint(
            f"octet_length(idempotency_key) <= {INDEXED_ID_BYTES}", name="idempotency_key_bounded"
        ),
        Index(None, "job_id", "idempotency_key", unique=True),
        Index(None, "customer_id"),
    )


class MemoryNote(Base):
    """Something worth keeping about a customer, with its source and its standing."""

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

    __table_args__ = (
        ForeignKeyConstraint(
            ["address_id", "customer_id"],
            ["customer_addresses.id", "customer_addresses.customer_id"],
            onupdate="CASCADE",
        ),
        ForeignKeyConstraint(
            ["job_id", "customer_id"], ["jobs.id", "jobs.customer_id"], onupdate="CASCADE"
        ),
        _one_of("kind", model.NoteKind),
        _one_of("status", model.NoteStatus),
        CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence_is_a_share"),
        Index(None, "customer_id"),
        Index(None, "superseded_by_id", postgresql_where=text("superseded_by_id IS NOT NULL")),
        Index(None, "run_id"),
    )
