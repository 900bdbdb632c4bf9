"""Judges one raw record: what becomes of it, under which id, in which words; pure.

Precedence: parse, lead, erased, actor, text. A record that passes may become a message; any other
is left with its reason. The backfill and live writing judge by the same rules.
"""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import orjson

from backstory.audit.event import AuditEvent
from backstory.audit.rows import Oversized
from backstory.extract.erased import leads_named
from backstory.extract.identity import lead_id, message_ids
from backstory.extract.line_rules import LineRules, our_rules
from backstory.extract.messages import content_digest, content_hash, project, read_event, role_of
from backstory.extract.parse import Unreadable, canonical_json, from_microseconds
from backstory.model import MessageKind, Role, SkipReason

_WRITTEN: dict[str, bytes] = {word: word.encode() for word in (*Role, *MessageKind)}
_CACHED_LEADS = 16_384

# A `Taken` as it is passed around by the million: the same fields in a plain tuple.
Record = tuple[Any, ...]


class Taken(NamedTuple):
    """A record that may become a message; sorted as tuples these are in conversation order.

    Texts are UTF-8 bytes, ready for COPY; `created_us` counts microseconds since 2000. `line` is
    empty where no rule fits, None where nothing is to be rendered.
    """

    lead_key: bytes
    created_us: int
    seq: int
    record_id: bytes
    content_hash: bytes
    audit_id: bytes
    lead_external_id: bytes
    actor: bytes
    action: bytes
    payload: bytes
    role: bytes
    kind: bytes
    author: bytes | None
    content: bytes
    attachment_text: bytes | None
    replaced: int
    line: bytes | None

    @property
    def moment(self) -> datetime:
        """When it happened."""
        return from_microseconds(self.created_us)


class Left(NamedTuple):
    """A record that cannot become a message: skipped (`raw` is None) or quarantined."""

    digest: bytes
    seq: int
    reason: str
    message: str
    raw: bytes | None
    audit_id: str | None
    lead_external_id: str | None
    actor: str | None
    processed: bool


class Keys(Protocol):
    """The keys of some leads."""

    def __contains__(self, key: bytes, /) -> bool:
        """Tell whether a lead is among them."""
        ...


class Judge:
    """Decides what a raw record is; holds what the decision needs, and counts warnings.

    `columns` gives the source's name for a field of ours; `unknown_actor` is the role of actors we
    do not know (None: skipped); `known` are the keys of leads that a record may name (None: any),
    `erased` those it may not; `lines` renders events (None: by our rules). `replaced` counts
    characters that could not be stored, `repeated_keys` those that were overwritten.
    """

    def __init__(
        self,
        log: str,
        columns: Mapping[str, str],
        *,
        assume_tz: tzinfo,
        unknown_actor: Role | None = None,
        known: Keys | None = None,
        erased: Keys = frozenset(),
        lines: LineRules | None = None,
    ) -> None:
        self.replaced = 0
        self.repeated_keys = 0
        self._columns = columns
        self._zone = assume_tz
        self._unknown = unknown_actor
        self._known = known
        self._erased = erased
        self._line = (lines or our_rules()).line
        self._lead_key = lru_cache(maxsize=_CACHED_LEADS)(lead_id)
        self._message_id = message_ids(log)

    def __call__(self, seq: int, raw: bytes | Oversized) -> Record | Left:
        """Return the record as it will be written: the fields of `Taken`, or why it is left."""
        try:
            if isinstance(raw, Oversized):
                raise _too_large(raw)
            return self.judge(seq, raw, read_event(raw, self._columns, self._zone))
        except Unreadable as reason:
            left = unreadable(seq, raw, reason)
            return skipped_unread(left) if self._names_erased(left.raw or b"") else left

    def _names_erased(self, raw: bytes) -> bool:
        """Tell whether a record that cannot be read says that it is of an erased lead."""
        return bool(self._erased) and any(
            key in self._erased for key in leads_named(raw, self._columns)
        )

    def judge(self, seq: int, raw: bytes, event: AuditEvent) -> Record | Left:
        """Return what becomes of a record that was parsed; raise Unreadable if it cannot be."""
        audit_id, lead, actor, action, payload, created_us, replaced, repeated_keys = event
        if replaced or repeated_keys:
            self.replaced += replaced
            self.repeated_keys += repeated_keys
        if lead is None:
            return skipped(SkipReason.NO_LEAD, seq, raw, event)
        key = self._lead_key(lead)
        if key in self._erased:
            return skipped(SkipReason.ERASED, seq, raw, event)
        if self._known is not None and key not in self._known:
            return skipped(SkipReason.LEAD_NOT_FOUND, seq, raw, event)
        role = role_of(actor) or self._unknown
        if role is None:
            return skipped(SkipReason.UNKNOWN_ACTOR, seq, raw, event)
        message = project(event, role)
        if message is None:
            return skipped(SkipReason.NO_TEXT, seq, raw, event)
        _, kind, author, content, attachment_text = message
        line = self._line(event, message)
        written = canonical_json(payload)
        # In the order of `Taken`; a plain tuple, because a million of these are made.
        return (
            key,
            created_us,
            seq,
            self._message_id(audit_id),
            content_hash(event, written),
            audit_id.encode(),
            lead.encode(),
            actor.encode(),
            action.encode(),
            written,
            _WRITTEN[role],
            _WRITTEN[kind],
            None if author is None else author.encode(),
            content.encode(),
            None if attachment_text is None else attachment_text.encode(),
            replaced,
            None if line is None else line.encode(),
        )


def skipped(reason: SkipReason, seq: int, raw: bytes, event: AuditEvent) -> Left:
    """Return a record that is left aside for a reason."""
    return Left(
        content_digest(raw),
        seq,
        reason.value,
        "",
        None,
        event.audit_id,
        event.lead_id,
        event.actor,
        processed=reason is SkipReason.NO_TEXT,
    )


def unreadable(seq: int, raw: bytes | Oversized, reason: Unreadable) -> Left:
    """Return a record that cannot be taken, with its bytes or the first of them."""
    head = raw if isinstance(raw, bytes) else raw.head
    digest = content_digest(head)
    return Left(digest, seq, reason.code, str(reason), head, None, None, None, processed=False)


def skipped_unread(left: Left) -> Left:
    """Return a record that cannot be read and names an erased lead: nothing of it is kept."""
    return left._replace(reason=SkipReason.ERASED.value, message="", raw=None)


def _too_large(raw: Oversized) -> Unreadable:
    return Unreadable(
        "too_large", f"A record of {raw.size} bytes is beyond the limit; its beginning is kept."
    )


def refused(record: Record, code: str, message: str) -> Left:
    """Return a record that the database would not take, as if it had been left when read.

    `code` is the SQLSTATE of the refusal.
    """
    taken = Taken(*record)
    raw = _as_line(taken)
    return Left(
        content_digest(raw),
        taken.seq,
        f"refused_{code}",
        message,
        raw,
        taken.audit_id.decode(),
        taken.lead_external_id.decode(),
        taken.actor.decode(),
        processed=False,
    )


def _as_line(taken: Taken) -> bytes:
    """Return a record as the line it could have been: what `quarantine retry` reads again."""
    fields = {
        "id": taken.audit_id.decode(),
        "lead_id": taken.lead_external_id.decode(),
        "actor": taken.actor.decode(),
        "action": taken.action.decode(),
        "payload": orjson.Fragment(taken.payload),
        "created_at": from_microseconds(taken.created_us).isoformat(),
    }
    return orjson.dumps(fields)
