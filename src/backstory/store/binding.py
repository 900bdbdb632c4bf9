"""Binds a transaction to one lead's customer, under a role that owns nothing.

Row-level security then shows and takes that customer's rows only, whatever a query forgets. The
binding is the transaction's (`SET LOCAL`): a pooled connection never carries it to the next.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from backstory.errors import Refused, Transient
from backstory.store.agent_role import role_name
from backstory.store.statements import sql

_TRIES = 5


@dataclass(frozen=True)
class Bound:
    """A transaction that sees one customer, and what a tool may know of the session.

    `conversation_id` is the lead's open conversation, else its newest, else None; `now` is the
    moment of the call; `region` (ISO 3166) reads phones without a country code.
    """

    connection: Connection
    customer_id: UUID
    lead_id: UUID
    conversation_id: UUID | None
    channel: str
    actor: str
    now: datetime
    region: str


@contextmanager
def bound(
    connection: Connection, schema: str, *, lead_id: UUID, actor: str, now: datetime, region: str
) -> Iterator[Bound]:
    """Bind the open transaction to the customer whose this lead is now; unbind it afterwards.

    Other writers of the same customer wait, and so does whoever would merge it. Raises Refused if
    there is no such lead. After an error the transaction must be rolled back.
    """
    customer_id, channel = _hold(connection, lead_id)
    asked = {"lead_id": lead_id, "customer_id": customer_id, "role": role_name(schema)}
    conversation = connection.execute(sql("bind_lead"), asked).one().conversation_id
    yield Bound(connection, customer_id, lead_id, conversation, channel, actor, now, region)
    connection.execute(sql("unbind_customer"))


def _hold(connection: Connection, lead_id: UUID) -> tuple[UUID, str]:
    """Lock customer, then lead, in the order in which merging does."""
    asked = {"lead_id": lead_id}
    for _ in range(_TRIES):
        held = connection.execute(sql("hold_lead"), asked).one_or_none()
        if held is not None:
            return held.customer_id, held.channel
        # It was moved in this very moment, or there is none.
        if connection.execute(sql("customer_of_lead"), asked).scalar() is None:
            raise Refused(
                "session_ended",
                "The contact of this session is no longer known.",
                next_step="Open a new session.",
            )
    raise Transient("The contact is being linked to another customer: repeat the call.")
