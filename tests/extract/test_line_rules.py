"""What a line says of an event: one short line, by rules, the same whenever it is made."""

import json
import pickle
import re
import tempfile
import unicodedata
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backstory.errors import UsageError
from backstory.extract.line_rules import MAX_CHARS, LineRules, load_rules, our_rules
from backstory.extract.messages import project, read_event, role_of
from backstory.model import Role

PAGE = Path(__file__).parents[2] / "docs" / "lines.md"


def line(
    action: str, payload: Any, *, actor: str = "agent", rules: LineRules | None = None
) -> str | None:
    """Return the line of a record, read as a log is read."""
    record = {"id": "a-1", "lead_id": "l-1", "actor": actor, "action": action}
    record |= {"payload": payload, "created_at": "2026-01-01T00:00:00Z"}
    event = read_event(orjson.dumps(record), {}, UTC)
    said = project(event, role_of(event.actor) or Role.SYSTEM)
    assert said is not None
    return (rules or our_rules()).line(event, said)


QUOTE = {"items": [{"name": "Half truck"}, {"name": "Spa"}], "currency": "USD"}


@pytest.mark.parametrize(
    ("action", "payload", "expected"),
    [
        (
            "quote_sent",
            {**QUOTE, "total_cents": 24000},
            "Quote sent: $240.00 for 2 items (Half truck, Spa)",
        ),
        ("quote_sent", {"total": 240}, "Quote sent: $240.00"),
        ("quoteSent", {"quote": {"total": "1240.5"}}, "Quote sent: $1,240.50"),
        ("estimate.created", {"amount": 99.5, "currency": "EUR"}, "Estimate created: €99.50"),
        ("quote_sent", {"price": 1200, "currency": "JPY"}, "Quote sent: 1,200 JPY"),
        ("quote_sent", {"total_cents": 1200, "currency": "JPY"}, "Quote sent: 1,200 JPY"),
        ("quote_sent", {"total": {"amount_cents": 500, "currency": "GBP"}}, "Quote sent: £5.00"),
        ("refund_issued", {"amount": -40.9, "method": "card"}, "Refund issued: -$40.90 by card"),
        (
            "payment_received",
            {"amount_cents": 71878, "invoice_id": "INV-1", "balance_cents": 0},
            "Payment received: $718.78 for INV-1",
        ),
        (
            "booking_created",
            {"starts_at": "2026-06-04T08:00:00Z", "ends_at": "2026-06-04T10:00:00Z"},
            "Booking created: 4 June 2026, 08:00 to 10:00 UTC",
        ),
        (
            "appointment_booked",
            {"window": {"start": "2026-06-04T23:00:00+02:00", "end": "2026-06-05T01:00:00+02:00"}},
            "Appointment booked: 4 June 2026, 21:00 to 23:00 UTC",
        ),
        (
            "visit_scheduled",
            {"start": "2026-06-04T23:00:00Z", "end": "2026-06-05T01:00:00Z"},
            "Visit scheduled: 4 June 2026, 23:00 UTC to 5 June 2026, 01:00 UTC",
        ),
        ("booking_created", {"start": 1780560000}, "Booking created: 4 June 2026, 08:00 UTC"),
        (
            "booking_created",
            {"date": "2026-06-04", "time": "2 PM", "service": "Clean-out"},
            "Booking created: 4 June 2026 2 PM, Clean-out",
        ),
        (
            "booking_created",
            {"date": "2026-06-04", "start_time": "08:00", "end_time": "10:00", "service": "Spa"},
            "Booking created: 4 June 2026, 08:00 to 10:00, Spa",
        ),
        (
            "slot_changed",
            {"changed_at": 1780560000, "fee": {"value": "5", "currency_code": "EUR"}},
            "Slot changed: changed 4 June 2026, 08:00 UTC, fee €5.00",
        ),
        ("quote_sent", {"total": {"value": "5", "currency_code": "EUR"}}, "Quote sent: €5.00"),
        ("quote_sent", {"total": "$1,240.5"}, "Quote sent: $1,240.50"),
        ("quote_sent", {"total": "1.240,50 €"}, "Quote sent: 1.240,50 €"),
        ("reminder_set", {"remindAt": 1780560000000}, "Reminder for 4 June 2026, 08:00 UTC"),
        ("booking_created", {"date": "next Friday"}, "Booking created: next Friday"),
        ("reminder_sent", {"for_date": "2026-06-04"}, "Reminder for 4 June 2026"),
        ("postback_received", {"postback": {"title": "Yes, please"}}, "Tapped: Yes, please"),
        ("status_changed", {"status": "on_hold", "mid": "m_1"}, "Status changed: status on hold"),
        ("note_added", "call before noon", "Note added: call before noon"),
        ("counted", [3, 4], "Counted: 2 results: 3; 4"),
        ("pinged", {"retry": False, "try_number": 2}, "Pinged: try 2, retry no"),
    ],
)
def test_known_events_read_as_a_short_line(action: str, payload: Any, expected: str) -> None:
    assert line(action, payload) == expected


