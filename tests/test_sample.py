"""The sample log is what its story says: every count, sum and date in it holds."""

import json
import re
import uuid
from collections import Counter
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import phonenumbers
import pytest
from email_validator import validate_email

from backstory.sample import paths

AUSTIN = ZoneInfo("America/Chicago")
ASSISTANT, USER = {"agent", "assistant"}, {"customer", "user"}
SPOKEN = {"message_sent", "message_received"}
MONTHS = "January February March April May June July August September October November December"
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
LONG_DATE = re.compile(rf"({WEEKDAYS.replace(' ', '|')}), ({MONTHS.replace(' ', '|')}) (\d+)")
SHORT_DATE = re.compile(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), (Jan|Feb|Mar|Apr) (\d+)")
PHONE = re.compile(r"\+?1?[ (-]{0,2}\d{3}\)?[ -]?\d{3}[ -]?\d{4}")
EMAIL = re.compile(r"[\w.+-]+@[\w.-]+\w")
TAX = Decimal("0.0825")


def lines(path) -> list[dict[str, Any]]:
    raw = path.read_bytes()
    assert raw.endswith(b"\n")
    return [json.loads(line) for line in raw.decode("utf-8").splitlines()]


RECORDS, LEADS = (lines(path) for path in paths())
BY_LEAD = {lead["id"]: [r for r in RECORDS if r["lead_id"] == lead["id"]] for lead in LEADS}


def text_of(record: dict[str, Any]) -> str | None:
    """The rule of the product, written a second time: None means an event without text."""
    keys = ["text", "message", "content"] + (["body"] if record["action"] in SPOKEN else [])
    found = (record["payload"].get(key) for key in keys)
    return next((text for text in found if isinstance(text, str) and text.strip()), None)


def moment(raw: str) -> datetime:
    assert re.fullmatch(r"2026-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", raw)
    return datetime.fromisoformat(raw)


def nested(value: Any):
    yield value
    if isinstance(value, dict):
        value = list(value.values())
    for child in value if isinstance(value, list) else []:
        yield from nested(child)


def test_it_has_three_leads_and_216_records_of_two_roles():
    actors = Counter(record["actor"] for record in RECORDS)
    assert len(LEADS) == 3
    assert len(RECORDS) == 216
    assert sum(actors[actor] for actor in ASSISTANT) == 111
    assert sum(actors[actor] for actor in USER) == 105
    assert set(actors) == ASSISTANT | USER


def test_each_lead_has_its_part():
    assert [len(BY_LEAD[lead["id"]]) for lead in LEADS] == [93, 68, 55]


def test_records_and_leads_have_the_keys_of_the_format():
    keys = {"id", "lead_id", "actor", "action", "payload", "created_at"}
    assert all(set(record) == keys for record in RECORDS)
    keys = {"id", "channel", "name", "messenger_psid", "phone", "email", "stage"}
    assert all(set(lead) == keys | {"state_metadata", "created_at"} for lead in LEADS)


def test_ids_are_unique_uuids_in_the_usual_spelling():
    ids = [row["id"] for row in RECORDS + LEADS]
    assert len(set(ids)) == len(ids)
    assert all(str(uuid.UUID(each)) == each for each in ids)
    message_ids = [r["payload"].get("mid") or r["payload"].get("msg_id") for r in RECORDS]
    given = [each for each in message_ids if each]
    assert len(set(given)) == len(given)


def test_every_record_belongs_to_a_listed_lead_that_was_there_before_it():
    for lead in LEADS:
        assert BY_LEAD[lead["id"]]
        gap = moment(BY_LEAD[lead["id"]][0]["created_at"]) - moment(lead["created_at"])
        assert 0 < gap.total_seconds() < 60
    assert sum(map(len, BY_LEAD.values())) == len(RECORDS)


def test_records_are_in_strict_order_of_time_and_the_leads_interleave():
    times = [moment(record["created_at"]) for record in RECORDS]
    assert times == sorted(set(times))
    january = [r["lead_id"] for r in RECORDS if r["created_at"] < "2026-02"]
    assert sum(a != b for a, b in pairwise(january)) >= 10


def test_everybody_sleeps_at_night():
    hours = {moment(r["created_at"]).astimezone(AUSTIN).hour for r in RECORDS}
    assert hours <= set(range(8, 22))


def test_no_payload_is_blank_and_no_event_is_cut():
    for record in RECORDS:
        assert isinstance(record["payload"], dict)
        assert any(value not in ("", None, [], {}) for value in record["payload"].values())
        assert len(json.dumps(record["payload"], separators=(",", ":"))) <= 1000


def test_25_records_are_events_and_the_rest_are_texts():
    events = [record for record in RECORDS if text_of(record) is None]
    assert len(events) == 25
    assert sum(record["actor"] in USER for record in events) == 7
    photos = [r for r in events if r["payload"].get("attachments")]
    assert {a["type"] for r in photos for a in r["payload"]["attachments"]} == {"image", "location"}


def test_every_way_to_write_a_text_occurs():
    used = Counter(
        next(key for key in ("text", "message", "content", "body") if record["payload"].get(key))
        for record in RECORDS
        if text_of(record) is not None
    )
    assert set(used) == {"text", "message", "content", "body"}
    assert min(used.values()) >= 20


