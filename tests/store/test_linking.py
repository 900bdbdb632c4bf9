"""Leads become customers in a real database, the same ones in any order and any batches."""

import json
import random
import tracemalloc
import uuid
from collections import defaultdict
from datetime import UTC
from pathlib import Path

import pytest
from linked import (
    START,
    add_conversation,
    any_lead,
    check_links,
    groups,
    insert,
    lead,
    link,
    rows,
    start_run,
    take_back,
    value,
    versions,
)
from sqlalchemy import text

from backstory.extract.customers import HUB_LIMIT
from backstory.extract.identity import customer_id, lead_id
from backstory.extract.leads import parse_lead
from backstory.model import Channel, LeadSource
from backstory.store.engine import open_engine
from backstory.store.linking import plan_links

AIRLINE = Path(__file__).parents[3] / "shared/data/airline"


@pytest.fixture(scope="module")
def airline():
    if not AIRLINE.exists():
        pytest.skip("the airline dialogues are not on this machine")
    with (AIRLINE / "leads.jsonl").open("rb") as lines:
        return [parse_lead(line, columns={}, assume_tz=UTC) for line in lines]


@pytest.fixture(scope="module")
def people():
    found = defaultdict(set)
    for external_id, person in json.loads((AIRLINE / "customers.json").read_text()).items():
        found[person].add(external_id)
    return {frozenset(leads) for leads in found.values()}


def test_a_list_of_leads_takes_some_hundred_bytes_a_lead_while_it_is_linked():
    def peak(count):
        leads = (lead(f"lead-{n:032}", psid=str(n), state_metadata="x" * 400) for n in range(count))
        tracemalloc.start()
        try:
            plan_links(None, leads)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # What is the same for all lists, a batch of leads above all, drops out of the difference.
    assert (peak(6000) - peak(3000)) / 3000 < 900


@pytest.mark.parametrize("seed", range(5))
def test_linking_finds_exactly_the_people_whatever_the_order_and_the_batches(
    connection, airline, people, seed
):
    shuffled = airline[:]
    dice = random.Random(seed)
    dice.shuffle(shuffled)
    created = merges = start = 0
    while start < len(shuffled):
        size = dice.randint(1, 40)
        batch = shuffled[start : start + size]
        planned = plan_links(connection, batch)
        assert link(connection, *batch) == planned
        created += planned.customers_created
        merges += planned.merges
        start += size
    assert groups(connection) == people
    assert created - merges == len(people) == 21


@pytest.mark.parametrize("seed", range(8))
def test_plan_and_link_agree_and_customers_are_what_the_leads_say_after_every_batch(
    connection, seed
):
    dice = random.Random(seed)
    limit, most = dice.randint(1, 3), dice.randint(3, 16)
    for _ in range(5):
        batch = [any_lead(dice, most) for _ in range(dice.randint(1, 8))]
        planned = plan_links(connection, batch, hub_limit=limit)
        before = value(connection, "SELECT count(*) FROM customers")
        assert link(connection, *batch, hub_limit=limit) == planned
        check_links(connection, limit)
        after = value(connection, "SELECT count(*) FROM customers")
        assert after - before == planned.customers_created


def test_a_plan_needs_no_database_and_no_schema_and_writes_nothing(empty_database_url):
    leads = [lead("a", psid="1"), lead("b", psid="1"), lead("c")]
    engine = open_engine(empty_database_url, "backstory")
    with engine.begin() as connection:
        # A business has a table of this name too: it is not ours.
        connection.execute(text("CREATE TABLE public.leads (id int)"))
        connection.execute(text("SET TRANSACTION READ ONLY"))
        in_nothing = plan_links(connection, leads)
    engine.dispose()
    assert in_nothing == plan_links(None, leads)
    assert (in_nothing.leads_linked, in_nothing.customers_created) == (3, 2)


def test_a_plan_runs_in_a_read_only_transaction(connection):
    link(connection, lead("a", psid="1", phone="+15125550001"))
    with connection.begin_nested():
        connection.execute(text("SET TRANSACTION READ ONLY"))
        planned = plan_links(connection, [lead("a", psid="2"), lead("b", phone="+15125550001")])
    assert (planned.leads_created, planned.leads_changed) == (1, 1)


def test_linking_the_same_list_again_changes_no_row(engine):
    leads = [
        lead("a", psid="1", phone="+15125550001", name="Ann", state_metadata={"x": [1.0, None]}),
        lead("b", 1, psid="1", email="a@example.com"),
        lead("c", 2, created_at=None),
        *(lead(f"hub {n}", psid=f"h{n}", phone="+15125559999") for n in range(30)),
    ]
    with engine.begin() as connection:
        link(connection, *leads, run=start_run(connection))
    with engine.begin() as connection:
        before = versions(connection)
        again = link(connection, *leads)
        assert versions(connection) == before
    assert (again.leads_listed, again.leads_linked, again.leads_changed) == (33, 0, 0)


