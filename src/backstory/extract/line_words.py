"""Plain values in words: numbers, texts on one line, days and moments, amounts of money."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from backstory.extract.parse import Unreadable, parse_time

TEXT_CHARS = 120
_MOST_DIGITS = 15
_PLAIN_BELOW = 10**_MOST_DIGITS
_DIGITS_SHOWN = 40
# Seconds, or milliseconds, since 1970 in the years 2001 to 2286.
_EPOCH = ((10**9, 10**10), (10**12, 10**13))
_DAY_CHARS, _MOMENT_CHARS = 10, 40
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?\s?(Z|[+-]\d\d(:?\d\d)?)?", re.ASCII
)
_NUMBER = re.compile(r"[-+]?\d{1,15}(\.\d{1,15})?", re.ASCII)
# As people write amounts: `$1,240.00`.
_THOUSANDS = re.compile(r"-?[$€£]? ?\d{1,3}(,\d{3}){0,3}(\.\d{1,2})?", re.ASCII)
_NO_NUMBER = str.maketrans("", "", "$€£, ")
# A word of a program, as `basic_economy`: it is read with spaces.
_CODE = re.compile(r"[a-z]+(_[a-z]+)+", re.ASCII)
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£"}
# ISO 4217: how many digits the minor unit has, where it is not two.
_DIGITS: Mapping[str, int] = dict.fromkeys(("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND"), 0) | (
    dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "OMR", "TND"), 3)
)


def number(value: float) -> str:
    """Return a number in digits, alike before and after it was kept as jsonb."""
    if -_PLAIN_BELOW < value < _PLAIN_BELOW and value == int(value):
        return str(int(value))
    written = Decimal(value) if isinstance(value, int) else Decimal(repr(value))
    whole = written == written.to_integral_value()
    digits = str(int(written)) if whole else f"{written:f}"
    if len(digits) <= _DIGITS_SHOWN:
        return digits
    return digits[:_DIGITS_SHOWN] + ("…" if whole else "")


def cut(text: str, chars: int) -> str:
    """Return the beginning of a text on one line, with an ellipsis where it was cut."""
    if len(text) <= chars:
        return " ".join(text.split())
    line = " ".join(text[: 4 * chars].split())
    if len(line) <= chars:
        return line if len(text) <= 4 * chars else line + "…"
    return line[: chars - 1].rstrip() + "…"


def scalar(value: Any, chars: int = TEXT_CHARS) -> str:
    """Return a plain value in words: a day or a moment as people write it, yes and no."""
    if isinstance(value, str):
        said = cut(value, chars)
        if "_" in said and _CODE.fullmatch(said):
            return said.replace("_", " ")
        # Nearly every text is no time, and is known for it by one sign.
        return (_moment_in(said) or said) if said[4:5] == "-" else said
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else number(value)


# --- times -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class When:
    """A moment in UTC; `exact`: with a time of day, `zoned`: whose zone was told."""

    at: datetime
    exact: bool
    zoned: bool

    @property
    def day(self) -> str:
        """The day, as `4 June 2026`."""
        return f"{self.at.day} {_MONTHS[self.at.month - 1]} {self.at.year}"

    @property
    def clock(self) -> str:
        """The time of day, as `08:00`."""
        return f"{self.at:%H:%M}"

    @property
    def zone(self) -> str:
        """What is said behind a time of day."""
        return " UTC" if self.zoned else ""

    def __str__(self) -> str:
        return f"{self.day}, {self.clock}{self.zone}" if self.exact else self.day


def when(value: Any) -> When | None:
    """Return the time that a value is: ISO 8601, or seconds or milliseconds since 1970."""
    if isinstance(value, str):
        said = value.strip()
        return _when_in(said) if _DAY_CHARS <= len(said) <= _MOMENT_CHARS else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if any(low <= value < high for low, high in _EPOCH):
        return When(parse_time(value, UTC), exact=True, zoned=True)
    return None


@lru_cache(maxsize=1024)
def _when_in(said: str) -> When | None:
    exact = _DAY.fullmatch(said) is None
    if exact and _MOMENT.fullmatch(said) is None:
        return None
    try:
        at = parse_time(said, UTC)
    except Unreadable:
        return None
    behind = said[16:]
    return When(at, exact, exact and (said[-1] in "Zz" or "+" in behind or "-" in behind))


def _moment_in(said: str) -> str:
    """Return a day or a moment that is written as ISO 8601 in words; "" if it is none."""
    if not (_DAY_CHARS <= len(said) <= _MOMENT_CHARS and said[0].isdecimal()):
        return ""
    found = _when_in(said)
    return "" if found is None else str(found)


# --- money -----------------------------------------------------------------------------------


def as_number(value: Any) -> Decimal | None:
    """Return the number that a value is, or is written as; None for others and huge ones."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, str):
        said = value.strip()
        if _THOUSANDS.fullmatch(said):
            said = said.translate(_NO_NUMBER)
        return Decimal(said) if _NUMBER.fullmatch(said) else None
    if not -_PLAIN_BELOW < value < _PLAIN_BELOW:
        return None
    return Decimal(value) if isinstance(value, int) else Decimal(repr(value))


def in_currency(count: Decimal, currency: str, *, minor: bool) -> str:
    """Return an amount as people write it: `$1,240.00`, `-$5.00`, `99.50 CHF`."""
    digits = _DIGITS.get(currency, 2)
    try:
        whole = (count.scaleb(-digits) if minor else count).quantize(
            Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP
        )
    except InvalidOperation:
        return ""
    written = f"{abs(whole):,}"
    sign = "-" if whole < 0 else ""
    if currency in _SIGNS:
        return f"{sign}{_SIGNS[currency]}{written}"
    return f"{sign}{written} {currency}"
