"""Looks customers up for staff: by name, phone, e-mail address or the id of a lead."""

import re
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from backstory.extract.parse import clean_text
from backstory.model import Channel
from backstory.store.engine import translated
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
