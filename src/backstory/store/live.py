"""What live writing reads from and writes to the tables, inside the transaction of its caller."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection

from backstory.extract.identity import conversation_id, message_id
from backstory.extract.judge import Taken
from backstory.extract.leads import LeadRecord
from backstory.extract.parse import from_microseconds
from backstory.model import CREATED_BY, OWN_LOG, SOURCE_LIVE
from backstory.store.backfill import conversation_metadata, lock_slots
from backstory.store.bulk import uuid_array
from backstory.store.intake import as_json, listed
from backstory.store.pipeline import Step, pipelined
from backstory.store.statements import sql


class Thread(NamedTuple):
    """A conversation as far as it decides which records belong to it."""

    id: bytes
    ordinal: int
    closed_at: datetime | None


@dataclass
class LiveLead:
    """A lead and its conversations that were open at some time; no `external_id`: unknown."""

    key: bytes
    erased: bool
    external_id: str | None
    stage: str | None
    created_at: datetime | None
    newest: int | None
    threads: list[Thread] = field(default_factory=list)

    @property
    def known(self) -> bool:
        """Whether the lead is in our tables."""
        return self.external_id is not None

    def thread_at(self, moment: datetime) -> Thread | None:
        """Return the conversation that was open at a moment: the first not closed before it."""
        for thread in self.threads:
            if thread.closed_at is None or moment <= thread.closed_at:
                return thread
        return None

    @property
    def open(self) -> Thread | None:
        """The conversation that goes on."""
        return next((thread for thread in self.threads if thread.closed_at is None), None)

    def begin(self) -> Thread:
        """Return, and from now on count, the conversation that begins where none goes on."""
        self.newest = 0 if self.newest is None else self.newest + 1
        thread = Thread(conversation_id(str(self.external_id), self.newest), self.newest, None)
        self.threads.append(thread)
        return thread


class Held(NamedTuple):
    """A record that the log holds: whether with this content, and where its message is."""

    same: bool
    conversation_id: uuid.UUID | None
    customer_id: uuid.UUID | None


@dataclass(frozen=True)
class Known:
    """What the database knows of a batch: its leads by key, its records by their place."""

    leads: dict[bytes, LiveLead]
    held: dict[int, Held]


def look_up(
    connection: Connection,
    keys: Iterable[bytes],
    records: Mapping[int, Taken],
    *,
    since: datetime,
    locking: bool,
) -> Known:
    """Return what is known of leads and records, of which `since` is the earliest moment.

    With `locking` writers of these leads take turns from here to the end of the transaction.
    """
    keys = list(keys)
    steps: list[Step] = [
        ("live_facts", {"keys": uuid_array(keys), "since": since}),
        (
            "held_records",
            {
                "ids": uuid_array(each.record_id for each in records.values()),
                "hashes": uuid_array(each.content_hash for each in records.values()),
            },
        ),
    ]
    if locking:
        steps.insert(0, ("lock_live_leads", {"slots": lock_slots(keys)}))
    *_, leads, held = pipelined(connection, steps)
    places = list(records)
    return Known(
        _leads(leads),
        {places[row.place]: Held(row.same, row.conversation_id, row.customer_id) for row in held},
    )


def _leads(rows: Iterable[Any]) -> dict[bytes, LiveLead]:
    found: dict[bytes, LiveLead] = {}
    for row in rows:
        lead = found.get(row.key)
        if lead is None:
            lead = found[row.key] = LiveLead(
                row.key, row.erased, row.external_id, row.stage, row.created_at, row.newest
            )
        if row.conversation_id is not None:
            lead.threads.append(Thread(row.conversation_id, row.ordinal, row.closed_at))
    return found


def differing(connection: Connection, said: Mapping[int, LeadRecord]) -> set[int]:
    """Return for which of these leads, by place, what is said of them is not what we hold."""
    places = list(said)
    values = {"leads": as_json(map(listed, said.values())), "sparing": True}
    return {places[row.place] for row in connection.execute(sql("compare_leads"), values)}


class NewThread(NamedTuple):
    """A conversation to be opened with a known lead."""

    lead: LiveLead
    thread: Thread
    started_at: datetime | None


def begin_conversations(connection: Connection, new: Iterable[NewThread]) -> None:
    """Open conversations; whoever does holds the locks of their leads."""
    rows = [
        {
            "id": thread.id.hex(),
            "lead_id": lead.key.hex(),
            "ordinal": thread.ordinal,
            "started_at": started_at,
            "metadata": conversation_metadata(lead.stage, started_at, SOURCE_LIVE),
        }
        for lead, thread, started_at in new
    ]
    values = {"conversations": orjson.dumps(rows).decode()}
    connection.execute(sql("begin_conversations"), values)


class Placed(NamedTuple):
    """A record with its conversation, and its position where its source told one."""

    record: Taken
    conversation_id: bytes
    seq: int | None


def append_and_commit(
    connection: Connection, log: str, placed: Sequence[Placed], *, line_rules: str
) -> Mapping[bytes, uuid.UUID]:
    """Write records and their messages, and commit; return the customers of the new ones, by id.

    A record that somebody else wrote just now, under another lead, is not among them. Lines are
    stamped with the name of the rules that rendered them.
    """
    rows = [_as_row(place, each) for place, each in enumerate(placed)]
    records = orjson.dumps(rows).decode()
    values = {"log": log, "records": records, "line_rules": line_rules}
    [written] = pipelined(connection, [("append_records", values)], commit=True)
    return {row.id: row.customer_id for row in written}


def _as_row(place: int, placed: Placed) -> dict[str, Any]:
    record = placed.record
    name, who, what = record.audit_id.decode(), record.actor.decode(), record.action.decode()
    details: dict[str, Any] = {
        "auditId": name,
        "auditAction": what,
        "auditActor": who,
        "source": SOURCE_LIVE,
        "createdBy": CREATED_BY,
    }
    if record.replaced:
        details["replacedCharacters"] = record.replaced
    return {
        "place": place,
        "id": record.record_id.hex(),
        "audit_id": name,
        "lead_id": record.lead_key.hex(),
        "lead": record.lead_external_id.decode(),
        "actor": who,
        "action": what,
        "payload": orjson.Fragment(record.payload),
        "hash": record.content_hash.hex(),
        "seq": placed.seq,
        "created_at": from_microseconds(record.created_us),
        "role": record.role.decode(),
        "kind": record.kind.decode(),
        "author": _text(record.author),
        "content": record.content.decode(),
        "attachment_text": _text(record.attachment_text),
        "line": _text(record.line),
        "metadata": details,
        "conversation_id": placed.conversation_id.hex(),
    }


def _text(written: bytes | None) -> str | None:
    return None if written is None else written.decode()


def end_conversation(
    connection: Connection, conversation: uuid.UUID, closed_at: datetime
) -> datetime | None:
    """Close a conversation; return None, and change nothing, if it is closed already."""
    values = {"id": conversation, "closed_at": closed_at}
    found: datetime | None = connection.execute(sql("close_conversation"), values).scalar()
    return found


FOLLOW_ACTION = "follow"


def followed_to(connection: Connection, log: str, name: str) -> dict[str, Any]:
    """Return how far the source `name` of a log has been followed; empty at the beginning."""
    values = {"id": _followed(log, name)[0]}
    return connection.execute(sql("followed_to"), values).scalar() or {}


def note_followed(connection: Connection, log: str, name: str, cursor: Mapping[str, Any]) -> None:
    """Keep how far a source of a log has been followed."""
    key, audit_id = _followed(log, name)
    written = orjson.dumps({"log": log, "source": name, "cursor": cursor})
    connection.execute(
        sql("note_followed"),
        {
            "id": key,
            "audit_id": audit_id,
            "action": FOLLOW_ACTION,
            "payload": written.decode(),
            "hash": blake2b(written, digest_size=16).digest(),
        },
    )


def _followed(log: str, name: str) -> tuple[uuid.UUID, str]:
    audit_id = f"{FOLLOW_ACTION}:{log}:{name}"
    return uuid.UUID(bytes=message_id(OWN_LOG, audit_id)), audit_id
