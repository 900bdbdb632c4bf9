"""Reads what a business keeps beside a lead (`state_metadata`): an address, and whatever else.

Its shape is the business's own: an address is looked for where most put it, the rest is told as it
is, but for what opens a door.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_ADDRESS_KEYS = ("address", "service_address", "serviceAddress")
_STREET = (
    ("line1", "address1", "address_line1", "addressLine1", "street", "street1"),
    ("line2", "address2", "address_line2", "addressLine2", "unit"),
    ("city", "town"),
)
_PLACE = (
    ("region", "state", "province"),
    ("postal_code", "postalCode", "zip", "zip_code", "zipCode", "postcode"),
)
_COUNTRY = (("country", "country_code", "countryCode"),)
_WORD = re.compile(r"[^\W_]+")
# Where a word of a name ends: at a hump, at a number, at what stands between words.
_BETWEEN = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"
    r"|[\s_\-\u2010-\u2015]+"
)
_OPENS_DOORS = frozenset(
    {"access", "alarm", "code", "codes", "combination", "combo", "entry", "gate", "key", "keypad"}
    | {"keys", "lock", "lockbox", "passcode", "password", "passwords", "pin", "pwd", "secret"}
    | {"token"}
    # What pays, or stands for a person, is as little to be told before a yes.
    | {"card", "cvc", "cvv", "iban", "ssn"}
)
# A code of these opens nothing, and neither does the width of a gate.
_HARMLESS = frozenset(
    {"area", "color", "colour", "country", "currency", "discount", "height", "postal", "promo"}
    | {"width", "zip"}
)
_MOST_VALUES = 60
_VALUE_CHARS = 200


@dataclass(frozen=True)
class LeadDetails:
    """What is kept beside a lead, in one line each; empty where there is nothing."""

    address: str
    rest: str
    access: str


def read_details(metadata: Any) -> LeadDetails:
    """Return what a lead's metadata says; anything but an object says nothing."""
    if not isinstance(metadata, Mapping):
        return LeadDetails("", "", "")
    key = next((each for each in _ADDRESS_KEYS if metadata.get(each)), None)
    open_, held = list[str](), list[str]()
    others = {name: metadata[name] for name in metadata if name != key}
    for path, value, opens in _values(others, (), opens=False):
        # A name that holds its parent's says enough: job_number, not job job_number.
        name = " ".join(p for p, inner in zip(path, (*path[1:], ""), strict=True) if p not in inner)
        (held if opens else open_).append(f"{name}: {value}" if name else value)
    return LeadDetails(
        _address(metadata.get(key)) if key else "",
        "; ".join(open_[:_MOST_VALUES]),
        "; ".join(held[:_MOST_VALUES]),
    )


def words_of(name: str) -> set[str]:
    """Return the words of a name, small: those of `gateCode`, `gate_code`, `Gate code`."""
    return set(_WORD.findall(in_words(name)))


def in_words(name: str) -> str:
    """Return a name as it is said: `gate width` for `gateWidth`, `gate_width`, `GATE-WIDTH`."""
    return " ".join(_BETWEEN.sub(" ", name).split()).lower()


def opens_doors(name: str) -> bool:
    """Tell whether what goes by this name may open a door."""
    words = words_of(name)
    return bool(words & _OPENS_DOORS) and not words & _HARMLESS


def _address(value: Any) -> str:
    if isinstance(value, str):
        return value[:_VALUE_CHARS]
    if not isinstance(value, Mapping):
        return ""
    street, place, country = (
        [_first(value, names) for names in part] for part in (_STREET, _PLACE, _COUNTRY)
    )
    return ", ".join(filter(None, (*street, " ".join(filter(None, place)), *country)))


def _first(value: Mapping[str, Any], names: tuple[str, ...]) -> str:
    found = next((value[name] for name in names if value.get(name)), "")
    return str(found)[:_VALUE_CHARS] if isinstance(found, str | int) else ""


def _values(
    value: Any, path: tuple[str, ...], *, opens: bool
) -> Iterator[tuple[tuple[str, ...], str, bool]]:
    """Yield each plain value or list of them with its path, and whether it may open a door."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            tells = opens or opens_doors(name)
            yield from _values(inner, (*path, name[:_VALUE_CHARS]), opens=tells)
    elif isinstance(value, list):
        plain = [str(each) for each in value if not isinstance(each, list | Mapping) and each]
        if plain:
            yield path, ", ".join(plain)[:_VALUE_CHARS], opens
        for each in value:
            if isinstance(each, list | Mapping):
                yield from _values(each, path, opens=opens)
    elif value not in (None, ""):
        yield path, str(value)[:_VALUE_CHARS], opens
