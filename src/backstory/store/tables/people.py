"""Who, as tables: customers, what they are known by, their merges, their leads."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    UniqueConstraint,
    text,
)
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
        one_of("preferred_channel", model.Channel),
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
        one_of("kind", model.IdentityKind),
        one_of("provenance", model.Provenance),
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
        one_of("channel", model.Channel),
        one_of("source", model.LeadSource),
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
