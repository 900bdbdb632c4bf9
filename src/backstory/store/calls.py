"""The ledger of tool calls: what was asked, by whom, how it ended; written by the owner."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
from sqlalchemy import Connection

from backstory.extract.identity import lead_id, message_id
from backstory.extract.parse import clean_text
from backstory.model import OWN_LOG
from backstory.store.pipeline import Step, pipelined, rows

CALLED = "tool_called"
REFUSED = "tool_refused"


@dataclass(frozen=True)
class Call:
    """A call as it is written down; `answer` is kept under an idempotency key only.

    Without a lead it is one of the staff's: then its arguments are told by the ids among them
    alone, so that an erasure, which finds ids, leaves no trace of a name that was looked for.
    """

    tool: str
    actor: str
    lead_id: UUID | None
    arguments: Mapping[str, Any]
    outcome: str
    refused: bool
    latency_ms: int
    now: datetime
    idempotency_key: str | None = None
    answer: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Earlier:
    """What was answered before under the same key, and to which arguments."""

    arguments_hash: bytes
    answer: dict[str, Any]


def arguments_hash(arguments: Mapping[str, Any]) -> bytes:
    """Return 16 bytes that are equal when the arguments are, in whatever order."""
    written = json.dumps(arguments, sort_keys=True, default=repr)
    return hashlib.blake2b(written.encode(), digest_size=16).digest()


def earlier(connection: Connection, *, lead: UUID, tool: str, key: str) -> Earlier | None:
    """Wait for calls under the same key, then return what the first of them was answered."""
    asked = {"lead_id": lead, "tool": tool, "idempotency_key": key}
    # Two statements: what the second sees was committed while the first waited.
    steps = [("lock_idempotency_key", asked), ("call_under_key", asked)]
    _, found = pipelined(connection, steps)
    return Earlier(bytes(found[0].arguments_hash), found[0].answer) if found else None


def record(connection: Connection, call: Call) -> None:
    """Write a call down in the open transaction, as the owner, and end the transaction."""
    pipelined(connection, [recording(call)], commit=True)


def recording(call: Call) -> Step:
    """Return the step that writes a call down, under a new id; for the owner to execute."""
    call_id = uuid4()
    payload = {
        "tool": call.tool,
        "call": str(call_id),
        "outcome": call.outcome,
        "ids": _named_ids(call.arguments),
    }
    written = orjson.dumps(payload)
    return (
        "record_call",
        {
            "id": call_id,
            "record_id": UUID(bytes=message_id(OWN_LOG, str(call_id))),
            "log": OWN_LOG,
            "audit_id": str(call_id),
            "lead_id": call.lead_id,
            "actor": call.actor,
            "action": REFUSED if call.refused else CALLED,
            "payload": written.decode(),
            "payload_hash": hashlib.blake2b(written, digest_size=16).digest(),
            "tool": call.tool,
            "arguments_hash": arguments_hash(call.arguments if call.lead_id else {}),
            "idempotency_key": call.idempotency_key,
            "outcome": call.outcome,
            "answer": None if call.answer is None else orjson.dumps(call.answer).decode(),
            "latency_ms": call.latency_ms,
            "created_at": call.now,
        },
    )


def find_lead(connection: Connection, reference: str) -> UUID | None:
    """Return the lead that the business calls so, else the lead with this id of ours, else None."""
    ids = [UUID(bytes=lead_id(clean_text(reference)[0]))]
    with suppress(ValueError):
        ids.append(UUID(reference))
    found = rows(connection, "lead_of_session", {"ids": ids})
    return UUID(str(found[0].id)) if found else None


# Ids that a call named are kept, so that a try at another's can be seen; never its words.
_LONGEST_ID = 100
_MOST_IDS = 20


def _named_ids(arguments: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        if name.endswith("_id") and isinstance(value, str):
            found[name] = clean_text(value)[0][:_LONGEST_ID]
        elif name.endswith("_ids") and isinstance(value, list):
            texts = [each for each in value if isinstance(each, str)]
            found[name] = [clean_text(each)[0][:_LONGEST_ID] for each in texts[:_MOST_IDS]]
    return found
