"""What a backfill reads from and writes to the tables, inside the transaction of its caller."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ARRAY, Connection, Text, Uuid, bindparam, cast, func, select

from backstory.extract.identity import message_id
from backstory.extract.parse import microseconds
from backstory.model import (
    CREATED_BY,
    OWN_LOG,
    SOURCE_BACKFILL,
    Channel,
    ConversationStatus,
    LeadSource,
)
from backstory.store.bulk import copy_rows, field, json_field, uuid_array
from backstory.store.engine import driver_of, translated
from backstory.store.statements import sql
from backstory.store.tables import Base

_SLOT_SHIFT = 6
"""Leads share 1,024 locks, by the first bits of their key: so do partitions of a run share out
leads, and two of its workers, each in a partition of its own, never wait for one another."""


def tune_for_load(connection: Connection) -> None:
    """Set what this transaction needs: no wait for the disk, look-ups by key."""
    connection.execute(sql("tune_for_load"))


def lock_leads(connection: Connection, keys: Iterable[bytes]) -> None:
    """Take turns with other writers of these leads until the transaction ends.

    Once a transaction, before anything else is written in it, and after the lock on linking.
    """
    connection.execute(sql("lock_leads"), {"slots": lock_slots(keys)})


def lock_slots(keys: Iterable[bytes]) -> list[int]:
    """Return the locks of these leads, in the order in which everybody takes them."""
    return sorted({(key[0] << 8 | key[1]) >> _SLOT_SHIFT for key in keys})


def unknown_records(
    connection: Connection, ids: Sequence[bytes], hashes: Sequence[bytes]
) -> dict[int, bool]:
    """Return the places of records not held with this content, and whether held otherwise."""
    rows = connection.execute(
        sql("unknown_records"), {"ids": uuid_array(ids), "hashes": uuid_array(hashes)}
    )
    return {row.place: row.differs for row in rows}


def known_rows(connection: Connection, table: str, ids: Sequence[bytes]) -> set[bytes]:
    """Return those of `ids` that a ledger (a table name of ours) already has."""
    columns = Base.metadata.tables[table].c
    wanted = cast(bindparam("ids", uuid_array(ids), Text), ARRAY(Uuid))
    # Joined, not compared with any of them: on a table that just grew a planner would do that row
    # by row, each with thousands of ids.
    given = select(func.unnest(wanted).label("id")).subquery()
    rows = connection.execute(select(columns.id).join(given, given.c.id == columns.id))
    return {row.id.bytes for row in rows}


class NewLead(NamedTuple):
    """A lead that only the log speaks of, with the customer it gets."""

    key: bytes
    external_id: str
    customer_id: bytes
    first_at: datetime


class NewConversation(NamedTuple):
    """A first conversation to be; `contact` is the messenger id, else the phone."""

    id: bytes
    lead_key: bytes
    customer_id: bytes
    channel: str
    contact: str | None
    stage: str | None
    started_at: datetime | None
    last_at: datetime | None
    last_incoming_at: datetime | None


def add_leads(connection: Connection, leads: Sequence[NewLead], run_id: uuid.UUID) -> None:
    """Insert leads derived from the log, each with a customer of its own."""
    run = field(run_id.bytes)
    with translated():
        copy_rows(
            driver_of(connection),
            "customers",
            ("id", "created_at", "run_id"),
            (_row(field(lead.customer_id), _time(lead.first_at), run) for lead in leads),
        )
        copy_rows(
            driver_of(connection),
            "leads",
            ("id", "external_id", "customer_id", "channel", "source", "created_at", "run_id"),
            (
                _row(
                    field(lead.key),
                    _text(lead.external_id),
                    field(lead.customer_id),
                    _text(Channel.OTHER),
                    _text(LeadSource.DERIVED),
                    _time(lead.first_at),
                    run,
                )
                for lead in leads
            ),
        )


def add_conversations(
    connection: Connection, conversations: Sequence[NewConversation], run_id: uuid.UUID
) -> None:
    """Insert first conversations, open, as of the lead's own data."""
    run = field(run_id.bytes)
    columns = (
        "id", "lead_id", "customer_id", "ordinal", "channel", "external_id", "status",
        "started_at", "last_message_at", "last_incoming_at", "metadata", "run_id",
    )  # fmt: skip
    rows = (
        _row(
            field(new.id),
            field(new.lead_key),
            field(new.customer_id),
            _FIRST,
            _text(new.channel),
            _text(new.contact),
            _text(ConversationStatus.OPEN),
            _time(new.started_at),
            _time(new.last_at),
            _time(new.last_incoming_at),
            json_field(conversation_metadata(new.stage, new.started_at)),
            run,
        )
        for new in conversations
    )
    with translated():
        copy_rows(driver_of(connection), "conversations", columns, rows)


