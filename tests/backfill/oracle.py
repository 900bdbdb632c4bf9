"""What a log means, a second time: written from the rules in words, with nothing of the product's.

Slow and plain on purpose. Where this and the product differ, one of them is wrong.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

ROLES = {
    "customer": "user",
    "user": "user",
    "agent": "assistant",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
}
DEEPEST = 250
LONGEST_EVENT = 1000

# Written times and the moment each names, None for no time at all; no zone means UTC.
TIMES: list[tuple[Any, datetime | None]] = [
    ("2026-01-13T01:41:52.208Z", datetime(2026, 1, 13, 1, 41, 52, 208000, UTC)),
    ("2026-01-13T01:41:52", datetime(2026, 1, 13, 1, 41, 52, 0, UTC)),
    ("2026-01-13 03:41:52+02:00", datetime(2026, 1, 13, 1, 41, 52, 0, UTC)),
    ("2026-01-12T20:41:53-05:00", datetime(2026, 1, 13, 1, 41, 53, 0, UTC)),
    (1768268512, datetime(2026, 1, 13, 1, 41, 52, 0, UTC)),
    (1768268512.5, datetime(2026, 1, 13, 1, 41, 52, 500000, UTC)),
    (1768268512208, datetime(2026, 1, 13, 1, 41, 52, 208000, UTC)),
    (1768268512208123, datetime(2026, 1, 13, 1, 41, 52, 208123, UTC)),
    ("1768268512", datetime(2026, 1, 13, 1, 41, 52, 0, UTC)),
    ("1768268512208", datetime(2026, 1, 13, 1, 41, 52, 208000, UTC)),
    (0, datetime(1970, 1, 1, tzinfo=UTC)),
    (-86400, datetime(1969, 12, 31, tzinfo=UTC)),
    ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, 0, UTC)),
    ("0001-01-01T00:00:00+05:00", None),
    ("9999-12-31T23:59:59-05:00", None),
    ("yesterday", None),
    ("", None),
    ("2026-13-45T99:99:99Z", None),
    ("12026-01-01T00:00:00Z", None),
    (10**400, None),
    (10**30, None),
    (1e300, None),
    (None, None),
    (True, None),
    ([], None),
    ({"time": 1}, None),
]
_MOMENTS = {json.dumps(written): moment for written, moment in TIMES}


class Refused(Exception):
    """The record goes to quarantine."""


@dataclass(frozen=True)
class Said:
    """A message as it should be."""

    audit_id: str
    lead: str
    role: str
    kind: str
    content: str
    created_at: datetime
    replaced: int
    place: int


@dataclass
class Expected:
    """What a run should leave behind, the first time."""

    records: int = 0
    messages: dict[str, Said] = field(default_factory=dict)
    duplicates: int = 0
    conflicts: int = 0
    quarantined: list[bytes] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    replaced: int = 0
    repeated_keys: int = 0
    leads_heard: set[str] = field(default_factory=set)

    @property
    def conversations(self) -> dict[str, list[Said]]:
        """Return the messages of each lead in order: time, then source, then id."""
        found: dict[str, list[Said]] = {}
        for said in sorted(
            self.messages.values(), key=lambda each: (each.created_at, each.place, each.audit_id)
        ):
            found.setdefault(said.lead, []).append(said)
        return found


def expect(lines: Iterable[bytes], *, leads: set[str] | None, erased: set[str]) -> Expected:
    """Return what comes of `lines`; `leads` None means that the log itself tells of them."""
    expected = Expected()
    contents: dict[str, str] = {}
    for place, raw in enumerate(lines, 1):
        line = raw.removesuffix(b"\r")
        if not line.strip():
            continue
        expected.records += 1
        try:
            found = _read(line)
        except Refused:
            if _names(line, erased):
                expected.skipped["erased"] += 1
            else:
                expected.quarantined.append(line)
            continue
        expected.replaced += found["replaced"]
        expected.repeated_keys += found["repeated"]
        reason = _left_aside(found, leads, erased)
        if reason is not None:
            expected.skipped[reason] += 1
            continue
        content = json.dumps(
            [found["lead"], found["actor"], found["action"], found["payload"]], sort_keys=True
        )
        expected.leads_heard.add(found["lead"])
        first = contents.setdefault(found["id"], content)
        if found["id"] not in expected.messages:
            kind, said = _text(found["payload"], found["action"])
            expected.messages[found["id"]] = Said(
                found["id"], found["lead"], ROLES[found["actor"].strip().lower()], kind, said,
                found["created_at"], found["replaced"], place,
            )  # fmt: skip
        elif first == content:
            expected.duplicates += 1
        else:
            expected.conflicts += 1
    return expected


def _names(line: bytes, leads: set[str]) -> bool:
    """Tell whether a line that cannot be read still says, wherever in it, that it is of a lead."""
    said = re.findall(rb'"lead_?[iI]d"\s*:\s*"([^"]*)"', line)
    return any(each.decode(errors="replace") in leads for each in said)


def _left_aside(found: Mapping[str, Any], leads: set[str] | None, erased: set[str]) -> str | None:
    lead, payload = found["lead"], found["payload"]
    if lead is None:
        return "no_lead"
    if lead in erased:
        return "erased"
    if leads is not None and lead not in leads:
        return "lead_not_found"
    if found["actor"].strip().lower() not in ROLES:
        return "unknown_actor"
    blank = isinstance(payload, str) and not payload.strip()
    if blank or payload is None or payload in ([], {}):
        return "no_text"
    return None


def _text(payload: Any, action: str) -> tuple[str, str]:
    if isinstance(payload, dict):
        spoken = ["body"] if action in ("message_sent", "message_received") else []
        for key in ["text", "message", "content", *spoken]:
            if isinstance(payload.get(key), str) and payload[key].strip():
                return "text", payload[key]
    event = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "event", event if len(event) <= LONGEST_EVENT else event[: LONGEST_EVENT - 1] + "…"


def _read(line: bytes) -> dict[str, Any]:
    repeated = 0

    def no_constant(word: str) -> None:
        raise Refused(word)

    def finite(digits: str) -> float:
        if math.isinf(float(digits)):
            raise Refused(digits)
        return float(digits)

    def last_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        repeated += len(pairs) - len(dict(pairs))
        return dict(pairs)

    try:
        record = json.loads(
            line.decode("utf-8"),
            parse_constant=no_constant,
            parse_float=finite,
            object_pairs_hook=last_wins,
        )
    except (ValueError, RecursionError) as bad:
        raise Refused(str(bad)[:80]) from bad
    if not isinstance(record, dict) or _depth(record) > DEEPEST:
        raise Refused(repr(line[:80]))
    replaced: list[str] = []
    record = _storable(record, replaced)
    audit_id = _id(record.get("id"))
    created = record.get("created_at")
    moment = _moment(record.get("createdAt") if created is None else created)
    if audit_id is None or moment is None:
        raise Refused(repr(line[:80]))
    lead = record.get("lead_id")
    return {
        "id": audit_id,
        "lead": _id(record.get("leadId") if lead is None else lead),
        "actor": _word(record.get("actor")),
        "action": _word(record.get("action")),
        "payload": record.get("payload"),
        "created_at": moment,
        "replaced": len(replaced),
        "repeated": repeated,
    }


def _depth(value: Any) -> int:
    deepest, waiting = 0, [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        deepest = max(deepest, depth)
        children = each.values() if isinstance(each, dict) else each
        if isinstance(each, dict | list):
            waiting += [(child, depth + 1) for child in children]
    return deepest


def _storable(value: Any, replaced: list[str]) -> Any:
    if isinstance(value, dict):
        return {_storable(k, replaced): _storable(v, replaced) for k, v in value.items()}
    if isinstance(value, list):
        return [_storable(each, replaced) for each in value]
    if not isinstance(value, str):
        return value
    kept = []
    for letter in value:
        bad = letter == "\0" or "\ud800" <= letter <= "\udfff"
        kept.append("\ufffd" if bad else letter)
        if bad:
            replaced.append(letter)
    return "".join(kept)


def _id(value: Any) -> str | None:
    if isinstance(value, str):
        return value if value.strip() else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _word(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _moment(value: Any) -> datetime | None:
    return _MOMENTS.get(json.dumps(value))


def expect_leads(lines: Iterable[bytes]) -> tuple[dict[str, datetime | None], int]:
    """Return the listed leads with the time of each, and how many lines are no lead."""
    found: dict[str, datetime | None] = {}
    unreadable = 0
    for raw in lines:
        line = raw.removesuffix(b"\r")
        if not line.strip():
            continue
        try:
            name, moment = _lead(line)
        except Refused:
            unreadable += 1
        else:
            found.setdefault(name, moment)
    return found, unreadable


def _lead(line: bytes) -> tuple[str, datetime | None]:
    def no_constant(word: str) -> None:
        raise Refused(word)

    try:
        lead = json.loads(line.decode("utf-8"), parse_constant=no_constant)
    except (ValueError, RecursionError) as bad:
        raise Refused(str(bad)[:80]) from bad
    if not isinstance(lead, dict) or _depth(lead) > DEEPEST:
        raise Refused(repr(line[:80]))
    name, created = _id(lead.get("id")), lead.get("created_at")
    named = created is not None and created != ""
    fields = [lead.get(field) for field in ("phone", "email", "messenger_psid", "name", "stage")]
    odd = any(isinstance(each, list | dict | bool) for each in fields)
    if name is None or odd or (named and _moment(created) is None):
        raise Refused(repr(line[:80]))
    return name, _moment(created) if named else None
