"""One line of a list of leads as a record whose identities are keys or nothing.

What a business types into a phone or e-mail field is not always one. Only a phone that could be
dialled, an e-mail address that could be written to, and an id that is no placeholder may tell that
two leads are the same person; anything else would link strangers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from backstory.extract.parse import (
    Unreadable,
    not_json,
    parse_time,
    strict_json,
    whole_number,
)
from backstory.model import Channel, IdentityKind

DEFAULT_REGION = "US"
# What `customer_identities` indexes; a longer id is kept on its lead and links nothing.
MAX_KEY_BYTES = 1024

Key = tuple[IdentityKind, str]

_CHANNELS = {channel.value: channel for channel in Channel}
_ALIASES = {
    "messenger_psid": "messengerPsid",
    "state_metadata": "stateMetadata",
    "created_at": "createdAt",
}
_PLACEHOLDERS = frozenset(
    {"-", "--", "?", "n/a", "nil", "none", "null", "tbd", "undefined", "unknown"}
)
# An address like none@none.com: nobody's, given where the form wanted one.
_NOBODY = frozenset({"email", "na", "no", "noemail", "none", "null", "test", "unknown"})
_COUNTED = frozenset({"0123456789", "1234567890"})
_FEWEST_SAME_DIGITS = 5
_CACHED = 1 << 10

# Exactly what the library makes of these forms, forty times faster (a test compares them).
_NORTH_AMERICAN = re.compile(
    r"(\+?1[-. ]?)?(?:\(([2-9][0-9]{2})\) ?|([2-9][0-9]{2})[-. ]?)([0-9]{3})[-. ]?([0-9]{4})"
)
_PLAIN_LOCAL_PART = re.compile(r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*", re.ASCII)
_LONGEST_LOCAL_PART = 64
_LONGEST_ADDRESS = 254


@dataclass(frozen=True, slots=True)
class LeadRecord:
    """A lead as it was listed; `phone_e164`, `email` and `messenger_psid` are keys or None."""

    external_id: str
    channel: Channel = Channel.OTHER
    name: str | None = None
    messenger_psid: str | None = None
    phone_raw: str | None = None
    phone_e164: str | None = None
    email: str | None = None
    stage: str | None = None
    state_metadata: Any = None
    created_at: datetime | None = None

    @property
    def keys(self) -> tuple[Key, ...]:
        """What this lead shares with the other leads of the same person."""
        return identity_keys(self.channel, self.messenger_psid, self.phone_e164, self.email)


def identity_keys(
    channel: str, psid: str | None, phone: str | None, email: str | None
) -> tuple[Key, ...]:
    """Return the keys of a lead; a messenger id counts within its channel."""
    found: list[Key] = []
    if psid:
        value = f"{channel}:{psid}"
        if len(value.encode()) <= MAX_KEY_BYTES:
            found.append((IdentityKind.MESSENGER, value))
    if phone:
        found.append((IdentityKind.PHONE, phone))
    if email:
        found.append((IdentityKind.EMAIL, email))
    return tuple(found)


def parse_lead(
    line: bytes, *, columns: Mapping[str, str], assume_tz: tzinfo, region: str = DEFAULT_REGION
) -> LeadRecord:
    """Return the lead in one line of JSON; raise Unreadable with a code and a sentence.

    `columns` gives the list's name for a field of ours, `assume_tz` reads times without a zone,
    `region` (ISO 3166, two letters) reads phones without a country code.
    """
    record, _, _ = strict_json(line)
    return as_lead(record, columns=columns, assume_tz=assume_tz, region=region)


def as_lead(
    record: Mapping[str, Any],
    *,
    columns: Mapping[str, str],
    assume_tz: tzinfo,
    region: str = DEFAULT_REGION,
) -> LeadRecord:
    """Return the lead in a line that was parsed; see `parse_lead`."""
    if (row := record.get("row_unreadable")) is not None:
        raise Unreadable("row_unreadable", str(row)[:200])
    if (state := record.get("state_metadata_unreadable")) is not None:
        raise Unreadable("state_metadata_unreadable", not_json("state_metadata", str(state)))
    external_id = _as_text(_field(record, columns, "id"), "id")
    if external_id is None:
        raise Unreadable("no_id", "The lead has no id: name its column with --map lead.id=column.")
    psid = _identity(_as_text(_field(record, columns, "messenger_psid"), "messenger_psid"))
    phone = _as_text(_field(record, columns, "phone"), "phone")
    state = _field(record, columns, "state_metadata")
    return LeadRecord(
        external_id=external_id,
        channel=_channel(_field(record, columns, "channel"), psid, phone),
        name=_named(_as_text(_field(record, columns, "name"), "name")),
        messenger_psid=psid,
        phone_raw=phone,
        phone_e164=None if phone is None else phone_key(phone, region),
        email=email_key(_as_text(_field(record, columns, "email"), "email")),
        stage=_as_text(_field(record, columns, "stage"), "stage"),
        state_metadata={} if state is None else state,
        created_at=_moment(_field(record, columns, "created_at"), assume_tz),
    )


def _field(record: Mapping[str, Any], columns: Mapping[str, str], name: str) -> Any:
    if name in columns:
        return record.get(columns[name])
    value = record.get(name)
    return record.get(_ALIASES[name]) if value is None and name in _ALIASES else value


def _as_text(value: Any, name: str) -> str | None:
    """Return text as it is and a whole number as its digits; blank is nothing."""
    if value is None:
        return None
    if type(value) is float and (whole := whole_number(value)) is not None:
        value = whole
    if type(value) is int:
        return str(value)
    if type(value) is str:
        return value if value and not value.isspace() else None
    raise Unreadable("bad_field", f"The lead's {name} is {type(value).__name__}, not text.")


def _moment(value: Any, assume_tz: tzinfo) -> datetime | None:
    blank = value is None or (type(value) is str and not value.strip())
    return None if blank else parse_time(value, assume_tz)


def _channel(value: Any, psid: str | None, phone: str | None) -> Channel:
    word = value.strip().lower() if type(value) is str else value
    if word:
        return _CHANNELS.get(word, Channel.OTHER) if type(word) is str else Channel.OTHER
    return Channel.MESSENGER if psid else Channel.SMS if phone else Channel.OTHER


def _named(name: str | None) -> str | None:
    """Return a name with single spaces, or None for a word that stands for no name."""
    if name is None or name.strip().lower() in _PLACEHOLDERS:
        return None
    return " ".join(name.split())


def _identity(text: str | None) -> str | None:
    """Return an id without the space around it, or None if it is a placeholder."""
    word = text.strip() if text else ""
    return None if not word or word.lower() in _PLACEHOLDERS or _is_filler(word) else word


def _is_filler(digits: str) -> bool:
    """Tell whether a number was only typed to fill the field: 0, 0000000000, 1234567890."""
    if not digits.isdigit():
        return False
    same = digits.count(digits[0]) == len(digits)
    return digits in _COUNTED or (same and (digits[0] == "0" or len(digits) >= _FEWEST_SAME_DIGITS))


@lru_cache(_CACHED)
def phone_key(raw: str, region: str) -> str | None:
    """Return a dialable phone in E.164 without its extension, or None.

    A number must be as long as its country's numbers are, area code included. It need not be known
    as assigned: real numbers are assigned faster than libraries learn of them.
    """
    if region == "US" and (common := _NORTH_AMERICAN.fullmatch(raw)):
        national = (common[2] or common[3]) + common[4] + common[5]
        return None if _is_filler(national) else f"+1{national}"
    try:
        number = phonenumbers.parse(raw, region)
    except phonenumbers.NumberParseException:
        return None
    reason = phonenumbers.is_possible_number_with_reason(number)
    national = phonenumbers.national_significant_number(number)
    if reason != phonenumbers.ValidationResult.IS_POSSIBLE or _is_filler(national):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def email_key(text: str | None) -> str | None:
    """Return a valid address in lower case, or None; no name server is asked."""
    local, _, domain = (text or "").strip().lower().rpartition("@")
    if not local or (local in _NOBODY and domain.partition(".")[0] in _NOBODY):
        return None
    plain = len(local) <= _LONGEST_LOCAL_PART and _PLAIN_LOCAL_PART.fullmatch(local)
    if plain and len(local) + 1 + len(domain) <= _LONGEST_ADDRESS and domain.isascii():
        known = _valid("a", domain)
        return f"{local}{known[1:]}" if known else None
    return _valid(local, domain)


@lru_cache(_CACHED)
def _valid(local: str, domain: str) -> str | None:
    try:
        return validate_email(f"{local}@{domain}", check_deliverability=False).normalized.lower()
    except EmailNotValidError:
        return None