@pytest.mark.parametrize(
    ("action", "payload", "expected"),
    [
        (
            "tool_call",
            {"tool": "get_order", "arguments": {"order_id": "W123"}},
            "Tool get_order called: order W123",
        ),
        (
            "tool_result",
            {"tool": "get_order", "result": {"order_id": "W123", "status": "delivered"}},
            "Tool get_order answered: order W123, status delivered",
        ),
        (
            "tool_call",
            {"name": "find", "input": {"city": "Ulm"}, "output": [{"id": 1}, {"id": 2}]},
            "Tool find (city Ulm) answered: 2 results: 1; 2",
        ),
        ("tool_call", {"tool": "find", "results": []}, "Tool find answered: nothing"),
        ("tool_result", {"tool": "find", "content": ""}, "Tool find answered: nothing"),
        (
            "called",
            {"tool_calls": [{"function": {"name": "find", "arguments": '{"city":"Ulm"}'}}]},
            "Tool find called: city Ulm",
        ),
        (
            "result",
            {"name": "find", "content": [{"type": "text", "text": "Two were found."}]},
            "Tool find answered: Two were found.",
        ),
        (
            "result",
            {"name": "find", "content": [{"type": "text", "text": '{"order_id":"W1"}'}]},
            "Tool find answered: order W1",
        ),
        (
            "tool_result",
            {"tool": "find", "content": '{"name":{"last_name":"Li","first_name":"Mia"}}'},
            "Tool find answered: name Mia Li",
        ),
        ("x", {"tool": "find", "error": {"message": "Timed out"}}, "Tool find failed: Timed out"),
        ("x", {"tool": "find", "content": "{broken"}, "Tool find answered: {broken"),
    ],
)
def test_calls_and_answers_of_tools_are_told_by_their_shape(
    action: str, payload: Any, expected: str
) -> None:
    assert line(action, payload, actor="tool") == expected


def test_what_people_wrote_and_a_tools_prose_have_no_line() -> None:
    assert line("message_received", {"text": "quote 240"}, actor="customer") is None
    assert line("tool_result", {"tool": "think", "content": "word " * 60}, actor="tool") is None
    rules = load_rules_of('[[rule]]\nname = "one"\nactions = ["one"]\nline = "{total}"', ours=False)
    assert line("two", {"total": 1}, rules=rules) == ""


def test_what_hides_or_commands_is_no_part_of_a_line() -> None:
    told = line("note\u202e_added", {"note": "a\x1b[31m\u202eb\nc\u2066\x00d \u200dz"})
    assert told == "Note added: note a[31mb c\ufffdd \u200dz"


def test_an_object_with_hundreds_of_keys_has_none() -> None:
    assert line("loaded", {f"k{n}": n for n in range(501)}) == ""


# --- any payload -----------------------------------------------------------------------------