def test_the_first_of_two_leads_with_one_id_wins_and_both_kinds_of_repetition_are_counted(
    connection,
):
    outcome = link(
        connection,
        lead("a", psid="1"),
        lead("a", psid="2"),
        lead("a", psid="1"),
        lead("b", psid="2"),
    )
    assert (outcome.leads_listed, outcome.leads_created) == (2, 2)
    assert (outcome.leads_repeated, outcome.leads_conflicting) == (2, 1)
    assert [each[:35] for each in outcome.findings] == ["1 lead is listed again with other c"]
    assert groups(connection) == {frozenset({"a"}), frozenset({"b"})}


def test_ids_depend_on_the_leads_alone_and_the_earliest_lead_founds_the_customer(connection):
    link(
        connection, lead("late", 9, psid="1"), lead("early", 1, psid="1"), lead("no time", psid="1")
    )
    assert rows(connection, "SELECT uuid_send(id), created_at FROM customers") == [
        (customer_id("no time"), START)
    ]
    assert set(rows(connection, "SELECT uuid_send(id) FROM leads")) == {
        (lead_id(name),) for name in ("late", "early", "no time")
    }


def test_a_customer_gets_what_the_earliest_lead_that_knows_it_says(connection):
    link(
        connection,
        lead("b", 2, psid="1", name="Ann Maria Lee", phone="+15125550001"),
        lead("a", 1, psid="1", email="ann@example.com", channel=Channel.MESSENGER),
        lead("c", 3, psid="1", name="A. Lee", email="lee@example.com", phone="+15125550002"),
    )
    assert rows(
        connection,
        "SELECT display_name, first_name, last_name, email, phone_e164, preferred_channel"
        " FROM customers",
    ) == [("Ann Maria Lee", "Ann", "Maria Lee", "ann@example.com", "+15125550001", "messenger")]


def test_what_a_customer_has_is_not_overwritten_by_a_later_lead(connection):
    link(connection, lead("a", psid="1", name="Ann"))
    link(connection, lead("b", 1, psid="1", name="Bea", email="bea@example.com"))
    assert rows(connection, "SELECT display_name, email FROM customers") == [
        ("Ann", "bea@example.com")
    ]


@pytest.mark.parametrize("seed", range(4))
def test_a_phone_of_one_person_too_many_is_a_hub_in_any_batches_and_any_order(connection, seed):
    dice = random.Random(seed)
    leads = [lead(f"l{n}", n, psid=f"p{n}", phone="+15125550001") for n in range(HUB_LIMIT + 1)]
    dice.shuffle(leads)
    link(connection, *leads[:HUB_LIMIT])
    assert len(groups(connection)) == 1
    outcome = link(connection, leads[HUB_LIMIT])
    assert len(groups(connection)) == HUB_LIMIT + 1
    assert [(hub.value, hub.leads) for hub in outcome.hubs] == [("+15125550001", HUB_LIMIT + 1)]
    assert "links nobody" in outcome.findings[0]
    # One of the first keeps the customer, the last was never part of it.
    assert outcome.splits == HUB_LIMIT - 1
    kinds = "SELECT kind, provenance, count(*) FROM customer_identities GROUP BY 1, 2 ORDER BY 1"
    assert rows(connection, kinds) == [
        ("messenger", "verified", HUB_LIMIT + 1),
        ("phone", "shared", HUB_LIMIT + 1),
    ]


def test_a_hub_that_is_none_any_more_links_again(connection):
    leads = [lead(f"l{n}", n, psid=f"p{n}", phone="+15125550001") for n in range(4)]
    link(connection, *leads, hub_limit=3)
    assert len(groups(connection)) == 4
    link(connection, lead("l3", 3, psid="p2", phone="+15125550001"), hub_limit=3)
    assert len(groups(connection)) == 1
    check_links(connection, 3)


def test_a_claimed_identity_never_links_and_is_never_touched(connection):
    link(connection, lead("a", psid="1"))
    owner = value(connection, "SELECT id FROM customers")
    claim = insert(
        connection,
        "customer_identities",
        customer_id=owner,
        kind="phone",
        value="+15125550001",
        provenance="claimed",
    )
    link(connection, lead("b", 1, phone="+15125550001"), lead("c", 2, psid="2"))
    assert len(groups(connection)) == 3
    assert rows(
        connection,
        "SELECT id FROM customer_identities WHERE provenance = 'claimed' AND customer_id = :id",
        id=owner,
    ) == [(claim,)]


