"""Addresses of the bound customer: one row for each normalized form."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal
from uuid import UUID, uuid4

from backstory.errors import Refused
from backstory.store.binding import Bound

_WORD = re.compile(r"\w+")
# Words that mail services write in many ways; what is not here is compared as it is.
_SAME = {
    "apartment": "apt",
    "avenue": "ave",
    "boulevard": "blvd",
    "circle": "cir",
    "court": "ct",
    "drive": "dr",
    "east": "e",
    "floor": "fl",
    "highway": "hwy",
    "lane": "ln",
    "north": "n",
    "parkway": "pkwy",
    "place": "pl",
    "road": "rd",
    "south": "s",
    "square": "sq",
    "street": "st",
    "suite": "ste",
    "terrace": "ter",
    "west": "w",
}
_LONGEST_KEY_BYTES = 512


@dataclass(frozen=True)
class Given:
    """An address as it was told; None is not given."""

    line1: str
    line2: str | None = None
    city: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country: str | None = None
    access_notes: str | None = None
    label: str | None = None
    is_primary: bool | None = None


@dataclass(frozen=True)
class Address:
    """An address as it is stored; `line` is all of it in one line."""

    id: UUID
    line: str
    label: str | None
    access_notes: str | None
    is_primary: bool


Outcome = Literal["created", "updated", "duplicate"]


def add(bound: Bound, given: Given) -> tuple[Outcome, Address]:
    """Keep an address, or add to the one of the same normalized form what is new about it."""
    key = {"normalized_key": normalized_key(given)}
    known = next(iter(bound.rows("address_by_key", key)), None)
    if given.is_primary and not (known and known.is_primary):
        bound.later("demote_addresses", {})
    if known is None:
        return "created", _insert(bound, given, key)
    wanted: dict[str, Any] = {
        "label": given.label or known.label,
        "access_notes": given.access_notes or known.access_notes,
        "is_primary": known.is_primary if given.is_primary is None else given.is_primary,
    }
    if wanted == {name: getattr(known, name) for name in wanted}:
        return "duplicate", _address(known)
    bound.later("update_address", wanted | {"id": known.id})
    return "updated", replace(_address(known), **wanted)


def _insert(bound: Bound, given: Given, key: dict[str, str]) -> Address:
    made = Address(
        id=uuid4(),
        line=one_line(given),
        label=given.label,
        access_notes=given.access_notes,
        is_primary=bool(given.is_primary),
    )
    values = {"id": made.id, "raw_text": made.line, "is_primary": made.is_primary}
    bound.later("insert_address", asdict(given) | values | key | {"created_at": bound.now})
    return made


def find(bound: Bound, address_id: UUID) -> Address:
    """Return an address of the bound customer; raise Refused as not found for any other."""
    return found(bound.rows("address_by_id", {"id": address_id}), address_id)


def found(rows: Sequence[Any], address_id: UUID) -> Address:
    """Return what `address_by_id` gave as an address; raise Refused as not found for nothing."""
    if not rows:
        raise Refused(
            "not_found",
            f"There is no address {address_id}.",
            next_step="Use an address_id from add_address or from a confirmed candidate.",
        )
    return _address(rows[0])


def normalized_key(given: Given) -> str:
    """Return what is equal for an address however it is written; hashed where it is very long.

    Raises Refused where there is no word in the street.
    """
    street = _plain(f"{given.line1} {given.line2 or ''}")
    if not street:
        raise Refused(
            "invalid_arguments",
            "line1: there is no street in it.",
            next_step="Ask for street and number, as in 12 Oak St.",
        )
    places = (given.city, given.region, given.postal_code, given.country)
    key = "|".join((street, *(_plain(part or "") for part in places)))
    if len(key.encode()) > _LONGEST_KEY_BYTES:
        return "blake2b:" + hashlib.blake2b(key.encode(), digest_size=32).hexdigest()
    return key


def _plain(part: str) -> str:
    folded = unicodedata.normalize("NFKD", part).casefold()
    bare = "".join(each for each in folded if not unicodedata.combining(each))
    return " ".join(_SAME.get(word, word) for word in _WORD.findall(bare))


def one_line(row: Any) -> str:
    """Return an address in one line, of anything that has its fields."""
    place = " ".join(filter(None, (row.region, row.postal_code)))
    return ", ".join(filter(None, (row.line1, row.line2, row.city, place, row.country)))


def _address(row: Any) -> Address:
    return Address(row.id, one_line(row), row.label, row.access_notes, row.is_primary)
