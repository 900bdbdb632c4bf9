"""Looks customers up for staff: by name, phone, e-mail address or the id of a lead."""

import re
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from backstory.extract.parse import clean_text
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


def _literal(text: str) -> str:
    """Return text in which LIKE finds no wildcard."""
    return re.sub(r"([\\%_])", r"\\\1", text)