KEYS = st.sampled_from(
    ["total", "total_cents", "items", "status", "start", "endsAt", "tool", "arguments", "result",
     "content", "currency", "window", "date", "time", "amount", "error", "name", "attachments",
     "postback", "title", "from", "to", "due", "Total", "", "$", "tool_calls"]
) | st.text(max_size=12)  # fmt: skip
NUMBERS = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
PLAIN = (
    st.none()
    | st.booleans()
    | NUMBERS
    | st.text(max_size=400)
    | st.sampled_from(["2026-06-04", "2026-06-04T08:00:00Z", '{"a": [1]}', "[[[", "12.50"])
)
JSON = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)
ACTIONS = st.sampled_from(
    ["quote_sent", "booking_created", "reminder_sent", "tool_call", "payment", "moved", "reaction",
     "canceled", "postback", "location", "arrived", "order", "invoice", "rescheduled"]
) | st.text(max_size=20)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(ACTIONS, st.sampled_from(["customer", "agent", "tool", "system"]), JSON)
def test_whatever_a_payload_holds_a_line_is_one_bounded_line_and_made_again_the_same(
    action: str, actor: str, payload: Any
) -> None:
    record = {"id": "a-1", "lead_id": "l-1", "actor": actor, "action": action}
    record |= {"payload": payload, "created_at": "2026-01-01T00:00:00Z"}
    event = read_event(json.dumps(record).encode(), {}, UTC)
    said = project(event, role_of(actor) or Role.SYSTEM)
    if said is None:
        return
    told = our_rules().line(event, said)
    if told is None:
        return
    assert len(told) <= MAX_CHARS
    assert told == " ".join(told.split())
    kinds = {unicodedata.category(each) for each in told if each not in "\u200c\u200d"}
    assert kinds.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})
    turned = event._replace(payload=as_jsonb(event.payload))
    assert our_rules().line(turned, said) == told


def as_jsonb(value: Any) -> Any:
    """Return a value as it comes back from jsonb: keys in another order, numbers without exponent.

    The database's own test is in tests/backfill, where lines are made again from `audit_log`.
    """
    if isinstance(value, dict):
        return {key: as_jsonb(value[key]) for key in sorted(value, reverse=True)}
    if isinstance(value, list):
        return [as_jsonb(each) for each in value]
    if isinstance(value, float):
        written = Decimal(repr(value))
        if "e" in repr(value) and written == written.to_integral_value():
            return int(written)
        return value or 0.0
    return value


# --- rules of one's own ----------------------------------------------------------------------


def load_rules_of(text: str, tmp_path: Path | None = None, *, ours: bool = True) -> LineRules:
    """Return the rules of such a file."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml", dir=tmp_path) as file:
        file.write(text if ours else f"ours = false\n{text}")
        file.flush()
        return load_rules(Path(file.name))


OWN = """
currency = "EUR"
hidden = ["secret_plan"]

[value.total]
keys = ["bottom_line"]

[[rule]]
name = "quote"
actions = ["*quote*"]
line = "Angebot: {total}[ an {to}][ ({items:count Posten/Posten})]"

[[rule]]
name = "shipped"
where = {type = "order.shipped"}
line = "Parcel {parcel.code:name} left[ on {at:day}]"

