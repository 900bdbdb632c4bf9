"""Reads a live event: what the backfill would make of it, and whom its transport says it is of."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from backstory.audit.event import AuditEvent
from backstory.audit.rows import Oversized, bounded
from backstory.errors import UsageError
from backstory.extract.customers import HUB_LIMIT
from backstory.extract.erased import leads_named
from backstory.extract.identity import lead_id
from backstory.extract.judge import (
    Judge,
    Left,
    Record,
    Taken,
    skipped,
    skipped_unread,
    unreadable,
)
from backstory.extract.leads import DEFAULT_REGION, LeadRecord, as_lead
from backstory.extract.line_rules import LineRules, our_rules
from backstory.extract.messages import as_event
from backstory.extract.parse import Unreadable, from_microseconds, strict_json
from backstory.model import OWN_LOG, Role, SkipReason

DEFAULT_LOG = "audit"
PLACE = "live"
# An event as a line of JSON, or as the object in it.
Event = Mapping[str, Any] | bytes | str


@dataclass(frozen=True)
class LiveOptions:
    """How events are read: the same words as a backfill's options, with the same meaning.

    `unknown_actor` is the role of actors we do not know, None to skip what they do. With
    `trusting_leads` an event's `lead` holds verified identities; without, it is not looked at.
    `lines` are the rules by which events are rendered, None for ours.
    """

    log: str = DEFAULT_LOG
    unknown_actor: Role | None = None
    assume_tz: str = "UTC"
    region: str = DEFAULT_REGION
    hub_limit: int = HUB_LIMIT
    columns: Mapping[str, str] = field(default_factory=dict)
    trusting_leads: bool = True
    lines: LineRules | None = None

    def __post_init__(self) -> None:
        if self.log == OWN_LOG or not self.log.strip():
            raise UsageError(f"The log cannot be {self.log!r}: choose another name for your log.")

    @property
    def rules(self) -> LineRules:
        """The rules by which events are rendered."""
        return self.lines or our_rules()

    @property
    def for_retry(self) -> dict[str, Any]:
        """What a retry of a quarantined event must know of how it was read."""
        return {
            "assume_tz": self.assume_tz,
            "unknown_actor": "skip" if self.unknown_actor is None else self.unknown_actor.value,
            "region": self.region,
            "listed": False,
        }


@dataclass(frozen=True, slots=True)
class Reading:
    """An event that was read and judged; `lead` is what its transport says of the lead.

    `event` is None for what cannot be read, `key`, that of its lead, also for what names none;
    `named` are the keys of all leads that are named by what cannot be read.
    `seq` is its position in its source, None where nobody knows one; `place` says it to people.
    """

    judged: Taken | Left
    raw: bytes
    event: AuditEvent | None
    key: bytes | None
    lead: LeadRecord | None
    seq: int | None
    place: str
    named: frozenset[bytes] = frozenset()

    @property
    def keys(self) -> frozenset[bytes]:
        """The keys of the leads that may have been erased: its own, or all that it names."""
        return self.named if self.key is None else frozenset({self.key})

    @property
    def moment(self) -> datetime | None:
        """When it happened, None for what cannot be read."""
        return None if self.event is None else from_microseconds(self.event.created_us)

    def without_lead(self) -> "Reading":
        """Return the same of a lead that was erased: nothing of it is kept."""
        if self.event is not None:
            left = skipped(SkipReason.ERASED, 0, self.raw, self.event)
        else:
            assert isinstance(self.judged, Left)  # noqa: S101 - what cannot be read was left
            left = skipped_unread(self.judged)
        return replace(self, judged=left, key=None, lead=None, named=frozenset())


class EventReader:
    """Reads events of one log; many threads may share it."""

    def __init__(self, options: LiveOptions) -> None:
        self._options = options
        self._zone = ZoneInfo(options.assume_tz)
        self._judge = Judge(
            options.log,
            options.columns,
            assume_tz=self._zone,
            unknown_actor=options.unknown_actor,
            lines=options.rules,
        )

    def __call__(
        self, event: Event | Oversized, *, seq: int | None = None, place: str = PLACE
    ) -> Reading:
        """Return what an event is; raise UsageError if it is no JSON at all."""
        raw = event if isinstance(event, Oversized) else bounded(as_line(event))
        if isinstance(raw, Oversized):
            return self._unread(_judged(self._judge(0, raw)), raw.head, seq, place)
        try:
            parsed = strict_json(raw)
            audit = as_event(parsed, self._options.columns, self._zone)
            lead = self._lead(parsed[0], audit)
            judged = _judged(self._judge.judge(seq or 0, raw, audit))
        except Unreadable as reason:
            return self._unread(unreadable(0, raw, reason), raw, seq, place)
        key = None if audit.lead_id is None else lead_id(audit.lead_id)
        return Reading(judged, raw, audit, key, lead, seq, place)

    def _unread(self, left: Taken | Left, raw: bytes, seq: int | None, place: str) -> Reading:
        """Return what cannot be read; whether a lead that it names was erased is looked up."""
        named = frozenset(leads_named(raw, self._options.columns))
        return Reading(left, raw, None, None, None, seq, place, named)

    def _lead(self, record: Mapping[str, Any], event: AuditEvent) -> LeadRecord | None:
        said = record.get("lead") if self._options.trusting_leads else None
        if said is None or event.lead_id is None:
            return None
        if type(said) is not dict:
            raise Unreadable("bad_lead", "The event's lead is not an object.")
        if str(said.get("id", event.lead_id)) != event.lead_id:
            raise Unreadable("bad_lead", "The event's lead has another id than its lead_id.")
        return as_lead(
            {**said, "id": event.lead_id},
            columns={},
            assume_tz=self._zone,
            region=self._options.region,
        )


def _judged(judged: Record | Left) -> Taken | Left:
    return judged if isinstance(judged, Left) else Taken(*judged)


def as_line(event: Event) -> bytes:
    """Return an event as one line of JSON, as it came where it came as a line."""
    if isinstance(event, bytes):
        return event.rstrip(b"\r\n")
    if isinstance(event, str):
        # A lone surrogate is no text: whoever reads the line says so.
        return event.rstrip("\r\n").encode(errors="surrogatepass")
    try:
        return orjson.dumps(event)
    except TypeError:
        # Whole numbers beyond 64 bits, and surrogates: only the standard library writes them.
        return _slowly(event)


def _slowly(event: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(event, default=_written).encode()
    except (TypeError, ValueError, RecursionError) as refused:
        raise UsageError(f"An event is JSON, and this one is not: {refused}.") from refused


def _written(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON value")