def test_phones_are_fictional_and_valid_in_the_us():
    found = [lead["phone"] for lead in LEADS if lead["phone"]]
    for record in RECORDS:
        ends = [record["payload"].get(key) for key in ("from", "to")]
        found += [end for end in ends if isinstance(end, str) and "@" not in end]
        found += PHONE.findall(text_of(record) or "")
    assert len(found) > 100
    for phone in found:
        number = phonenumbers.parse(phone, "US")
        assert phonenumbers.is_valid_number(number), phone
        assert re.fullmatch(r"\d{3}55501\d\d", str(number.national_number)), phone


def test_mail_and_web_addresses_are_of_example_com():
    log = json.dumps(RECORDS + LEADS)
    mails = EMAIL.findall(log)
    assert len(mails) > 5
    for mail in mails:
        assert mail.lower().endswith("@example.com")
        validate_email(mail, check_deliverability=False)
    assert set(re.findall(r"https?://[^/\"]+", log)) == {"https://example.com"}


def test_three_leads_are_two_people_by_phone_and_by_mail():
    def e164(lead):
        return phonenumbers.format_number(
            phonenumbers.parse(lead["phone"], "US"), phonenumbers.PhoneNumberFormat.E164
        )

    first, other, again = LEADS
    assert first["phone"] != again["phone"]
    assert first["email"] != again["email"]
    assert e164(first) == e164(again) != e164(other)
    assert first["email"].lower() == again["email"].lower() != other["email"].lower()
    assert [bool(lead["messenger_psid"]) for lead in LEADS] == [True, False, False]
    assert [lead["channel"] for lead in LEADS] == ["messenger", "sms", "sms"]


def test_dates_fall_on_the_weekdays_the_texts_say():
    said = 0
    for record in RECORDS:
        whole = " ".join(v for v in nested(record["payload"]) if isinstance(v, str))
        for weekday, month, day in LONG_DATE.findall(whole) + SHORT_DATE.findall(whole):
            number = next(i for i, name in enumerate(MONTHS.split(), 1) if name.startswith(month))
            assert f"{date(2026, number, int(day)):%A}".startswith(weekday), whole
            said += 1
    assert said >= 24


def test_reminders_speak_of_the_next_day():
    reminders = [r for r in RECORDS if r["action"] == "reminder_sent"]
    assert len(reminders) == 3
    for record in reminders:
        _, month, day = LONG_DATE.search(text_of(record)).groups()
        sent = moment(record["created_at"]).astimezone(AUSTIN).date()
        job_day = date(2026, MONTHS.split().index(month) + 1, int(day))
        assert (job_day - sent).days == 1


def test_windows_are_written_in_the_time_of_austin():
    stamps = [
        value
        for record in RECORDS
        for value in nested(record["payload"])
        if isinstance(value, str) and re.fullmatch(r"2026-\d\d-\d\dT.*[+-]\d\d:\d\d", value)
    ]
    assert len(stamps) >= 12
    for stamp in stamps:
        written = datetime.fromisoformat(stamp)
        assert written.utcoffset() == written.astimezone(AUSTIN).utcoffset()


def test_totals_are_their_items_and_the_tax():
    checked = 0
    for record in RECORDS:
        p = record["payload"]
        if "tax_cents" not in p:
            continue
        if "items" in p:
            assert p["subtotal_cents"] == sum(item["amount_cents"] for item in p["items"])
        tax = (p["subtotal_cents"] * TAX).quantize(Decimal(1), ROUND_HALF_UP)
        assert p["tax_cents"] == tax
        assert p["total_cents"] == p["subtotal_cents"] + tax
        checked += 1
    assert checked == 7


@pytest.mark.parametrize(
    ("lead", "dollars"),
    [(0, {"691.72", "718.78"}), (1, {"507.69", "431.92", "264.13"}), (2, {"442.74", "398.47"})],
)
def test_every_total_of_an_event_is_also_said_in_words(lead, dollars):
    records = BY_LEAD[LEADS[lead]["id"]]
    totals = {
        f"{record['payload']['total_cents'] / 100:.2f}"
        for record in records
        if "total_cents" in record["payload"]
    }
    assert totals == dollars
    said = " ".join(filter(None, map(text_of, records)))
    assert all(f"${amount}" in said for amount in dollars)


def test_paid_and_invoiced_amounts_are_the_final_ones():
    paid = {
        r["payload"]["invoice_id"]: r["payload"]["amount_cents"]
        for r in RECORDS
        if r["action"] == "payment_received"
    }
    assert paid == {"INV-3067": 71878, "INV-3074": 43192, "INV-3212": 39847}


def test_reactions_point_at_a_message_of_the_same_lead():
    for record in RECORDS:
        target = record["payload"].get("reacted_to")
        if target is not None:
            assert target in [r["payload"].get("mid") for r in BY_LEAD[record["lead_id"]]]


def test_both_sides_talk_of_the_things_the_story_is_about():
    said = {"assistant": "", "user": ""}
    for record in RECORDS:
        side = "assistant" if record["actor"] in ASSISTANT else "user"
        said[side] += f" {text_of(record) or ''}".lower()
    for side in said.values():
        for word in ("quote", "mattress", "spa", "recliner"):
            assert word in side


def test_recall_has_to_bridge_words_between_the_two_leads_of_one_person():
    first, _, again = (
        " ".join(filter(None, map(text_of, BY_LEAD[lead["id"]]))).lower() for lead in LEADS
    )
    assert "the big spa out back" in first
    assert "keep the pad whole" in first
    for words in ("hot tub", "slab", "side street"):
        assert words in again
        assert words not in first
