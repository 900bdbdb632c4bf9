"""Looks customers up for staff: by name, phone, e-mail address or the id of a lead."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from backstory.extract.parse import clean_text
from backstory.model import Channel
from backstory.store.engine import translated
from backstory.store.notes import NoteRow, list_notes
from backstory.store.statements import sql

_PAGE = 50
# What a phone is written with; three digits or more of it are looked for in every spelling.
_PHONE = re.compile(r"[-+().\s]*(?:[0-9][-+().\s]*){3,}")


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """A customer as staff see it in a list; merged-away customers are never listed."""

    id: UUID
    display_name: str | None
    phone: str | None
    email: str | None
    leads: int
    conversations: int
    messages: int
    last_message_at: datetime | None


def find_customers(
    connection: Connection,
    query: str | None = None,
    *,
    limit: int = _PAGE,
    after: UUID | None = None,
) -> list[CustomerRow]:
    """Return at most `limit` customers, the latest first; `after` is the last of the page before.

    `query` is looked for, whatever the case, inside names, phones in any spelling, e-mail
    addresses, messenger ids, and the ids of customers and leads; nothing matches everybody.
    """
    words = clean_text(query or "")[0].strip()
    parameters = {
        "pattern": f"%{_literal(words)}%" if words else None,
        "digits": f"%{re.sub('[^0-9]', '', words)}%" if _PHONE.fullmatch(words) else None,
        "limit": limit,
        "after": after,
    }
    with translated():
        return [CustomerRow(*row) for row in connection.execute(sql("find_customers"), parameters)]


@dataclass(frozen=True, slots=True)
class LeadRow:
    """A lead of a customer; `lead` is its id in the business's own system."""

    id: UUID
    lead: str
    channel: Channel
    name: str | None
    stage: str | None
    created_at: datetime | None
    conversation_id: UUID | None


def get_customer(connection: Connection, customer_id: UUID) -> CustomerRow | None:
    """Return a customer; None for one that is unknown or was merged away."""
    with translated():
        row = connection.execute(sql("customer_row"), {"id": customer_id}).one_or_none()
    return None if row is None else CustomerRow(*row)


def survivor_of(connection: Connection, customer_id: UUID) -> UUID | None:
    """Return whom a customer was merged into in the end; None for one who was not merged away."""
    with translated():
        return connection.execute(sql("survivor_of_customer"), {"id": customer_id}).scalar()


@dataclass(frozen=True, slots=True)
class Kept:
    """All that is kept of a customer but what was said, as rows; each list has at most `limit`."""

    profile: Row[Any]
    identities: Sequence[Row[Any]]
    leads: list[LeadRow]
    addresses: Sequence[Row[Any]]
    jobs: Sequence[Row[Any]]
    notes: list[NoteRow]


def kept_of_customer(connection: Connection, customer_id: UUID, *, limit: int) -> Kept | None:
    """Return what is kept of a customer; None for one that is unknown or was merged away."""
    asked = {"id": customer_id, "limit": limit}
    with translated():
        profile = connection.execute(sql("customer_profile"), asked).one_or_none()
        if profile is None:
            return None
        return Kept(
            profile=profile,
            identities=connection.execute(sql("identities_of_customer"), asked).all(),
            leads=leads_of_customer(connection, customer_id, limit=limit),
            addresses=connection.execute(sql("addresses_of_customer"), asked).all(),
            jobs=connection.execute(sql("jobs_of_customer"), asked).all(),
            notes=list_notes(connection, customer_id=customer_id, limit=limit),
        )


def leads_of_customer(
    connection: Connection, customer_id: UUID, *, limit: int = 100
) -> list[LeadRow]:
    """Return at most `limit` leads of a customer, the first that came first."""
    asked = {"id": customer_id, "limit": limit}
    with translated():
        rows = connection.execute(sql("leads_of_customer"), asked).all()
    return [LeadRow(row.id, row.lead, Channel(row.channel), *row[3:]) for row in rows]


def _literal(text: str) -> str:
    """Return text in which LIKE finds no wildcard."""
    return re.sub(r"([\\%_])", r"\\\1", text)