_FIRST = field(bytes(8))


def conversation_metadata(
    stage: str | None, started_at: datetime | None, source: str = SOURCE_BACKFILL
) -> dict[str, Any]:
    """Return what a conversation says of its own making, without any clock."""
    return {
        "source": source,
        "leadStage": stage,
        "createdBy": CREATED_BY,
        "createdAt": started_at,
    }


def touch_conversations(
    connection: Connection,
    touched: Sequence[tuple[bytes, datetime, datetime | None]],
    run_id: uuid.UUID,
) -> None:
    """Move (id, last message, last incoming) on for conversations that were there before."""
    connection.execute(
        sql("touch_conversations"),
        {
            "ids": uuid_array(row[0] for row in touched),
            "last": [row[1] for row in touched],
            "heard": [row[2] for row in touched],
            "run_id": run_id,
        },
    )


def add_quarantine(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert quarantined records, opening again those that a retry had resolved."""
    added = add_rows(connection, "quarantine", rows)
    if added < len(rows):
        values = {
            "ids": uuid_array(row["id"] for row in rows),
            "run_id": rows[0]["run_id"] and uuid.UUID(bytes=rows[0]["run_id"]),
        }
        connection.execute(sql("reopen_quarantine"), values)
    return added


def add_rows(
    connection: Connection,
    table: str,
    rows: Sequence[Mapping[str, Any]],
) -> int:
    """Insert the rows of a ledger that are not there yet (by `id`); return how many were new."""
    if not rows:
        return 0
    known = known_rows(connection, table, [row["id"] for row in rows])
    fresh = {row["id"]: row for row in rows if row["id"] not in known}
    if fresh:
        columns = tuple(rows[0])
        with translated():
            copy_rows(
                driver_of(connection),
                table,
                columns,
                (
                    _row(*(_any(row[column]) for column in columns))
                    for _, row in sorted(fresh.items())
                ),
            )
    return len(fresh)


def _row(*fields: bytes) -> bytes:
    return len(fields).to_bytes(2) + b"".join(fields)


def _text(value: str | None) -> bytes:
    return field(None if value is None else value.encode())


def _time(value: datetime | None) -> bytes:
    return field(None if value is None else microseconds(value).to_bytes(8, signed=True))


def _any(value: Any) -> bytes:
    """Return a field by the type of its value: bytes are ids or bytea, dicts are jsonb."""
    if value is None or isinstance(value, bytes):
        return field(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return field(value.to_bytes(8, signed=True))
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, JsonText):
        return field(b"\x01" + value.written)
    return json_field(value)


class JsonText(NamedTuple):
    """JSON that is written already."""

    written: bytes


def add_own_audit(
    connection: Connection,
    *,
    run_id: uuid.UUID | None,
    action: str,
    payload: Mapping[str, Any],
    subject: object = None,
) -> None:
    """Write what Backstory did into the log `backstory`, once for each action and subject.

    The subject is the run, or whatever else the deed was done to.
    """
    audit_id = f"{action}:{subject or run_id}"
    written = orjson.dumps(payload)
    connection.execute(
        sql("add_own_audit"),
        {
            "id": uuid.UUID(bytes=message_id(OWN_LOG, audit_id)),
            "audit_id": audit_id,
            "action": action,
            "payload": written.decode(),
            "hash": blake2b(written, digest_size=16).digest(),
            "run_id": run_id,
        },
    )
