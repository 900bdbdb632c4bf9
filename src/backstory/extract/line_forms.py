"""The forms in which a line tells a value: words, money, days and times, counts, pairs, answers."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from backstory.extract.line_manner import MINOR, NUMBERS, Key, Manner
from backstory.extract.line_values import (
    MOST_KEYS,
    Found,
    Payload,
    Value,
    as_words,
    by_words,
    is_there,
)
from backstory.extract.line_words import (
    TEXT_CHARS,
    as_number,
    cut,
    in_currency,
    number,
    scalar,
    when,
)

_ANSWER_CHARS = 240
_PAIR_CHARS = 60
_JSON_CHARS = 65_536
_MOST_LISTED = 3
_MOST_PAIRS = 6
_DEEPEST = 3
_CODE_OF_A_CURRENCY = 3
_STARTS = ("start", "starts_at", "start_at", "start_time", "from", "begin", "begins_at")
_ENDS = ("end", "ends_at", "end_at", "end_time", "to", "until")
_NAMES = ("name", "title", "label", "full_name", "display_name", "summary")
_OF_A_PERSON = ("first_name", "middle_name", "last_name")
_DAYS = Value(
    tuple((each,) for each in ("date", "day", "appointment_date", "service_date", "visit_date")),
    deep=True,
)
_CLOCK = re.compile(r"\d{1,2}(:\d\d){0,2} ?([ap]\.?m\.?)?", re.ASCII | re.IGNORECASE)
_YES_OR_NO = frozenset({"true", "false", "yes", "no"})


class Telling(NamedTuple):
    """What a form knows beside its value: the payload, and the word behind the form's name."""

    payload: Payload
    manner: Manner
    word: str = ""
    end: Value | None = None

    @property
    def currency(self) -> str:
        """What amounts of this payload are in."""
        return _currency_of(self.payload) or self.manner.currency


def _currency_of(payload: Payload) -> str:
    """Return what may be a code of ISO 4217 in a payload; "" without one."""
    said = payload.top.get("currency") or payload.top.get("currency_code")
    is_code = isinstance(said, str) and len(said) == _CODE_OF_A_CURRENCY and said.isalpha()
    return str(said).upper() if is_code else ""


# --- whatever it is -------------------------------------------------------------------------


def text(found: Found, telling: Telling) -> str:
    """Tell a value in words, whatever it is; lists and objects are shortened."""
    return _inline(found.value, telling.manner, 0) if is_there(found.value) else ""


def name(found: Found, telling: Telling) -> str:
    """Tell a name as it is written."""
    value = found.value
    return cut(value, TEXT_CHARS) if isinstance(value, str) else text(found, telling)


def _inline(value: Any, manner: Manner, depth: int) -> str:
    if type(value) is list:
        return _listed(value, manner, depth)
    if type(value) is dict:
        return _named(value, manner, depth)
    return scalar(value)


def _listed(values: list[Any], manner: Manner, depth: int, *, between: str = ", ") -> str:
    if depth >= _DEEPEST:
        return ""
    told = [_inline(each, manner, depth + 1) for each in values[:_MOST_LISTED]]
    shown = [each for each in told if each]
    more = len(values) - _MOST_LISTED
    return between.join(shown) + (f" and {more} more" if more > 0 and shown else "")


def _named(value: Mapping[str, Any], manner: Manner, depth: int) -> str:
    """Return what an object is called; without a name, the first that it says."""
    if depth >= _DEEPEST or len(value) > MOST_KEYS:
        return ""
    known = by_words(value)
    for key in _name_keys(known):
        if is_there(known[key]):
            return _inline(known[key], manner, depth + 1)
    person = [scalar(known[each]) for each in _OF_A_PERSON if isinstance(known.get(each), str)]
    if person:
        return " ".join(person)
    told = (_inline(inner, manner, depth + 1) for *_, inner in _ranked(known, manner))
    return ", ".join(_first(told, _MOST_LISTED))


def _name_keys(known: Mapping[str, Any]) -> Iterator[str]:
    yield from (key for key in _NAMES if key in known)
    if known.keys().isdisjoint(_OF_A_PERSON):
        yield from sorted(key for key in known if key.endswith("_name"))
        yield from sorted(key for key in known if key.endswith(NUMBERS))


