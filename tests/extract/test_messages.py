"""From a record to a message: who speaks, what is said, and when two records are the same."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.audit.event import AuditEvent
from backstory.extract.messages import (
    MAX_EVENT_CHARS,
    Projection,
    content_digest,
    content_hash,
    event_text,
    project,
    read_event,
    role_of,
)
from backstory.extract.parse import Unreadable, canonical_json, microseconds
from backstory.model import MessageKind, Role

NOON = datetime(2026, 1, 13, 12, tzinfo=UTC)


def event(payload: Any, **other: Any) -> AuditEvent:
    fields = {
        "audit_id": "a-1",
        "lead_id": "lead-1",
        "actor": "customer",
        "action": "message_received",
        "payload": payload,
        "created_us": microseconds(NOON),
        "replaced": 0,
        "repeated_keys": 0,
    }
    return AuditEvent(**(fields | other))


def message(payload: Any, **other: Any) -> Projection | None:
    return project(event(payload, **other), Role.USER)


def said(payload: Any, **other: Any) -> tuple[str, str] | None:
    """Return kind and content of the message in a payload."""
    found = message(payload, **other)
    return None if found is None else (found.kind.value, found.content)


def read(columns=None, **fields: Any) -> AuditEvent:
    return read_event(json.dumps(fields).encode(), columns or {}, UTC)


# --- the fields of a record ------------------------------------------------------------------


def test_a_record_is_read_under_our_names_theirs_or_camel_case():
    expected = event({"text": "hi"})
    rest = {"actor": "customer", "action": "message_received", "payload": {"text": "hi"}}
    moment = NOON.isoformat()
    assert read(id="a-1", lead_id="lead-1", created_at=moment, **rest) == expected
    assert read(id="a-1", leadId="lead-1", createdAt=moment, **rest) == expected
    assert read(id="a-1", leadId="x", lead_id="lead-1", created_at=moment, **rest) == expected
    theirs = {"id": "event", "lead_id": "contact", "created_at": "at"}
    assert read(theirs, event="a-1", contact="lead-1", at=moment, **rest) == expected
    # A mapping says where a field is, and so that it is nowhere else.
    assert read(theirs, event="a-1", lead_id="lead-1", at=moment, **rest).lead_id is None


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        *[("x", "x"), (" x ", " x "), (7, "7"), (0, "0"), (-3, "-3"), (2**70, str(2**70))],
        # A column of whole numbers that had a gap somewhere: pandas writes them so.
        *[(7.0, "7"), (-3.0, "-3")],
    ],
)
def test_any_text_and_any_whole_number_is_an_id(written, taken):
    found = read(id=written, lead_id=written, created_at=0)
    assert (found.audit_id, found.lead_id) == (taken, taken)


@pytest.mark.parametrize("written", [None, "", "  ", "\t", 1.5, 1e16, True, False, [], {}, ["x"]])
def test_what_is_no_id_leaves_a_record_unreadable_and_a_lead_unnamed(written):
    with pytest.raises(Unreadable) as refused:
        read(id=written, created_at=0)
    assert refused.value.code == "no_id"
    assert read(id="x", lead_id=written, created_at=0).lead_id is None


@pytest.mark.parametrize(
    ("written", "said"),
    [
        *[(None, "has no id"), (" ", "has no id"), (1.5, "id 1.5 is neither text nor a whole")],
        *[({"a": 1}, 'id {"a":1} is neither'), (["x" * 99], 'id ["' + "x" * 38 + "… is neither")],
    ],
)
def test_the_reason_tells_a_missing_id_from_one_of_another_kind(written, said):
    with pytest.raises(Unreadable, match=re.escape(said)):
        read(id=written, created_at=0)


@pytest.mark.parametrize("moment", [None, "soon", {}, 1e300])
def test_a_record_without_a_time_is_unreadable(moment):
    with pytest.raises(Unreadable) as refused:
        read(id="x", created_at=moment)
    assert refused.value.code == "bad_time"
    with pytest.raises(Unreadable):
        read(id="x")


@pytest.mark.parametrize("code", ["payload_unreadable", "row_unreadable"])
def test_a_row_that_its_source_could_not_read_says_why(code):
    with pytest.raises(Unreadable, match="the quotes are not balanced") as refused:
        read(id="x", created_at=0, **{code: "the quotes are not balanced"})
    assert refused.value.code == code


def test_a_payload_that_is_no_json_is_said_to_be_none_and_shown():
    with pytest.raises(Unreadable, match=r"^The payload is no JSON: hello, there$"):
        read(id="x", created_at=0, payload_unreadable="hello, there")
    with pytest.raises(Unreadable, match=r"x{80}…$"):
        read(id="x", created_at=0, payload_unreadable="x" * 1000)


def test_what_was_mended_is_counted_on_the_record():
    line = b'{"id": "x", "created_at": 0, "payload": {"a": "\\u0000", "a": "\\ud800\\u0000"}}'
    found = read_event(line, {}, UTC)
    assert (found.replaced, found.repeated_keys) == (2, 1)


# --- who speaks ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actor", "role"),
    [
        *[("customer", Role.USER), ("user", Role.USER), ("agent", Role.ASSISTANT)],
        *[("assistant", Role.ASSISTANT), ("system", Role.SYSTEM), ("tool", Role.TOOL)],
        *[(" Customer ", Role.USER), ("AGENT", Role.ASSISTANT), ("\tTool\n", Role.TOOL)],
        *[("bot", None), ("", None), ("  ", None), ("customers", None), ("agent 2", None)],
    ],
)
def test_a_role_is_told_by_the_actor_whatever_the_case_and_the_space(actor, role):
    assert role_of(actor) is role


@pytest.mark.parametrize("role", list(Role))
def test_a_message_keeps_the_role_it_is_given(role):
    found = project(event({"text": "hi"}), role)
    assert found is not None
    assert found.role is role


# --- what is said ----------------------------------------------------------------------------

ALL = {"text": "t", "message": "m", "content": "c", "body": "b"}


@pytest.mark.parametrize("action", ["message_sent", "message_received", "note"])
def test_text_comes_before_message_and_content_and_body(action):
    left = dict(ALL)
    for key in ("text", "message", "content"):
        assert said(left, action=action) == ("text", left[key])
        for blank in ("", " \n\t", None, 7, ["x"], {"text": "x"}):
            assert said(left | {key: blank}, action=action) != ("text", left[key])
        del left[key]


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("message_sent", ("text", "b")),
        ("message_received", ("text", "b")),
        ("email_sent", ("event", '{"body":"b"}')),
        ("Message_Sent", ("event", '{"body":"b"}')),
        ("", ("event", '{"body":"b"}')),
    ],
)
def test_a_body_is_said_only_where_a_message_was_sent_or_received(action, expected):
    assert said({"body": "b"}, action=action) == expected


def test_what_was_said_is_kept_letter_by_letter():
    text = "  two  spaces\r\nand a \U0001f600 \u0000 end \n"
    assert said({"text": text}) == ("text", text)


@pytest.mark.parametrize("payload", [None, "", "   ", "\n\t", [], {}])
def test_an_empty_payload_says_nothing(payload):
    assert message(payload) is None


@pytest.mark.parametrize(
    ("payload", "content"),
    [
        ("hello", '"hello"'),
        (0, "0"),
        (False, "false"),
        (1.5, "1.5"),
        ([None], "[null]"),
        ({"text": ""}, '{"text":""}'),
        ({"b": 1, "a": [1, 2], "é": "\U0001f600"}, '{"a":[1,2],"b":1,"é":"\U0001f600"}'),
        ({"b": {"d": 1, "c": 2}, "a": None}, '{"a":null,"b":{"c":2,"d":1}}'),
        ([10**30], "[1000000000000000000000000000000]"),
    ],
)
def test_anything_else_is_an_event_in_compact_json_with_sorted_keys(payload, content):
    assert said(payload) == ("event", content)
    assert said(payload)[0] == MessageKind.EVENT


def test_an_event_has_a_thousand_characters_at_most_and_an_ellipsis_marks_the_cut():
    fits = {"a": "x" * (MAX_EVENT_CHARS - len('{"a":""}'))}
    assert said(fits) == ("event", json.dumps(fits, separators=(",", ":")))
    assert len(event_text(fits)) == MAX_EVENT_CHARS == 1000
    cut = {"a": fits["a"] + "x"}
    text = event_text(cut)
    assert len(text) == MAX_EVENT_CHARS
    assert text == json.dumps(cut, separators=(",", ":"))[: MAX_EVENT_CHARS - 1] + "…"
    # Characters, not bytes.
    assert event_text({"a": "\U0001f600" * 500}) == '{"a":"' + "\U0001f600" * 500 + '"}'


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (1e16, "10000000000000000"),
        (-1e22, "-10000000000000000000000"),
        (1.5e300, "15" + "0" * 299),
        (-0.0, "0.0"),
        (0.1, "0.1"),
        (100.0, "100.0"),
        (123456.789, "123456.789"),
    ],
)
def test_an_event_writes_numbers_as_the_database_gives_them_back(number, written):
    assert event_text({"n": [number]}) == f'{{"n":[{written}]}}'


def test_a_text_that_looks_like_a_number_is_left_alone():
    assert event_text({"id": "2e5-0.0", "n": 1.0}) == '{"id":"2e5-0.0","n":1.0}'


# --- who signed, and what was attached -------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "author"),
    [
        ({"author": "Joanie"}, "Joanie"),
        ({"sender_name": " Joanie "}, "Joanie"),
        ({"author": "", "from_name": "Walt"}, "Walt"),
        ({"author": "A", "sender": "B"}, "A"),
        ({"sender": {"name": "Joanie", "id": 7}}, "Joanie"),
        ({"sender": {"id": 7}, "from": "Walt"}, "Walt"),
        ({"author": 7, "sender": ["x"], "speaker": None}, None),
        ({"text": "Joanie"}, None),
    ],
)
def test_an_author_is_the_first_name_that_the_payload_gives(payload, author):
    found = message(payload | {"text": "hi"})
    assert found is not None
    assert found.author == author
    event_of_it = message(payload | {"other": 1, "text": ""})
    assert event_of_it is not None
    assert event_of_it.author == author


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ({"caption": " the gate "}, "the gate"),
        (
            {"attachments": [{"description": "a spa", "url": "x"}, {"caption": "boxes"}]},
            "a spa\nboxes",
        ),
        ({"caption": "same", "attachments": [{"caption": "same", "alt": "other"}]}, "same\nother"),
        ({"attachments": [{"caption": "  "}, "x", None, {"caption": 7}]}, None),
        ({"attachments": {"caption": "not in a list"}}, None),
        ({"attachments": []}, None),
        ({"caption": ""}, None),
        ({"text": "no photo"}, None),
    ],
)
def test_captions_and_descriptions_of_photos_are_kept_line_by_line(payload, text):
    found = message({"text": "hi"} | payload)
    assert found is not None
    assert found.attachment_text == text


# --- the same record again -------------------------------------------------------------------


def hashed(record: AuditEvent) -> bytes:
    return content_hash(record, canonical_json(record.payload))


payloads = st.dictionaries(
    st.text(), st.integers() | st.text() | st.lists(st.integers()), max_size=4
)


@given(payloads, st.randoms(use_true_random=False))
def test_the_same_record_has_the_same_hash_in_any_order_and_with_any_spaces(payload, dice):
    keys = list(payload)
    dice.shuffle(keys)
    fields = {"payload": {key: payload[key] for key in keys}, "created_at": 0, "lead_id": "L"}
    shuffled = {"id": "x", **dict(dice.sample(list(fields.items()), len(fields)))}
    spaced = json.dumps(shuffled, indent=dice.choice([None, 1, "\t"])).replace("\n", " ").encode()
    plain = read(id="x", lead_id="L", created_at=99, payload=payload)
    assert hashed(read_event(spaced, {}, UTC)) == hashed(plain)


def test_another_lead_actor_action_or_payload_is_another_content():
    records = [
        event({"a": 1}),
        event({"a": 1}, lead_id="lead-2"),
        event({"a": 1}, actor="Customer"),
        event({"a": 1}, action="note"),
        event({"a": "1"}),
        event({"a": True}),
        event({"a": 1, "b": None}),
        # No part runs over into the next.
        event({}, lead_id="l", actor="ab", action="c"),
        event({}, lead_id="l", actor="a", action="bc"),
        event({}, lead_id='l","a', actor="b", action="c"),
    ]
    assert len({hashed(each) for each in records}) == len(records)
    assert len(hashed(records[0])) == 16


def test_the_time_and_the_id_are_no_part_of_the_content():
    assert hashed(event({"a": 1})) == hashed(event({"a": 1}, created_us=7, audit_id="other"))


@given(st.binary(), st.binary())
def test_the_digest_of_raw_content_tells_two_lines_apart(one, other):
    assert (content_digest(one) == content_digest(other)) == (one == other)
    assert len(content_digest(one)) == 16


@pytest.mark.parametrize("fields", [{}, {"created_at": None}, {"createdAt": None}])
def test_a_record_without_a_time_says_how_to_name_it(fields):
    with pytest.raises(
        Unreadable, match=r"has no time: name its column with --map created_at="
    ) as no:
        read_event(json.dumps({"id": "1", **fields}).encode(), {}, UTC)
    assert no.value.code == "bad_time"
