"""From an audit record to a message: the rules of role, text, kind, author and attachments."""

import hashlib
import re
from collections.abc import Mapping
from datetime import tzinfo
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from backstory.audit.event import AuditEvent
from backstory.extract.parse import (
    Json,
    Unreadable,
    canonical_json,
    microseconds,
    not_json,
    parse_time,
    strict_json,
    whole_number,
)
from backstory.model import MessageKind, Role

MAX_EVENT_CHARS = 1000
_ID_SHOWN = 40
HASH_BYTES = 16

ROLES: dict[str, Role] = {
    "customer": Role.USER,
    "user": Role.USER,
    "agent": Role.ASSISTANT,
    "assistant": Role.ASSISTANT,
    "system": Role.SYSTEM,
    "tool": Role.TOOL,
}
_TEXT_KEYS = ("text", "message", "content")
_BODY_ACTIONS = frozenset({"message_sent", "message_received"})
_AUTHOR_KEYS = ("author", "author_name", "sender_name", "from_name", "sender", "from", "speaker")
# What a payload may hold besides its text; most hold nothing of it.
_EXTRAS = frozenset({*_AUTHOR_KEYS, "attachments", "caption"})
_CAPTION_KEYS = ("caption", "description", "alt", "alt_text", "title")
# How a source of rows says that it could not make a record of one.
_UNREADABLE = frozenset({"payload_unreadable", "row_unreadable"})
# Floats that PostgreSQL prints otherwise than Python: exponents, and a negative zero.
_UNPLAIN = re.compile(rb"[0-9]e[0-9+-]|-0\.0(?![0-9])")


class Projection(NamedTuple):
    """What a record says, as a message."""

    role: Role
    kind: MessageKind
    author: str | None
    content: str
    attachment_text: str | None


def read_event(line: bytes, columns: Mapping[str, str], assume_tz: tzinfo) -> AuditEvent:
    """Parse one line of a log; `columns` gives the source's name for a field of ours.

    Raises Unreadable with a code: what JSON forbids, no id, or no readable time.
    """
    return as_event(strict_json(line), columns, assume_tz)


def as_event(json: Json, columns: Mapping[str, str], assume_tz: tzinfo) -> AuditEvent:
    """Return the event in a line that was parsed; see `read_event`."""
    record, replaced, repeated = json
    if columns:
        record = {**record, **{ours: record.get(theirs) for ours, theirs in columns.items()}}
    if not _UNREADABLE.isdisjoint(record):
        raise _unreadable(record)
    get = record.get
    audit_id, lead, actor, action = get("id"), get("lead_id"), get("actor"), get("action")
    created_at = get("created_at")
    if type(audit_id) is not str or not audit_id.strip():
        audit_id = _as_id(audit_id)
        if audit_id is None:
            raise _no_id(get("id"))
    created_at = get("createdAt") if created_at is None else created_at
    if created_at is None:
        raise Unreadable(
            "bad_time", "The record has no time: name its column with --map created_at=column."
        )
    if type(lead) is not str or not lead.strip():
        lead = _as_id(get("leadId") if lead is None else lead)
    return AuditEvent(
        audit_id,
        lead,
        actor if type(actor) is str else _as_word(actor),
        action if type(action) is str else _as_word(action),
        get("payload"),
        microseconds(parse_time(created_at, assume_tz)),
        replaced,
        repeated,
    )


def _unreadable(record: dict[str, Any]) -> Unreadable:
    """Return what a source of rows found wrong with one of them."""
    (code, *_) = sorted(_UNREADABLE & record.keys())
    found = str(record[code])[:200]
    return Unreadable(code, not_json("payload", found) if code == "payload_unreadable" else found)


def _no_id(found: Any) -> Unreadable:
    if found is None or type(found) is str:
        return Unreadable("no_id", "The record has no id: name its column with --map id=column.")
    written = canonical_json(found).decode()
    shown = written if len(written) <= _ID_SHOWN else f"{written[:_ID_SHOWN]}…"
    return Unreadable("no_id", f"The record's id {shown} is neither text nor a whole number.")


