"""A line of a list of leads becomes a record whose identities are keys or nothing."""

import json
from datetime import UTC, datetime, timedelta, timezone

import phonenumbers
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from backstory.extract import leads
from backstory.extract.leads import parse_lead, phone_key
from backstory.extract.parse import Unreadable
from backstory.model import Channel, IdentityKind


def parsed(columns=None, region="US", **fields):
    line = json.dumps({"id": "1", **fields}).encode()
    return parse_lead(line, columns=columns or {}, assume_tz=UTC, region=region)


def test_every_field_of_a_lead_is_read():
    lead = parsed(
        channel="sms",
        name="Mia  Li",
        messenger_psid="7045757328300007",
        phone="(512) 555-0142 ext. 9",
        email="Mia.Li@Example.com",
        stage="booked",
        state_metadata={"a": [1]},
        created_at="2025-06-02T14:28:00.000Z",
    )
    assert lead.external_id == "1"
    assert lead.channel is Channel.SMS
    assert lead.name == "Mia Li"
    assert lead.messenger_psid == "7045757328300007"
    assert lead.phone_raw == "(512) 555-0142 ext. 9"
    assert lead.phone_e164 == "+15125550142"
    assert lead.email == "mia.li@example.com"
    assert lead.stage == "booked"
    assert lead.state_metadata == {"a": [1]}
    assert lead.created_at == datetime(2025, 6, 2, 14, 28, tzinfo=UTC)


def test_anything_but_the_id_may_be_missing_or_null():
    empty = parsed()
    fields = [
        "channel",
        "name",
        "messenger_psid",
        "phone",
        "email",
        "stage",
        "state_metadata",
        "created_at",
    ]
    assert parsed(**dict.fromkeys(fields)) == empty
    assert empty.channel is Channel.OTHER
    assert empty.state_metadata == {}
    assert empty.keys == ()


def test_camel_case_names_are_understood_and_a_mapping_wins_over_every_name():
    camel = parsed(messengerPsid="77", stateMetadata=[1], createdAt=1_750_000_000)
    assert (camel.messenger_psid, camel.state_metadata) == ("77", [1])
    assert camel.created_at == datetime.fromtimestamp(1_750_000_000, tz=UTC)
    assert parsed(columns={"phone": "tel"}, phone="512-555-0142", tel=None).phone_raw is None
    assert parsed(columns={"phone": "tel"}, tel="512-555-0142").phone_e164 == "+15125550142"
    assert parsed(columns={"email": ""}, email="a@example.com").email is None


def test_a_customer_id_in_the_list_is_not_looked_at():
    assert parsed(customer_id="somebody") == parsed()


def test_numbers_become_text():
    lead = parsed(id=42, messenger_psid=7045757328300007, phone=15125550142)
    assert (lead.external_id, lead.messenger_psid) == ("42", "7045757328300007")
    assert (lead.phone_raw, lead.phone_e164) == ("15125550142", "+15125550142")


@pytest.mark.parametrize(
    ("word", "channel"),
    [("SMS ", Channel.SMS), ("Messenger", Channel.MESSENGER), ("fax", Channel.OTHER), (7, "other")],
)
def test_a_channel_is_known_in_any_case_and_other_words_are_other(word, channel):
    assert parsed(channel=word, messenger_psid="77").channel == channel


@pytest.mark.parametrize("absent", [None, "", "  "])
def test_a_missing_channel_is_guessed_from_the_identities(absent):
    assert parsed(channel=absent, messenger_psid="77", phone="5").channel is Channel.MESSENGER
    assert parsed(channel=absent, phone="5").channel is Channel.SMS
    assert parsed(channel=absent, email="a@example.com").channel is Channel.OTHER


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"[1]", "not_an_object"),
        (b"{", "bad_json"),
        (b'{"id": "\xff"}', "bad_utf8"),
        (b'{"id": 1, "state_metadata": NaN}', "bad_number"),
        (b'{"name": "no id"}', "no_id"),
        (b'{"id": " "}', "no_id"),
        (b'{"id": true}', "bad_field"),
        (b'{"id": 1, "name": {"first": "Mia"}}', "bad_field"),
        (b'{"id": 1, "created_at": "yesterday"}', "bad_time"),
    ],
)
def test_an_unreadable_lead_says_why(line, code):
    with pytest.raises(Unreadable) as refused:
        parse_lead(line, columns={}, assume_tz=UTC)
    assert refused.value.code == code


