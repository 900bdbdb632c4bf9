"""Binds a transaction to one lead's customer, under a role that owns nothing.

Row-level security then shows and takes that customer's rows only, whatever a query forgets. The
binding is the transaction's (`SET LOCAL`): a pooled connection never carries it to the next.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from backstory.errors import Refused, Transient
from backstory.model import Embedders
from backstory.store.agent_role import role_name
from backstory.store.pipeline import Step, pipelined, rows

_TRIES = 5


@dataclass(frozen=True)
class Bound:
    """A transaction that sees one customer, and what a tool may know of the session.

    `conversation_id` is the lead's open conversation, else its newest, else None; `now` is the
    moment of the call; `region` (ISO 3166) reads phones without a country code. `pending` are the
    steps that are left for the end; `embedders` are asked what a question means.
    """

    connection: Connection
    customer_id: UUID
    lead_id: UUID
    conversation_id: UUID | None
    channel: str
    actor: str
    now: datetime
    region: str
    pending: list[Step] = field(default_factory=list, repr=False, compare=False)
    embedders: Embedders | None = None

    def rows(self, name: str, values: Mapping[str, Any]) -> list[Any]:
        """Execute a named statement for this customer; return its rows, as named tuples."""
        return rows(self.connection, name, {"customer_id": self.customer_id, **values})

    def all_rows(self, *steps: Step) -> list[list[Any]]:
        """Execute named statements for this customer in one round trip; return the rows of each."""
        mine = [(name, {"customer_id": self.customer_id, **values}) for name, values in steps]
        return pipelined(self.connection, mine)

    def later(self, name: str, values: Mapping[str, Any]) -> None:
        """Leave a named statement for the end of the call, with whatever else is written there.

        They keep their order, and are not seen by what is read before. Their errors are the call's.
        """
        self.pending.append((name, {"customer_id": self.customer_id, **values}))

    def last_steps(self) -> list[Step]:
        """Return what has to be executed at the end: what is pending, and the unbinding."""
        return [*self.pending, ("unbind_customer", {})]


@contextmanager
def bound(
    connection: Connection,
    schema: str,
    *,
    lead_id: UUID,
    actor: str,
    now: datetime,
    region: str,
    embedders: Embedders | None = None,
) -> Iterator[Bound]:
    """Bind the open transaction to the customer whose this lead is now; unbind it afterwards.

    Other writers of the same customer wait, and so does whoever would merge it. Raises Refused if
    there is no such lead. After an error the transaction must be rolled back.
    """
    made = bind(
        connection,
        schema,
        lead_id=lead_id,
        actor=actor,
        now=now,
        region=region,
        embedders=embedders,
    )
    yield made
    pipelined(connection, made.last_steps())


def bind(
    connection: Connection,
    schema: str,
    *,
    lead_id: UUID,
    actor: str,
    now: datetime,
    region: str,
    embedders: Embedders | None = None,
) -> Bound:
    """Do what `bound` does at its begin; the caller executes `last_steps` at the end."""
    steps = _binding(lead_id, role_name(schema))
    for _ in range(_TRIES):
        held, [mine] = pipelined(connection, steps)
        if held and held[0].customer_id == mine.customer_id:
            return Bound(
                connection,
                mine.customer_id,
                lead_id,
                mine.conversation_id,
                held[0].channel,
                actor,
                now,
                region,
                embedders=embedders,
            )
        # It was moved in this very moment, or there is none.
        pipelined(connection, [("unbind_customer", {})])
        if mine.customer_id is None:
            raise Refused(
                "session_ended",
                "The contact of this session is no longer known.",
                next_step="Open a new session.",
            )
    raise Transient("The contact is being linked to another customer: repeat the call.")


def _binding(lead_id: UUID, role: str) -> list[Step]:
    """Lock customer, then lead, in the order in which merging does; then become its agent.

    The second statement sees what was committed while the first one waited.
    """
    return [("hold_lead", {"lead_id": lead_id}), ("bind_lead", {"lead_id": lead_id, "role": role})]
