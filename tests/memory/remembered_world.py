"""What the tests of memory share: customers with a past, and transactions bound to one of them."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import Connection, text

from backstory.store import agent_role
from backstory.store.binding import Bound, bound

SCHEMA = "backstory"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
JUNE = datetime(2026, 6, 3, 9, 0, tzinfo=UTC)


def insert(connection: Connection, table: str, **columns) -> uuid.UUID:
    """Insert a row, with a new id unless one is given; return the id."""
    columns = {"id": uuid.uuid4(), **columns}
    names = ", ".join(columns)
    places = ", ".join(f":{name}" for name in columns)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({places})"), columns)
    return columns["id"]


@dataclass
class Person:
    """A customer with one lead and one conversation with it, and what is added to them."""

    connection: Connection
    name: str
    id: uuid.UUID = field(init=False)
    lead: uuid.UUID = field(init=False)
    conversation: uuid.UUID | None = field(init=False)
    seq: int = 0

    def __post_init__(self) -> None:
        self.id = insert(self.connection, "customers", display_name=self.name, created_at=JUNE)
        self.lead, self.conversation = self.contact(self.name)

    def contact(self, name: str, channel: str = "sms", stage: str | None = None, **conversation):
        """Add a lead of this customer, with a conversation."""
        lead = insert(
            self.connection,
            "leads",
            external_id=f"{name} {uuid.uuid4()}",
            customer_id=self.id,
            channel=channel,
            name=name,
            stage=stage,
            source="list",
            created_at=JUNE,
        )
        return lead, insert(
            self.connection,
            "conversations",
            lead_id=lead,
            customer_id=self.id,
            channel=channel,
            status="open",
            started_at=JUNE,
            **conversation,
        )

    def says(self, content: str, at: datetime = JUNE, *, role="user", conversation=None, **more):
        """Add a message."""
        self.seq += 1
        record = insert(
            self.connection,
            "audit_log",
            log="audit",
            audit_id=str(uuid.uuid4()),
            lead_id=self.lead,
            actor=role,
            action="message_received",
            payload="{}",
            payload_hash=b"",
            seq=self.seq,
            created_at=at,
        )
        return insert(
            self.connection,
            "messages",
            id=record,
            conversation_id=conversation or self.conversation,
            customer_id=self.id,
            log="audit",
            audit_id=str(record),
            role=role,
            content=content,
            seq=self.seq,
            created_at=at,
            **{"kind": "text", **more},
        )

    def lives(self, line1="12 Oak St", **columns) -> uuid.UUID:
        """Add an address."""
        columns = {"city": "Austin", "created_at": JUNE, **columns}
        return insert(
            self.connection,
            "customer_addresses",
            customer_id=self.id,
            line1=line1,
            normalized_key=line1.lower(),
            **columns,
        )

    def ordered(self, title="Garage clean-out", *items: str, **columns) -> uuid.UUID:
        """Add a job with items."""
        columns = {"status": "completed", "created_at": JUNE, **columns}
        job = insert(self.connection, "jobs", customer_id=self.id, title=title, **columns)
        for position, item in enumerate(items, 1):
            insert(
                self.connection,
                "job_items",
                job_id=job,
                customer_id=self.id,
                position=position,
                kind="item",
                name=item,
                quantity=1,
                unit="each",
            )
        return job

    def noted(self, words: str, **columns) -> uuid.UUID:
        """Add a note."""
        columns = {"kind": "fact", "extracted_by": "staff", "created_at": JUNE, **columns}
        return insert(self.connection, "memory_notes", customer_id=self.id, text=words, **columns)

    @contextmanager
    def talking(self, at: datetime = NOW) -> Iterator[Bound]:
        """Bind the transaction to this customer, as a session does for each call."""
        options = {"lead_id": self.lead, "actor": "agent", "now": at, "region": "US"}
        # As of a session's call, nothing is left of one that fails.
        with self.connection.begin_nested(), bound(self.connection, SCHEMA, **options) as mine:
            yield mine

    def change(self, statement: str, **values) -> None:
        """Do what somebody else does meanwhile."""
        self.connection.execute(text(statement), values)


def ago(**spans) -> datetime:
    """Return a moment before now."""
    return NOW - timedelta(**spans)


def person_on(connection: Connection):
    """Return what makes customers on a connection, with the role of agents brought first."""
    agent_role.ensure(connection, SCHEMA)
    return partial(Person, connection)