def _first(told: Iterable[str], most: int) -> list[str]:
    found: list[str] = []
    for each in told:
        if each:
            found.append(each)
            if len(found) == most:
                break
    return found


def _ranked(known: Mapping[str, Any], manner: Manner) -> list[tuple[int, str, Key, Any]]:
    """Return what an object says, what matters first, without what nobody wants to read."""
    kept = []
    for name, value in known.items():
        key = manner.key(name)
        if not key.hidden and is_there(value):
            last = value is True or value is False
            if type(value) is str and value.lower() in _YES_OR_NO:
                last = True
            kept.append((manner.last if last else key.rank, name, key, value))
    # By rank and name: no two of an object are the same in both.
    kept.sort()
    return kept


# --- money -----------------------------------------------------------------------------------


def money(found: Found, telling: Telling) -> str:
    """Tell an amount; under a key that says cents it counts those. `positive`: only above zero."""
    minor = not MINOR.isdisjoint(found.key.split("_"))
    return _amount(found.value, telling, minor=minor)


def cents(found: Found, telling: Telling) -> str:
    """Tell an amount of minor units, whatever its key is called."""
    return _amount(found.value, telling, minor=True)


def _amount(value: Any, telling: Telling, *, minor: bool) -> str:
    currency = telling.currency
    if type(value) is dict:
        inside = Payload(value)
        held = _AMOUNT.find(inside)
        if held is None:
            return ""
        minor = minor or not MINOR.isdisjoint(held.key.split("_"))
        value = held.value
        currency = _currency_of(inside) or currency
    count = as_number(value)
    if count is None:
        return scalar(value) if type(value) is str else ""
    if telling.word == "positive" and count <= 0:
        return ""
    return in_currency(count, currency, minor=minor)


_AMOUNT = Value(
    tuple((each,) for each in ("amount_cents", "amount", "total_cents", "total", "value", "price"))
)


# --- times -----------------------------------------------------------------------------------


def _begin(value: Any) -> Any:
    """Return when a stretch of time begins, or the value itself if it is none."""
    return _one_of(value, _STARTS) if type(value) is dict else value


def _one_of(value: Mapping[str, Any], names: Iterable[str]) -> Any:
    known = by_words(value)
    return next((known[name] for name in names if is_there(known.get(name))), None)


def day(found: Found, telling: Telling) -> str:
    """Tell the day of a time, in UTC: `4 June 2026`; what is no time is told as it is."""
    value = _begin(found.value)
    at = when(value)
    return at.day if at else text(Found(found.key, value), telling)


def time(found: Found, telling: Telling) -> str:
    """Tell a day and, if there is one, the time of it: `4 June 2026, 08:00 UTC`."""
    value = _begin(found.value)
    at = when(value)
    return str(at) if at else text(Found(found.key, value), telling)


def _on_its_day(clock: Any, telling: Telling) -> str:
    """Return a time of day with the day that the payload has elsewhere; "" where it is none."""
    if not (isinstance(clock, str) and _CLOCK.fullmatch(clock.strip())):
        return ""
    held = _DAYS.find(telling.payload)
    at = when(held.value) if held else None
    return f"{at.day}, {clock.strip()}" if at else ""


def span(found: Found, telling: Telling) -> str:
    """Tell from when to when; the end is beside the beginning, or is the value of that name."""
    begin, end = found.value, None
    if type(begin) is dict:
        begin, end = _one_of(begin, _STARTS), _one_of(begin, _ENDS)
    elif telling.end is not None:
        held = telling.end.find(telling.payload)
        end = held.value if held else None
    first, last = when(begin), when(end)
    if first is None or last is None:
        one = _on_its_day(begin, telling) or time(Found(found.key, begin), telling)
        other = scalar(end) if isinstance(end, str) else ""
        return f"{one} to {other}" if one and other else one
    if not (first.exact and last.exact):
        return first.day if first.day == last.day else f"{first.day} to {last.day}"
    if first.day == last.day:
        return f"{first.day}, {first.clock} to {last.clock}{last.zone}"
    return f"{first} to {last}"