def test_a_changed_lead_takes_its_first_conversation_along(connection):
    run = start_run(connection)
    link(connection, lead("a", psid="1", stage="new"))
    conversation = add_conversation(connection, "a")
    link(
        connection, lead("a", 5, channel=Channel.SMS, phone="+15125550001", stage="booked"), run=run
    )
    assert rows(
        connection,
        "SELECT channel, external_id, metadata ->> 'leadStage', started_at FROM conversations",
    )[0][:3] == ("sms", "+15125550001", "booked")
    assert rows(
        connection, "SELECT row_id FROM run_changes WHERE table_name = 'conversations'"
    ) == [(conversation,)]
    assert rows(connection, "SELECT before FROM run_changes WHERE table_name = 'leads'") == [
        (
            {
                "channel": "messenger",
                "messenger_psid": "1",
                "phone_raw": None,
                "phone_e164": None,
                "stage": "new",
                "created_at": "2026-01-01T00:00:00+00:00",
            },
        )
    ]


def test_a_list_blanks_what_it_does_not_say_and_a_live_event_does_not(connection):
    known = lead(
        "a", psid="1", phone="+15125550001", name="Ann", stage="new", state_metadata={"x": 1}
    )
    link(connection, known)
    live = lead("a", 9, channel=Channel.OTHER, stage="booked", created_at=None)
    link(connection, live, source=LeadSource.LIVE)
    query = (
        "SELECT channel, messenger_psid, phone_e164, name, stage, state_metadata, source FROM leads"
    )
    assert rows(connection, query) == [
        ("messenger", "1", "+15125550001", "Ann", "booked", {"x": 1}, "list")
    ]
    link(connection, lead("a", psid="1"))
    assert rows(connection, query) == [("messenger", "1", None, None, None, {}, "list")]


def test_a_lead_known_from_the_log_alone_becomes_a_listed_one(connection):
    link(connection, lead("a", channel=Channel.OTHER), source=LeadSource.DERIVED)
    outcome = link(connection, lead("a", channel=Channel.OTHER))
    assert outcome.leads_changed == 1
    assert rows(connection, "SELECT source FROM leads") == [("list",)]


def test_json_is_stored_as_json_whatever_its_kind(connection):
    states = [{"a": 1}, [1, 2], "text", 7, True, None, {"big": 2**80}]
    link(connection, *(lead(f"l{n}", state_metadata=state) for n, state in enumerate(states)))
    kinds = "SELECT jsonb_typeof(state_metadata) FROM leads ORDER BY external_id"
    assert [kind for (kind,) in rows(connection, kinds)] == [
        *("object", "array", "string", "number", "boolean", "object", "object")
    ]


def test_an_id_may_be_any_text_and_a_long_messenger_id_links_nothing(connection):
    odd = ["'; DROP TABLE leads; --", "ü\x1f\x1e", "x" * 5000, "NULL", "\\N"]
    link(connection, *(lead(name, n, psid="9" * 2000) for n, name in enumerate(odd)))
    assert groups(connection) == {frozenset({name}) for name in odd}


def test_a_list_is_read_once_so_it_may_be_a_stream(connection):
    stream = (lead(f"l{n}", n, psid=str(n % 3)) for n in range(10))
    assert link(connection, *stream).customers_created == 3


def test_a_customer_whom_all_leads_have_left_is_taken_up_again_by_the_lead_that_founded_it(
    connection,
):
    """Whatever people have written of it is still there; another id would be another person."""
    founder = uuid.UUID(bytes=customer_id("a"))
    insert(connection, "customers", id=founder, created_at=START)
    address = insert(
        connection, "customer_addresses", customer_id=founder, line1="1 Oak", normalized_key="1 oak"
    )
    insert(connection, "jobs", customer_id=founder, title="haul", service_address_id=address)
    run = start_run(connection)
    planned = plan_links(connection, [lead("a", psid="1")])
    outcome = link(connection, lead("a", psid="1"), run=run)
    assert planned == outcome
    assert (outcome.leads_linked, outcome.customers_created) == (1, 0)
    assert rows(connection, "SELECT customer_id FROM leads") == [(founder,)]
    assert rows(connection, "SELECT count(*) FROM customers") == [(1,)]
    check_links(connection, HUB_LIMIT)
    undone = take_back(connection, run)
    assert (undone.leads_deleted, undone.customers_deleted) == (1, 0)
    assert value(connection, "SELECT service_address_id FROM jobs") == address
    assert value(connection, "SELECT run_id FROM customers") is None


def test_a_customer_with_other_leads_is_not_taken_up_by_the_lead_that_founded_it(connection):
    link(connection, lead("a", 0, psid="1"), lead("b", 1, psid="1"))
    connection.execute(text("DELETE FROM leads WHERE external_id = 'a'"))
    link(connection, lead("a", 0, psid="2"))
    ((again,), (other,)) = rows(connection, "SELECT customer_id FROM leads ORDER BY external_id")
    assert other.bytes == customer_id("a")
    assert again != other
