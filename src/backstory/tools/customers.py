"""The two tools about who the customer is and where: profile and addresses."""

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

import phonenumbers
from pydantic import Field

from backstory.errors import Refused
from backstory.extract.leads import email_key, phone_key
from backstory.model import Channel
from backstory.store import addresses, profiles
from backstory.store.binding import Bound
from backstory.tools.tool import Input, Output, Part

_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Line = Annotated[str, Field(min_length=1, max_length=200)]


class ProfileField(StrEnum):
    """What a profile holds, in the words of the tool."""

    NAME = "name"
    PHONE = "phone"
    EMAIL = "email"
    COMPANY = "company"
    PREFERRED_CHANNEL = "preferred_channel"
    LANGUAGE = "language"


class UpsertCustomerProfile(Input):
    """What the customer has told about themselves."""

    name: Annotated[
        _Name | None,
        Field(description="Full name as the customer gives it.", examples=["Jane Doe"]),
    ] = None
    phone: Annotated[
        Annotated[str, Field(min_length=3, max_length=40)] | None,
        Field(
            description="Phone number, best with country code.",
            examples=["+1 202 555 0123"],
        ),
    ] = None
    email: Annotated[
        Annotated[str, Field(min_length=3, max_length=254)] | None,
        Field(description="E-mail address.", examples=["name@example.com"]),
    ] = None
    company: Annotated[
        _Name | None, Field(description="Company the customer acts for.", examples=["Acme Realty"])
    ] = None
    preferred_channel: Annotated[
        Channel | None,
        Field(description="Where the customer wants to be written to.", examples=["sms"]),
    ] = None
    language: Annotated[
        Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")] | None,
        Field(
            description="Language as an ISO 639 code, with a region if it matters.", examples=["es"]
        ),
    ] = None
    clear_fields: Annotated[
        Annotated[list[ProfileField], Field(max_length=6)] | None,
        Field(
            description="Fields to empty because they are wrong; null in a field only means that "
            "it was not given.",
            examples=[["phone"]],
        ),
    ] = None


class Profile(Part):
    """The customer as they are known now."""

    name: str | None
    phone: str | None
    email: str | None
    company: str | None
    preferred_channel: str | None
    language: str | None


class ProfileUpserted(Output):
    """The profile after the call."""

    outcome: Literal["created", "updated", "unchanged"]
    profile: Profile
    changed: list[ProfileField]


def upsert_customer_profile(bound: Bound, asked: UpsertCustomerProfile) -> ProfileUpserted:
    """Write down what this customer says about themselves.

    That is name, phone, e-mail, company, channel, language. Call it as soon as the customer
    gives or corrects one of these; give only the fields that are known. Do not call it to look
    the customer up or to switch to another person: it always concerns the customer of this
    conversation. Comes back with the whole profile, what changed, and created, updated or
    unchanged.
    """
    given = {
        "display_name": asked.name,
        "phone_raw": asked.phone,
        "phone_e164": _phone(asked.phone, bound.region),
        "email": _email(asked.email),
        "company_name": asked.company,
        "preferred_channel": asked.preferred_channel,
        "language": asked.language,
    }
    cleared = [_COLUMNS[each] for each in asked.clear_fields or ()]
    before, after = profiles.upsert(bound, given, cleared=cleared)
    changed = [
        each
        for each, column in _COLUMNS.items()
        if getattr(before, column) != getattr(after, column)
    ]
    outcome: Literal["created", "updated", "unchanged"] = "unchanged"
    if changed:
        outcome = "updated" if before.holds_anything else "created"
    return ProfileUpserted(outcome=outcome, profile=_profile(after), changed=changed)


def _phone(given: str | None, region: str) -> str | None:
    number = phone_key(given, region) if given else None
    if given and number is None:
        raise Refused(
            "invalid_arguments",
            "phone: this is no number that could be dialled.",
            next_step="Ask for it again, with country code, as in +1 202 555 0123.",
        )
    return number


def _email(given: str | None) -> str | None:
    address = email_key(given) if given else None
    if given and address is None:
        raise Refused(
            "invalid_arguments",
            "email: this is no address that could be written to.",
            next_step="Ask for it again; the form is name@example.com.",
        )
    return address


_COLUMNS = {
    ProfileField.NAME: "display_name",
    ProfileField.PHONE: "phone_e164",
    ProfileField.EMAIL: "email",
    ProfileField.COMPANY: "company_name",
    ProfileField.PREFERRED_CHANNEL: "preferred_channel",
    ProfileField.LANGUAGE: "language",
}


def _profile(row: profiles.Profile) -> Profile:
    return Profile(**{each.value: getattr(row, column) for each, column in _COLUMNS.items()})


class AddAddress(Input):
    """A place the customer wants service at."""

    line1: Annotated[_Line, Field(description="Street and number.", examples=["12 Oak St"])]
    line2: Annotated[
        _Line | None, Field(description="Apartment, unit or floor.", examples=["Apt 4"])
    ] = None
    city: Annotated[
        Annotated[str, Field(min_length=1, max_length=100)] | None,
        Field(description="City or town.", examples=["Austin"]),
    ] = None
    region: Annotated[
        Annotated[str, Field(min_length=1, max_length=100)] | None,
        Field(description="State, province or county.", examples=["TX"]),
    ] = None
    postal_code: Annotated[
        Annotated[str, Field(min_length=2, max_length=20)] | None,
        Field(description="Postal or ZIP code.", examples=["78704"]),
    ] = None
    country: Annotated[
        Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None,
        Field(description="Country as two letters, ISO 3166.", examples=["US"]),
    ] = None
    access_notes: Annotated[
        Annotated[str, Field(min_length=1, max_length=1000)] | None,
        Field(
            description="How to get in: gate, parking, stairs, whom to call.",
            examples=["Gate code on the side door, park in the alley"],
        ),
    ] = None
    label: Annotated[
        Annotated[str, Field(min_length=1, max_length=60)] | None,
        Field(description="What the customer calls it.", examples=["storage unit"]),
    ] = None
    is_primary: Annotated[
        bool | None,
        Field(description="True when it is the customer's main address.", examples=[True]),
    ] = None


class Address(Part):
    """An address; its label and how to get in as this call gave them, never from before."""

    address_id: UUID
    line: str
    label: str | None
    access_notes: str | None
    is_primary: bool


class AddressAdded(Output):
    """The address after the call."""

    outcome: Literal["created", "updated", "duplicate"]
    address: Address


def add_address(bound: Bound, asked: AddAddress) -> AddressAdded:
    """Keep a service address of this customer.

    Call it when the customer names a place where work is to be done or corrects how to get in.
    Do not call it for an address that memory candidates already show with an address id: use
    that id. The same address spelled otherwise is recognized: created is new, updated has new
    notes or label or has become primary, duplicate changed nothing. Comes back with the address
    and the address_id that create_job takes.
    """
    if asked.country and asked.country not in phonenumbers.SUPPORTED_REGIONS:
        raise Refused(
            "invalid_arguments",
            f"country: {asked.country} is no country.",
            next_step="Leave it out, or give its two letters, as in US.",
        )
    outcome, row = addresses.add(bound, addresses.Given(**asked.model_dump()))
    return AddressAdded(
        outcome=outcome,
        address=Address(
            address_id=row.id,
            line=row.line,
            # What is kept from before is told after memory_confirm_context, as all that is old.
            label=asked.label,
            access_notes=asked.access_notes,
            is_primary=row.is_primary,
        ),
    )