# --- what is many ----------------------------------------------------------------------------


def count(found: Found, telling: Telling) -> str:
    """Tell how many there are: `2 items`, by the word behind the form, `item` or `box/boxes`."""
    value = found.value
    # jsonb gives the whole number that a float was read as back as an integer: both are told.
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not (whole or isinstance(value, list | dict)):
        return ""
    many = len(value) if isinstance(value, list | dict) else value
    if not telling.word:
        return number(many)
    one, _, several = telling.word.partition("/")
    return f"{number(many)} {one if many == 1 else several or one + 's'}"


def pairs(found: Found, telling: Telling) -> str:
    """Tell what an object says, key by key, what matters first: `order W123, status shipped`."""
    value = _parsed(found.value)
    if type(value) is not dict:
        return "" if not found.key else text(Found(found.key, value), telling)
    most = int(telling.word) if telling.word.isdecimal() else _MOST_PAIRS
    return _pairs(value, telling, most)


def _pairs(value: Mapping[str, Any], telling: Telling, most: int) -> str:
    if len(value) > MOST_KEYS:
        return ""
    ranked = _ranked(by_words(value), telling.manner)
    return ", ".join(_first((_pair(key, inner, telling) for *_, key, inner in ranked), most))


def _pair(key: Key, value: Any, telling: Telling) -> str:
    told = ""
    if key.money and (type(value) is dict or as_number(value) is not None):
        told = _amount(value, telling, minor=key.minor)
    if told:
        return f"{key.label} {told}"
    if _is_many(value):
        label = key.label.removesuffix("s") if len(value) == 1 else key.label
        return f"{len(value)} {label}"
    if isinstance(value, list | dict):
        told = cut(_inline(value, telling.manner, 1), _PAIR_CHARS)
    else:
        at = when(value) if key.timed and type(value) is not str else None
        told = str(at) if at else scalar(value, _PAIR_CHARS)
    return f"{key.label} {told}" if told else ""


def _is_many(value: Any) -> bool:
    """Tell whether a value holds several things of one kind, which are counted."""
    if type(value) is dict:
        return bool(value) and all(type(each) is dict for each in value.values())
    return type(value) is list and bool(value) and type(value[0]) is dict


def _parsed(value: Any) -> Any:
    """Return what a text holds if it is an object or a list of JSON; else the value itself."""
    if type(value) is str and value[:_JSON_CHARS].lstrip()[:1] in ("{", "["):
        try:
            return orjson.loads(value) if len(value) <= _JSON_CHARS else value
        except orjson.JSONDecodeError:
            return value
    return value


def answer(found: Found, telling: Telling) -> str:
    """Tell what came back: the one thing that was found, or how many and which."""
    return cut(_answer(_parsed(found.value), telling), _ANSWER_CHARS)


def _answer(value: Any, telling: Telling) -> str:
    if type(value) is dict:
        return _pairs(value, telling, _MOST_PAIRS) or ("nothing" if not value else "")
    if type(value) is not list:
        return scalar(value, _ANSWER_CHARS) or "nothing"
    if not value:
        return "nothing"
    if all(type(each) is dict and each.get("type") == "text" for each in value[:_MOST_LISTED]):
        # What is said in blocks, as models and MCP give it.
        said = " ".join(str(each.get("text", "")) for each in value[:_MOST_LISTED])
        inner = _parsed(said)
        return said if inner is said else _answer(inner, telling)
    if len(value) == 1:
        inner = value[0]
        return _answer(_listed(inner, telling.manner, 1) if type(inner) is list else inner, telling)
    names = _listed(value, telling.manner, 0, between="; ")
    return f"{len(value)} results" + (f": {names}" if names else "")


Form = Callable[[Found, Telling], str]
FORMS: Mapping[str, Form] = {
    "text": text,
    "name": name,
    "money": money,
    "cents": cents,
    "day": day,
    "time": time,
    "span": span,
    "count": count,
    "pairs": pairs,
    "answer": answer,
}


def in_words(action: str) -> str:
    """Return what happened in words, as a sentence begins: `quote_created` is `Quote created`."""
    words = as_words(action).replace("_", " ")
    return words[:1].upper() + words[1:]
