"""Conversations are found by what people have of them, read in order, and traced to the log."""

import itertools
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from backstory.errors import UsageError
from backstory.extract.identity import conversation_id, customer_id, lead_id, message_id
from backstory.store.conversations import find_conversation, messages, trace

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RUN = uuid.UUID(int=7)
PAYLOAD = {"text": "Can you quote a sofa?", "mid": "m_1", "deep": [{"a": None}]}

LEAD = """
INSERT INTO customers (id, display_name, created_at) VALUES (:customer, 'Joanie', :at)
ON CONFLICT DO NOTHING;
INSERT INTO leads (id, external_id, customer_id, channel, source, stage)
VALUES (:lead, :external, :customer, 'sms', 'list', 'quoted') ON CONFLICT DO NOTHING;
INSERT INTO conversations (id, lead_id, customer_id, ordinal, channel, status, started_at,
                           closed_at)
VALUES (:conversation, :lead, :customer, :ordinal, 'sms', :status, :at, :closed)
"""
RECORD = """
INSERT INTO audit_log (id, log, audit_id, lead_id, lead_external_id, actor, action, payload,
                       payload_hash, seq, created_at, run_id)
VALUES (:id, :log, :audit_id, :lead, :external, 'customer', 'message_received',
        CAST(:payload AS jsonb), '', :seq, :at, :run)
"""
MESSAGE = """
INSERT INTO messages (id, conversation_id, customer_id, log, audit_id, role, kind, content, seq,
                      created_at, metadata)
VALUES (:id, :conversation, :customer, :log, :audit_id, :role, :kind, :content, :seq, :at,
        '{"auditAction": "message_received"}')
"""


def as_uuid(raw):
    return uuid.UUID(bytes=raw)


def add_conversation(connection, lead, *, ordinal=0, status="open", key=None):
    ids = {
        "customer": as_uuid(customer_id(lead)),
        "lead": as_uuid(lead_id(lead)),
        "external": lead,
        "conversation": key or as_uuid(conversation_id(lead, ordinal)),
        "ordinal": ordinal,
        "status": status,
        "at": NOON,
        "closed": NOON if status == "closed" else None,
    }
    for statement in LEAD.split(";"):
        connection.execute(text(statement), ids)
    return ids["conversation"]


def add_record(connection, lead, audit_id, *, at=NOON, seq=0, log="audit", said=True, **fields):
    """Add a record, and its message in the lead's first conversation unless nothing was said."""
    values = {
        "id": as_uuid(message_id(log, audit_id)),
        "customer": as_uuid(customer_id(lead)),
        "lead": as_uuid(lead_id(lead)),
        "external": lead,
        "conversation": as_uuid(conversation_id(lead, 0)),
        "log": log,
        "audit_id": audit_id,
        "payload": '{"text": "Can you quote a sofa?", "mid": "m_1", "deep": [{"a": null}]}',
        "role": "user",
        "kind": "text",
        "content": "Can you quote a sofa?",
        "seq": seq,
        "at": at,
        "run": RUN,
    } | fields
    for statement in [RECORD, MESSAGE] if said else [RECORD]:
        connection.execute(text(statement), values)
    return values["id"]


# --- finding ---------------------------------------------------------------------------------


def test_a_conversation_is_found_by_its_id_its_beginning_and_its_lead(connection):
    key = add_conversation(connection, "lead 1/ü")
    for reference in (str(key), str(key).upper(), key.hex, str(key)[:8], str(key)[:15], "lead 1/ü"):
        assert find_conversation(connection, reference).id == key


def test_a_lead_stands_for_its_newest_conversation(connection):
    old = add_conversation(connection, "lead-1", status="closed")
    new = add_conversation(connection, "lead-1", ordinal=1)
    found = find_conversation(connection, "lead-1")
    assert (found.id, found.ordinal, found.conversations_of_lead) == (new, 1, 2)
    assert find_conversation(connection, str(old)).closed_at == NOON


def test_the_header_tells_whose_it_is_and_counts_its_messages(connection):
    add_conversation(connection, "lead-1")
    for minute, role, kind in ((1, "user", "text"), (0, "user", "event"), (2, "tool", "text")):
        at = NOON + timedelta(minutes=minute)
        add_record(connection, "lead-1", f"a{minute}", at=at, role=role, kind=kind)
    found = find_conversation(connection, "lead-1")
    assert (found.lead, found.lead_id) == ("lead-1", as_uuid(lead_id("lead-1")))
    assert (found.customer, found.customer_id) == ("Joanie", as_uuid(customer_id("lead-1")))
    assert (found.channel, found.status, found.stage) == ("sms", "open", "quoted")
    assert (found.messages, found.events, found.roles) == (3, 1, {"user": 2, "tool": 1})
    assert (found.started_at, found.first_message_at) == (NOON, NOON)


def test_a_conversation_without_messages_has_none(connection):
    add_conversation(connection, "lead-1")
    found = find_conversation(connection, "lead-1")
    assert (found.messages, found.events, found.roles, found.first_message_at) == (0, 0, {}, None)