def _as_id(value: Any) -> str | None:
    if type(value) is str:
        return value if value and not value.isspace() else None
    if type(value) is float and whole_number(value) is not None:
        return str(whole_number(value))
    return str(value) if type(value) is int else None


def _as_word(value: Any) -> str:
    return "" if value is None else str(value)


def role_of(actor: str) -> Role | None:
    """Return who speaks, whatever the case and the space around the word."""
    return ROLES.get(actor) or ROLES.get(actor.strip().lower())


def content_hash(event: AuditEvent, payload_json: bytes) -> bytes:
    """Return 16 bytes that are equal when lead, actor, action and payload are."""
    who = orjson.dumps((event.lead_id, event.actor, event.action))
    return hashlib.blake2b(who + payload_json, digest_size=HASH_BYTES).digest()


def content_digest(raw: bytes) -> bytes:
    """Return the 16 bytes that stand for a record's raw content in the ledgers."""
    return hashlib.blake2b(raw, digest_size=HASH_BYTES).digest()


def project(event: AuditEvent, role: Role) -> Projection | None:
    """Return the message in an event, or None if there is nothing in it to say."""
    payload = event.payload
    if type(payload) is not dict:
        if payload is None or payload in ("", []) or (type(payload) is str and payload.isspace()):
            return None
        return Projection(role, MessageKind.EVENT, None, event_text(payload), None)
    if not payload:
        return None
    text = _first_text(payload, event.action)
    author = attachments = None
    if not _EXTRAS.isdisjoint(payload):
        author, attachments = _author(payload), _attachment_text(payload)
    if text is None:
        return Projection(role, MessageKind.EVENT, author, event_text(payload), attachments)
    return Projection(role, MessageKind.TEXT, author, text, attachments)


def _first_text(payload: dict[str, Any], action: str) -> str | None:
    for key in _TEXT_KEYS:
        value = payload.get(key)
        if type(value) is str and value and not value.isspace():
            return value
    if action in _BODY_ACTIONS:
        value = payload.get("body")
        if type(value) is str and value and not value.isspace():
            return value
    return None


def event_text(payload: Any) -> str:
    """Return a payload as compact JSON with sorted keys, at most 1,000 characters.

    The keys are sorted because jsonb keeps no order: the text must be the same when it is made
    again from what we store.
    """
    written = canonical_json(payload)
    if _UNPLAIN.search(written) is not None:
        written = canonical_json(_plain(payload))
    text = written.decode()
    return text if len(text) <= MAX_EVENT_CHARS else text[: MAX_EVENT_CHARS - 1] + "…"


def _plain(value: Any) -> Any:
    """Write floats as PostgreSQL's numeric does: no exponent, no negative zero."""
    if type(value) is float:
        number = Decimal(repr(value))
        whole = number == number.to_integral_value() and "e" in repr(value)
        return int(number) if whole else value or 0.0
    if type(value) is dict:
        return {key: _plain(child) for key, child in value.items()}
    if type(value) is list:
        return [_plain(child) for child in value]
    return value


def _author(payload: dict[str, Any]) -> str | None:
    for key in _AUTHOR_KEYS:
        value = payload.get(key)
        if type(value) is dict:
            value = value.get("name")
        if type(value) is str and value and not value.isspace():
            return value.strip()
    return None


def _attachment_text(payload: dict[str, Any]) -> str | None:
    found = [payload.get("caption")]
    attachments = payload.get("attachments")
    if type(attachments) is list:
        for attachment in attachments:
            if type(attachment) is dict:
                found.extend(attachment.get(key) for key in _CAPTION_KEYS)
    lines = [text.strip() for text in found if type(text) is str and not text.isspace()]
    return "\n".join(line for line in dict.fromkeys(lines) if line) or None
