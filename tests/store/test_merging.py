"""Two customers become one and two again: every row that moved goes back, and none is forgotten."""

import random
import uuid

import pytest
from linked import (
    START,
    add_authored,
    add_conversation,
    dump,
    groups,
    insert,
    lead,
    link,
    rows,
    value,
)
from sqlalchemy import text

from backstory.errors import UsageError
from backstory.extract.identity import customer_id
from backstory.store.merging import undo_merge
from backstory.store.ownership import LEADS, MOVED, OWNED, follows
from backstory.store.tables import Base

_BRIDGE = "bridge"


def two_customers(connection, seed=0):
    """Link two strangers who have all that a customer can have; return their ids."""
    link(
        connection,
        lead("a", 1, psid="1", phone="+15125550001", email="a@example.com", name="Ann"),
        lead("b", 2, psid="2", email="b@example.com", name="Bea"),
    )
    dice = random.Random(seed)
    customers = []
    for name in ("a", "b"):
        conversation = add_conversation(connection, name)
        ((lead_id, customer_id),) = rows(
            connection, "SELECT id, customer_id FROM leads WHERE external_id = :name", name=name
        )
        customers.append(customer_id)
        for _ in range(3):
            add_authored(connection, lead_id, customer_id, dice)
        record = insert(
            connection,
            "audit_log",
            log="audit",
            audit_id=name,
            actor="customer",
            action="said",
            payload="{}",
            payload_hash=b"",
            seq=0,
            created_at=START,
        )
        insert(
            connection,
            "messages",
            id=record,
            conversation_id=conversation,
            customer_id=customer_id,
            log="audit",
            audit_id=name,
            role="user",
            kind="text",
            content="hello",
            seq=0,
            created_at=START,
        )
        insert(
            connection,
            "tool_calls",
            customer_id=customer_id,
            lead_id=lead_id,
            tool="find",
            actor="agent",
            arguments_hash=b"",
            outcome="ok",
            latency_ms=1,
        )
        insert(
            connection,
            "confirmations",
            customer_id=customer_id,
            conversation_id=conversation,
            candidate_id="1",
            source_kind="note",
            source_id=uuid.uuid4(),
            content_hash=b"",
            fetched_at=START,
        )
        job = value(
            connection,
            "SELECT min(id::text)::uuid FROM jobs WHERE customer_id = :id",
            id=customer_id,
        )
        insert(
            connection,
            "job_items",
            job_id=job,
            customer_id=customer_id,
            position=1,
            kind="item",
            name="sofa",
            quantity=1,
            unit="each",
        )
        add_derived(connection, record)
    return customers


DERIVED = """
INSERT INTO embedding_models (name, dimensions, run_id) VALUES ('m', 1, :message)
    ON CONFLICT DO NOTHING;
INSERT INTO embeddings (message_id, model, conversation_id, customer_id, content_hash, vector)
    SELECT id, 'm', conversation_id, customer_id, '', '[1]' FROM messages WHERE id = :message;
INSERT INTO conversation_summaries (conversation_id, customer_id, made_by, messages, left_out,
                                    first_message_id, last_message_id, last_at)
    SELECT conversation_id, customer_id, 'm', 1, 0, id, id, created_at FROM messages
    WHERE id = :message
"""


def add_derived(connection, message):
    """Give a message a meaning, and its conversation a summary of it."""
    for statement in DERIVED.split(";"):
        connection.execute(text(statement), {"message": message})


def bridge(connection):
    """List a lead that both strangers' identities lead to; return the merge."""
    outcome = link(connection, lead(_BRIDGE, 3, psid="1", email="b@example.com"))
    assert outcome.merges == 1
    return value(connection, "SELECT id FROM customer_merges WHERE undone_at IS NULL")


def owners(connection):
    """Return for each owned table how many rows each customer has."""
    return {
        table.name: dict(
            rows(connection, f"SELECT customer_id, count(*) FROM {table.name} GROUP BY customer_id")
        )
        for table in OWNED
    }


def test_every_table_with_a_customer_is_moved_or_follows_and_has_an_id():
    with_customer = {
        name for name, table in Base.metadata.tables.items() if "customer_id" in table.c
    }
    moved = {table.name for table in MOVED}
    assert {table.name for table in OWNED} == with_customer
    assert moved | {table.name for table in OWNED if follows(table)} == with_customer
    assert LEADS.name in moved
    following = {"conversations", "messages", "embeddings", "conversation_summaries"}
    assert following | {"job_items", "job_events"} == with_customer - moved
    assert all("id" in table.primary_key.columns for table in MOVED)


@pytest.mark.parametrize("seed", range(5))
def test_a_merge_leaves_nothing_with_the_absorbed_customer_and_undoing_it_gives_all_back(
    connection, seed
):
    _, absorbed = two_customers(connection, seed)
    before, had = dump(connection), owners(connection)
    assert all(counts.get(absorbed) for counts in had.values())
    merge = bridge(connection)
    assert all(absorbed not in counts for counts in owners(connection).values())
    assert len(groups(connection)) == 1
    moved = value(connection, "SELECT moved FROM customer_merges")
    assert {table.name for table in MOVED} <= set(moved)

    undo_merge(connection, merge)
    connection.execute(text("DELETE FROM leads WHERE external_id = 'bridge'"))
    connection.execute(text("DELETE FROM customer_merges"))
    assert dump(connection) == before