@pytest.mark.parametrize("unknown", ["nobody", "", "abc", "0" * 32, "\0\udcff", "0" * 33, "-" * 40])
def test_an_unknown_reference_is_refused_with_the_forms_it_may_have(connection, unknown):
    with pytest.raises(UsageError, match="first 8 characters or more"):
        find_conversation(connection, unknown)
    with pytest.raises(UsageError, match="an audit id of the log 'audit'"):
        trace(connection, unknown)


def test_a_beginning_of_two_conversations_is_refused_with_both(connection):
    keys = [uuid.UUID(f"abcdef01-0000-4000-8000-00000000000{n}") for n in (1, 2)]
    for number, key in enumerate(keys):
        add_conversation(connection, f"lead-{number}", key=key)
    with pytest.raises(UsageError, match=f"more than one conversation .{keys[0]}, {keys[1]}"):
        find_conversation(connection, "abcdef01")
    assert find_conversation(connection, str(keys[1])).id == keys[1]


def test_a_lead_whose_id_looks_like_a_beginning_is_meant_first(connection):
    key = uuid.UUID("12345678-0000-4000-8000-000000000001")
    add_conversation(connection, "lead-1", key=key)
    assert find_conversation(connection, "12345678").id == key
    own = add_conversation(connection, "12345678")
    assert find_conversation(connection, "12345678").id == own


# --- reading ---------------------------------------------------------------------------------


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    places=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), st.text("aBb€-é", max_size=3)),
        unique_by=lambda place: place[2],
        max_size=12,
    ),
    limit=st.integers(1, 5),
)
def test_pages_hold_every_message_once_in_the_order_of_the_log(connection, places, limit):
    """Order is time, then place in the source, then audit id by its characters' numbers."""
    savepoint = connection.begin_nested()
    key = add_conversation(connection, "lead-1")
    add_conversation(connection, "other")
    add_record(connection, "other", "not ours")
    for minutes, seq, audit_id in places:
        add_record(connection, "lead-1", audit_id, at=NOON + timedelta(minutes=minutes), seq=seq)
    read, after = [], None
    for _ in itertools.count():
        page = messages(connection, key, after=after, limit=limit)
        read += page.messages
        after = page.next
        if after is None:
            break
        assert len(page.messages) == limit
    savepoint.rollback()
    assert [(m.created_at, m.seq, m.audit_id) for m in read] == [
        (NOON + timedelta(minutes=minutes), seq, audit_id)
        for minutes, seq, audit_id in sorted(places)
    ]


def test_a_page_behind_the_last_message_is_empty(connection):
    key = add_conversation(connection, "lead-1")
    last = add_record(connection, "lead-1", "a1")
    assert messages(connection, key, after=last).messages == ()


def test_a_page_behind_a_stranger_is_refused(connection):
    key = add_conversation(connection, "lead-1")
    add_conversation(connection, "lead-2")
    add_record(connection, "lead-1", "a1")
    elsewhere = add_record(connection, "lead-2", "a2")
    for stranger in (elsewhere, uuid.UUID(int=1)):
        with pytest.raises(UsageError, match="not in this conversation"):
            messages(connection, key, after=stranger)


@pytest.mark.parametrize("limit", [0, 1001])
def test_a_page_has_a_size_within_bounds(connection, limit):
    with pytest.raises(UsageError, match="1 to 1000"):
        messages(connection, uuid.UUID(int=1), limit=limit)


# --- tracing ---------------------------------------------------------------------------------


def test_a_message_leads_back_to_its_record_by_any_of_its_names(connection):
    conversation = add_conversation(connection, "lead-1")
    key = add_record(connection, "lead-1", "cm5x/1", seq=9)
    for reference in (str(key), str(key)[:8], "cm5x/1"):
        found = trace(connection, reference)
        assert (found.record.id, found.record.log, found.record.audit_id) == (
            key,
            "audit",
            "cm5x/1",
        )
        assert (found.record.actor, found.record.action) == ("customer", "message_received")
        assert (found.record.payload, found.record.lead) == (PAYLOAD, "lead-1")
        assert (found.record.seq, found.record.run_id, found.record.created_at) == (9, RUN, NOON)
        assert found.record.received_at is not None
        assert found.projection.conversation_id == conversation
        assert found.projection.message.content == "Can you quote a sofa?"
        assert found.projection.metadata == {"auditAction": "message_received"}


def test_a_record_that_made_no_message_is_traced_too(connection):
    add_record(connection, "lead-1", "silent", said=False)
    assert trace(connection, "silent").projection is None


def test_an_audit_id_is_looked_for_in_one_log(connection):
    add_conversation(connection, "lead-1")
    ids = [add_record(connection, "lead-1", "a1", log=log) for log in ("audit", "second")]
    assert trace(connection, "a1").record.id == ids[0]
    assert trace(connection, "a1", log="second").record.id == ids[1]


def test_an_audit_id_that_is_a_uuid_is_traced(connection):
    add_conversation(connection, "lead-1")
    own = str(uuid.UUID(int=5))
    key = add_record(connection, "lead-1", own)
    assert trace(connection, own).record.id == key
