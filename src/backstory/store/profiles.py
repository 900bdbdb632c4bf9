"""The profile of the bound customer: what they have told about themselves."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import uuid4

from backstory.model import IdentityKind
from backstory.store.binding import Bound


@dataclass(frozen=True)
class Profile:
    """What a customer's row says of them, in the order of the statement `profile`.

    `phone_e164` stands beside the text it was given as.
    """

    display_name: str | None
    phone_raw: str | None
    phone_e164: str | None
    email: str | None
    company_name: str | None
    preferred_channel: str | None
    language: str | None

    @property
    def holds_anything(self) -> bool:
        """Whether anything is known at all."""
        return any(value is not None for value in asdict(self).values())


def read(bound: Bound) -> Profile:
    """Return the bound customer's profile."""
    [row] = bound.rows("profile", {})
    return Profile(*row)


def upsert(
    bound: Bound, given: Mapping[str, Any], *, cleared: Collection[str]
) -> tuple[Profile, Profile]:
    """Write what is given (None: not given), empty what is cleared; return before and after.

    A phone or e-mail given here is a claim: it is kept as such and never links anybody.
    """
    before = read(bound)
    changes = dict.fromkeys(cleared)
    if "phone_e164" in changes:
        changes["phone_raw"] = None
    changes |= {name: value for name, value in given.items() if value is not None}
    if changes.get("phone_e164") == before.phone_e164:
        # The same number typed otherwise changes nothing.
        changes.pop("phone_raw", None)
    after = replace(before, **changes)
    if after != before:
        bound.later("write_profile", asdict(after))
    _claim(bound, IdentityKind.PHONE, given.get("phone_e164"))
    _claim(bound, IdentityKind.EMAIL, given.get("email"))
    return before, after


def _claim(bound: Bound, kind: IdentityKind, value: str | None) -> None:
    if value is not None:
        bound.later("add_claim", {"id": uuid4(), "kind": kind, "value": value})