def test_a_merge_says_which_keys_led_to_it(connection):
    two_customers(connection)
    bridge(connection)
    assert value(connection, "SELECT reason FROM customer_merges") == {
        "rule": "shared_identity",
        "keys": [{"kind": "email", "value": "b@example.com"}],
    }


def test_the_customer_who_was_there_first_survives(connection):
    link(connection, lead("late", 9, psid="1"))
    link(connection, lead("early", 1, psid="2"))
    link(connection, lead("between", 5, psid="1", phone="+15125550001"))
    link(connection, lead("bridge", 7, psid="2", phone="+15125550001"))
    standing = "SELECT uuid_send(id) FROM customers WHERE merged_into_id IS NULL"
    assert rows(connection, standing) == [(customer_id("early"),)]


def test_undoing_a_merge_gives_back_what_came_with_the_leads_since(connection):
    survivor, absorbed = two_customers(connection)
    merge = bridge(connection)
    lead_id = value(connection, "SELECT id FROM leads WHERE external_id = 'b'")
    job = insert(connection, "jobs", customer_id=survivor, lead_id=lead_id, title="since")
    other = insert(connection, "jobs", customer_id=survivor, title="the survivor's own")
    undo_merge(connection, merge)
    found = dict(rows(connection, "SELECT id, customer_id FROM jobs"))
    assert (found[job], found[other]) == (absorbed, survivor)


def test_what_was_answered_while_two_were_one_is_told_neither_again(connection):
    """An answer under an idempotency key is replayed as it was, whoever the customer is by then."""
    survivor, _ = two_customers(connection)
    merge = bridge(connection)
    for name in ("a", "b"):
        insert(
            connection,
            "tool_calls",
            customer_id=survivor,
            lead_id=value(connection, f"SELECT id FROM leads WHERE external_id = '{name}'"),
            tool="memory_fetch_candidates",
            actor="agent",
            arguments_hash=b"",
            idempotency_key="k",
            outcome="found",
            answer="{}",
            latency_ms=1,
        )
    keyed = "SELECT count(*) FROM tool_calls WHERE idempotency_key IS NOT NULL"
    before = value(connection, keyed)
    undo_merge(connection, merge)
    assert (before, value(connection, keyed)) == (2, 0)


def test_undoing_a_merge_takes_from_the_survivor_what_only_the_other_said(connection):
    link(
        connection,
        lead("a", 1, psid="1"),
        lead("b", 2, psid="2", name="Bea", email="b@example.com"),
    )
    link(connection, lead("bridge", 3, psid="1", email="b@example.com"))
    merge = value(connection, "SELECT id FROM customer_merges")
    names = (
        "SELECT display_name, email FROM customers WHERE merged_into_id IS NULL ORDER BY created_at"
    )
    assert rows(connection, names) == [("Bea", "b@example.com")]
    undo_merge(connection, merge)
    # The bridge, which stays, says the address too; nobody who stays says the name.
    assert rows(connection, names) == [(None, "b@example.com"), ("Bea", "b@example.com")]


def test_linking_does_not_join_again_what_a_person_took_apart(connection):
    two_customers(connection)
    undo_merge(connection, bridge(connection))
    outcome = link(connection, lead("new", 9, psid="2", phone="+15125550001"))
    assert outcome.merges == 0
    assert groups(connection) == {frozenset({"a", _BRIDGE, "new"}), frozenset({"b"})}


def test_a_merge_is_undone_once(connection):
    two_customers(connection)
    merge = bridge(connection)
    undo_merge(connection, merge)
    with pytest.raises(UsageError, match="undone already"):
        undo_merge(connection, merge)
    with pytest.raises(UsageError, match="unknown"):
        undo_merge(connection, uuid.uuid4())


def test_a_split_takes_along_what_belongs_to_the_lead_that_leaves(connection):
    link(
        connection,
        lead("a", psid="1", phone="+15125550001"),
        lead("b", 1, psid="2", phone="+15125550001"),
    )
    conversation = add_conversation(connection, "b")
    lead_id, old = rows(connection, "SELECT id, customer_id FROM leads WHERE external_id = 'b'")[0]
    address = insert(
        connection, "customer_addresses", customer_id=old, line1="x", normalized_key="x"
    )
    shared = insert(
        connection, "customer_addresses", customer_id=old, line1="y", normalized_key="y"
    )
    jobs = {
        name: insert(connection, "jobs", customer_id=old, title=name, **columns)
        for name, columns in {
            "at the conversation": {"conversation_id": conversation},
            "at an address": {"lead_id": lead_id, "service_address_id": address},
            "of nobody": {},
            "at a shared address": {"lead_id": lead_id, "service_address_id": shared},
            "of another there": {"service_address_id": shared},
        }.items()
    }
    link(connection, lead("b", 1, psid="2"))
    new = value(connection, "SELECT customer_id FROM leads WHERE external_id = 'b'")
    assert new != old
    found = dict(rows(connection, "SELECT id, customer_id FROM jobs"))
    assert {name for name, job in jobs.items() if found[job] == new} == {
        "at the conversation",
        "at an address",
    }
    assert dict(rows(connection, "SELECT id, customer_id FROM customer_addresses")) == {
        address: new,
        shared: old,
    }