def test_what_postgresql_cannot_hold_is_replaced():
    lead = parse_lead(
        rb'{"id":"a\u0000b","name":"\ud83d","state_metadata":{"\u0000":"\ud83d\ude00\udc00"}}',
        columns={},
        assume_tz=UTC,
    )
    assert lead.external_id == "a\ufffdb"
    assert lead.name == "\ufffd"
    assert lead.state_metadata == {"\ufffd": "\U0001f600\ufffd"}


def test_a_time_without_a_zone_is_read_in_the_zone_that_is_assumed():
    line = b'{"id":"1","created_at":"2025-06-02T14:28:00"}'
    lead = parse_lead(line, columns={}, assume_tz=timezone(timedelta(hours=2)))
    assert lead.created_at == datetime(2025, 6, 2, 12, 28, tzinfo=UTC)


@pytest.mark.parametrize(
    "phone",
    [
        "512-555-0142",
        "(512) 555-0142",
        "512.555.0142",
        "+1 512 555 0142",
        "1-512-555-0142",
        "15125550142",
        " 512 555 0142 ",
        "512-555-0142 x5",
        "tel:+1-512-555-0142",
    ],
)
def test_every_spelling_of_a_phone_is_the_same_key(phone):
    assert parsed(phone=phone).keys == ((IdentityKind.PHONE, "+15125550142"),)


@pytest.mark.parametrize(
    "phone",
    [
        *("unknown", "n/a", "-", "0", "911", "0000000000", "000-000-0000", "111-111-1111"),
        *("(555) 555-5555", "+1 999 999 9999", "123-456-7890", "555-0142"),
        *("5125550142 or 5125550143", "9" * 300),
    ],
)
def test_what_no_one_person_can_be_called_at_is_no_key_but_is_kept(phone):
    lead = parsed(phone=phone)
    assert lead.keys == ()
    assert lead.phone_raw == phone


def test_a_phone_without_a_country_code_is_read_in_the_region():
    assert parsed(phone="030 901820", region="DE").phone_e164 == "+4930901820"
    assert parsed(phone="+44 20 7946 0958", region="DE").phone_e164 == "+442079460958"


@given(st.from_regex(leads._NORTH_AMERICAN, fullmatch=True))
def test_the_quick_way_to_read_a_phone_gives_what_the_library_gives(raw):
    number = phonenumbers.parse(raw, "US")
    formatted = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    assert phonenumbers.is_possible_number(number)
    assert phone_key(raw, "US") in {formatted, None}
    assert (phone_key(raw, "US") is None) == leads._is_filler(formatted[2:])


@pytest.mark.parametrize(
    ("email", "key"),
    [
        (" Mia.Li@Example.COM ", "mia.li@example.com"),
        ("a+b@mail.example.org", "a+b@mail.example.org"),
        ("josé@exämple.de", "josé@exämple.de"),
        ("o'neil@example.com", "o'neil@example.com"),
    ],
)
def test_a_valid_address_is_a_key_in_lower_case(email, key):
    assert parsed(email=email).keys == ((IdentityKind.EMAIL, key),)


@pytest.mark.parametrize(
    "email",
    [
        *("unknown", "n/a", "none@none.com", "test@test.com", "mia@localhost", "mia.example.com"),
        *(
            "Mia <mia@example.com>",
            "a..b@example.com",
            "@example.com",
            "a@example.com,b@example.com",
        ),
    ],
)
def test_what_cannot_be_written_to_is_no_key(email):
    assert parsed(email=email).keys == ()


@given(
    local=st.text(st.sampled_from("ab.+-_9'\"@ "), max_size=70),
    domain=st.sampled_from(["example.com", "b.de", "localhost", "x.test", "a_b.com", "-a.com", ""]),
)
def test_the_quick_way_to_read_an_address_gives_what_the_library_gives(local, domain):
    try:
        address = f"{local}@{domain}".strip()
        expected = validate_email(address, check_deliverability=False).normalized
    except EmailNotValidError:
        expected = None
    assert leads.email_key(f"{local}@{domain}") == expected


@pytest.mark.parametrize("psid", ["unknown", "NULL", "0", "0000000000", "1111111111111111", "-"])
def test_a_placeholder_is_no_messenger_id(psid):
    assert parsed(channel="messenger", messenger_psid=psid).messenger_psid is None


def test_a_messenger_id_counts_within_its_channel():
    keys = {parsed(channel=channel, messenger_psid="77").keys for channel in ("messenger", "web")}
    assert keys == {
        ((IdentityKind.MESSENGER, "messenger:77"),),
        ((IdentityKind.MESSENGER, "web:77"),),
    }


def test_an_id_too_long_to_index_is_kept_and_links_nothing():
    lead = parsed(channel="messenger", messenger_psid="7" * 500 + "8" * 600)
    assert len(lead.messenger_psid) == 1100
    assert lead.keys == ()