[[rule]]
name = "reaction"
off = true
"""


def test_a_file_of_ones_own_adds_replaces_and_switches_off(tmp_path: Path) -> None:
    rules = load_rules_of(OWN, tmp_path)
    assert line("quote_sent", {"bottom_line": 5, "total": 9}, rules=rules) == "Angebot: €5.00"
    assert line("quote_sent", {"total": 9, "to": "Al"}, rules=rules) == "Angebot: €9.00 an Al"
    told = line("quote_sent", {"total": 9, "items": [1, 2]}, rules=rules)
    assert told == "Angebot: €9.00 (2 Posten)"
    shipped = {"type": "Order.shipped", "parcel": {"code": "x_y"}, "at": "2026-06-04"}
    assert line("event", shipped, rules=rules) == "Parcel x_y left on 4 June 2026"
    assert (
        line("event", shipped | {"type": "lost"}, rules=rules) != "Parcel x_y left on 4 June 2026"
    )
    told = line("reaction", {"reaction": "love", "secret_plan": "x"}, rules=rules)
    assert told == "Reaction: reaction love"
    assert line("tool_call", {"tool": "t"}, actor="tool", rules=rules) == "Tool t called"


def test_the_page_on_lines_shows_what_its_rules_and_ours_make(tmp_path: Path) -> None:
    page = PAGE.read_text("utf-8")
    (file,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    rules = load_rules_of(file, tmp_path)
    offer = {"bottom_line": 5, "items": [1, 2], "valid_until": "2026-06-04"}
    told = line("offer_sent", offer, rules=rules)
    assert told == "Offer: €5.00 for 2 items, valid until 4 June 2026"
    shipped = {"type": "order.shipped", "parcel": {"code": "X_1"}, "shipped_at": "2026-06-04"}
    assert line("event", shipped, rules=rules) == "Parcel X_1 left on 4 June 2026"
    items = [{"name": "Half truck"}, {"name": "Hot tub"}]
    window = {"starts_at": "2026-06-04T08:00:00Z", "ends_at": "2026-06-04T10:00:00Z"}
    order = {"order_id": "W123"}
    for action, payload in (
        ("quote_sent", {"total_cents": 24000, "items": items}),
        ("booking_created", window),
        ("tool_call", {"tool": "get_order", "arguments": order}),
        ("tool_result", {"tool": "get_order", "result": order | {"status": "delivered"}}),
    ):
        (shown,) = re.findall(rf"^\| `{action}` .* \| (.*) \|$", page, re.MULTILINE)
        assert line(action, payload, actor="tool") == shown


def test_the_name_of_rules_changes_with_them_and_with_nothing_else(tmp_path: Path) -> None:
    one, other = load_rules_of(OWN, tmp_path), load_rules_of("# a comment\n" + OWN, tmp_path)
    assert one == other
    assert one.name != our_rules().name
    again = pickle.loads(pickle.dumps(one))  # noqa: S301 - made a line above
    assert again == one
    assert line("quote_sent", {"total": 9}, rules=again) == "Angebot: €9.00"
    assert load_rules() is our_rules()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("currency = 'dollars'", "currency is a code such as USD"),
        ("colour = 'red'", "'colour' is not known here, only currency"),
        ("[[rule]]\nline = '{total}'", "line 1: rule number 1: it needs a name"),
        ("[[rule]]\nname = 'a'", "line 1: rule 'a': it needs a line"),
        (
            "\n[[rule]]\nname = 'a'\nline = '{x}'\n[[rule]]\nname = 'b'\nline = '{x'",
            "line 5: rule 'b': { is not closed; write {{",
        ),
        ("[[rule]]\nname = 'a'\nline = 'x]{y}'", "rule 'a': ] closes nothing"),
        ("[[rule]]\nname = 'a'\nline = '{y}['", "rule 'a': [ is not closed"),
        ("[[rule]]\nname = 'a'\nline = '{y}[x]'", "a part in brackets tells no value"),
        ("[[rule]]\nname = 'a'\nline = 'words'", "it tells no value"),
        ("[[rule]]\nname = 'a'\nline = '{x:gold}'", "there is no form 'gold': text, name, money"),
        ("[[rule]]\nname = 'a'\nline = '{x,y}'", "is no path"),
        ("[[rule]]\nname = 'a'\nline = '{x}'\nroles = ['boss']", "roles are some of user"),
        ("[[rule]]\nname = 'a'\nline = '{x}'\nactions = 'x'", "actions is a list of words"),
        ("[[rule]]\nname = 'a'\nline = '{x}'\nwhen = 1", "'when' is not known here"),
        ("[[rule]]\nname = 'a'\nline = '{x}'\n" * 2, "another rule has this name"),
        ("[rule]\nname = 'a'", "two brackets"),
        ("[[rule]]\nname = 'nobody'\noff = true", "no rule of ours called 'nobody'"),
        ("[value.total]\nform = 'gold'", "line 1: value 'total': there is no form"),
        ("[value.mine]\n", "value 'mine': keys = [...] says where"),
        ("[[rule]\n", "cannot be read: Expected ']]'"),
    ],
)
def test_what_is_wrong_with_rules_is_said_with_its_place(
    text: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as refused:
        load_rules_of(text, tmp_path)
    assert said in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_rules_that_are_not_there_are_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_rules(tmp_path / "none.toml")
