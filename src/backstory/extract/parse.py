"""One line of JSON, read strictly: what PostgreSQL or a reader could not take is told apart here.

The quick road is orjson. Whatever it refuses, and the few things it lets pass that we must see
(NUL, integers beyond 64 bits, repeated keys), goes down the slow road of the standard library.
"""

import json
import math
import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import orjson

# orjson writes at most 254 levels, and PostgreSQL's own limit lies above.
MAX_DEPTH = 250
# Every digit becomes 0, so that many in a row are found by a plain search, not by a slow pattern.
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
# The quick reader makes a float of an integer outside -2**63..2**64-1; all have 19 digits or more.
_NINETEEN_DIGITS = b"0" * 19
# A key may stand apart from its colon.
_KEY_APART = re.compile(rb'"[ \t\r]+:')
_REPLACEMENT = "\ufffd"
_PG_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Plain numbers are seconds, milliseconds or microseconds since 1970, told apart by their size.
_SECONDS_BELOW = 1e11
_MILLISECONDS_BELOW = 1e14
_MICROSECONDS_BELOW = 1e17
_SHORTEST_EPOCH_TEXT = 9
_FLOATS_ARE_EXACT_BELOW = 2**53
_TEXT_SHOWN = 80
_EPOCH_TEXT = re.compile(r"-?[0-9]+(?:\.[0-9]*)?")
# What ISO 8601 or its writers have and Python has not: the zone as a word, and a leap second.
_UTC_WORD = re.compile(r" ?(?:utc|gmt|z)", re.IGNORECASE)
_LEAP_SECOND = re.compile(r"(.*[Tt ][0-9]{2}:[0-9]{2}):60(?![0-9])(.*)")


class Unreadable(Exception):
    """A record that cannot be taken: `code` for machines, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


# A parsed object, how many characters were replaced in it, and how many keys were repeated.
Json = tuple[dict[str, Any], int, int]


def strict_json(line: bytes) -> Json:
    """Return the object in `line`; raise Unreadable with the reason why it cannot be taken."""
    if b"\\u0000" in line or _NINETEEN_DIGITS in line.translate(_DIGITS_TO_ZERO):
        return _slowly(line)
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _slowly(line)
    if type(value) is not dict:
        raise Unreadable("not_an_object", "The line is JSON, but not an object.")
    if line.count(b"{") + line.count(b"[") > MAX_DEPTH and _is_too_deep(value):
        raise _too_deep()
    # Every key ends in `":`; more of them in the text than in the object may be repeated keys.
    keys = line.count(b'":')
    payload = value.get("payload")
    flat = len(value) + (len(payload) if type(payload) is dict else 0)
    apart = b" :" in line or b"\t:" in line or b"\r:" in line
    if (keys != flat and keys != _count_keys(value)) or (apart and _KEY_APART.search(line)):
        return _slowly(line)
    return value, 0, 0


def _is_too_deep(value: Any) -> bool:
    """Look level by level: the quick reader takes what our own recursion could not walk."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for each in level
            if type(each) in (dict, list)
            for child in (each.values() if type(each) is dict else each)
        ]
        if not level:
            return False
    return True


def _too_deep() -> Unreadable:
    return Unreadable("too_deep", f"Nested deeper than {MAX_DEPTH} levels.")


def _count_keys(value: Any) -> int:
    if type(value) is dict:
        return len(value) + sum(
            _count_keys(child) for child in value.values() if type(child) in (dict, list)
        )
    return sum(_count_keys(child) for child in value if type(child) in (dict, list))


def _slowly(line: bytes) -> Json:
    repeated = 0

    def from_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        found = dict(pairs)
        repeated += len(pairs) - len(found)
        return found

    try:
        # Files that were joined have a byte order mark where the second one began.
        text = line.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as bad:
        raise Unreadable("bad_utf8", f"Not UTF-8 at byte {bad.start} of the line.") from bad
    try:
        value = json.loads(
            text,
            object_pairs_hook=from_pairs,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_bounded,
        )
    except json.JSONDecodeError as bad:
        said = bad.msg.removesuffix(" at")
        raise Unreadable("bad_json", f"Not JSON: {said} at character {bad.pos}.") from bad
    except RecursionError as bad:
        raise _too_deep() from bad
    if type(value) is not dict:
        raise Unreadable("not_an_object", "The line is JSON, but not an object.")
    cleaned, replaced = _clean(value, 0)
    return cleaned, replaced, repeated


def _no_constant(word: str) -> float:
    raise Unreadable("bad_number", f"{word} is no JSON number.")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Unreadable("bad_number", f"The number {digits[:40]} is out of range.")
    return number


def _bounded(digits: str) -> int:
    try:
        return int(digits)
    except ValueError as bad:
        raise Unreadable("bad_number", f"A number of {len(digits)} digits is too long.") from bad


def _clean(value: Any, depth: int) -> tuple[Any, int]:
    """Replace what PostgreSQL cannot hold (NUL, lone surrogates) and count it."""
    if depth > MAX_DEPTH:
        raise _too_deep()
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        pairs = [_clean(child, depth + 1) for child in value]
        return [child for child, _ in pairs], sum(count for _, count in pairs)
    if isinstance(value, dict):
        cleaned: dict[str, Any] = {}
        total = 0
        for key, child in value.items():
            name, in_key = clean_text(key)
            cleaned[name], in_child = _clean(child, depth + 1)
            total += in_key + in_child
        return cleaned, total
    return value, 0


def clean_text(text: str) -> tuple[str, int]:
    """Join surrogate pairs, put U+FFFD for NUL and lone surrogates; return how many."""
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    cleaned = joined.replace("\0", _REPLACEMENT)
    return cleaned, cleaned.count(_REPLACEMENT) - text.count(_REPLACEMENT)


def canonical_json(value: Any) -> bytes:
    """Return compact JSON with sorted keys; raise Unreadable if it is nested too deeply."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as refused:
        if "ecursion" in str(refused):
            raise _too_deep() from refused
    # Integers beyond 64 bits: only the standard library writes them in full.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def whole_number(number: float) -> int | None:
    """Return the integer that a float stands for, as pandas writes them beside nulls: 7.0 is 7."""
    return int(number) if number.is_integer() and abs(number) < _FLOATS_ARE_EXACT_BELOW else None


def not_json(field: str, text: str) -> str:
    """Return the sentence about a cell that should hold JSON and holds `text`."""
    shown = text if len(text) <= _TEXT_SHOWN else f"{text[:_TEXT_SHOWN]}…"
    return f"The {field} is no JSON: {shown}"


def parse_time(value: Any, assume_tz: tzinfo) -> datetime:
    """Return the moment that `value` names, in UTC; raise Unreadable(`bad_time`).

    ISO 8601 text (without a zone it is read in `assume_tz`), or seconds, milliseconds or
    microseconds since 1970 as a number or as digits.
    """
    try:
        if type(value) is str:
            text = value.strip()
            if len(text) >= _SHORTEST_EPOCH_TEXT and _EPOCH_TEXT.fullmatch(text):
                return _from_epoch(float(text))
            moment = _from_iso(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=assume_tz)
            # In UTC, where the years 1 and 9999 may be left by an offset.
            return moment.astimezone(UTC)
        if type(value) in (int, float):
            return _from_epoch(value)
    except (ValueError, OverflowError) as bad:
        raise _bad_time(value) from bad
    raise _bad_time(value)


def _from_iso(text: str) -> datetime:
    """Read ISO 8601; a leap second is the one after it, as PostgreSQL has it."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        word = _UTC_WORD.search(text, max(len(text) - 4, 0))
        plain = f"{text[: word.start()]}+00:00" if word and word.end() == len(text) else text
        leap = _LEAP_SECOND.fullmatch(plain)
        if leap is None:
            return datetime.fromisoformat(plain)
        return datetime.fromisoformat(f"{leap[1]}:59{leap[2]}") + timedelta(seconds=1)


def _bad_time(value: Any) -> Unreadable:
    return Unreadable(
        "bad_time", f"{str(value)[:60]!r} is no time: use ISO 8601 or seconds since 1970."
    )


def _from_epoch(number: float) -> datetime:
    if abs(number) < _SECONDS_BELOW:
        return _UNIX_EPOCH + timedelta(seconds=number)
    if abs(number) < _MILLISECONDS_BELOW:
        return _UNIX_EPOCH + timedelta(milliseconds=number)
    if abs(number) < _MICROSECONDS_BELOW:
        return _UNIX_EPOCH + timedelta(microseconds=number)
    raise OverflowError


def microseconds(moment: datetime) -> int:
    """Return microseconds since 2000-01-01 UTC: PostgreSQL's own count, exact."""
    since = moment - _PG_EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_microseconds(count: int) -> datetime:
    """Return the UTC moment of PostgreSQL's count; the inverse of `microseconds`."""
    return _PG_EPOCH + count * _MICROSECOND
