"""A run's links can be taken back: what was there before is there again, and others keep theirs."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from linked import (
    add_authored,
    add_conversation,
    any_lead,
    check_links,
    dump,
    groups,
    insert,
    lead,
    link,
    rows,
    start_run,
    take_back,
    value,
)
from sqlalchemy import text

from backstory.model import Channel, LeadSource


def author(connection, dice):
    for lead_id, customer_id in rows(connection, "SELECT id, customer_id FROM leads ORDER BY id"):
        if dice.random() < 0.4:
            add_authored(connection, lead_id, customer_id, dice)


@pytest.mark.parametrize("seed", range(8))
def test_the_last_run_taken_back_leaves_every_table_as_it_was(connection, seed):
    dice = random.Random(seed)
    limit, most = dice.randint(1, 3), dice.randint(3, 16)
    for _ in range(dice.randint(2, 5)):
        batch = [any_lead(dice, most) for _ in range(dice.randint(1, 8))]
        source = dice.choice([LeadSource.LIST, LeadSource.LIST, LeadSource.LIVE])
        before, run = dump(connection), start_run(connection)
        link(connection, *batch, run=run, source=source, hub_limit=limit)
        check_links(connection, limit)
        with connection.begin_nested() as attempt:
            take_back(connection, run, hub_limit=limit)
            assert dump(connection) == before
            assert not rows(connection, "SELECT 1 FROM run_changes WHERE run_id = :run", run=run)
            attempt.rollback()
        author(connection, dice)


@pytest.mark.parametrize("seed", range(8))
def test_a_run_taken_back_out_of_order_leaves_the_links_that_the_other_leads_make(connection, seed):
    dice = random.Random(seed)
    limit, most = dice.randint(1, 3), dice.randint(3, 16)
    runs = []
    for _ in range(dice.randint(2, 5)):
        runs.append(start_run(connection))
        batch = [any_lead(dice, most) for _ in range(dice.randint(1, 8))]
        link(connection, *batch, run=runs[-1], hub_limit=limit)
        author(connection, dice)
    dice.shuffle(runs)
    for run in runs:
        take_back(connection, run, hub_limit=limit)
        check_links(connection, limit)


# What few leads share, so that most are linked by several of them: psid, phone, e-mail and minute.
shared = st.tuples(
    st.sampled_from([None, 1, 2]),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([None, "a", "b"]),
    st.integers(0, 9),
)


def contact(name, psid, phone, email, minute):
    return lead(
        name,
        minute,
        channel=Channel.MESSENGER if psid else Channel.SMS,
        psid=psid and str(psid),
        phone=phone and f"+1512555000{phone}",
        email=email and f"{email}@example.com",
        name=f"Name {minute}",
    )


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(shared, min_size=1, max_size=3), min_size=3, max_size=5), st.data())
def test_runs_taken_back_in_any_order_leave_what_the_others_make_and_at_last_nothing(
    connection, lists, data
):
    """In between leads are linked as if only the standing runs had ever been loaded."""
    with connection.begin_nested() as attempt:
        before = dump(connection)
        loads = {}
        for number, listed in enumerate(lists):
            leads = [contact(f"{number}-{n}", *each) for n, each in enumerate(listed)]
            loads[start_run(connection)] = leads
        for run, leads in loads.items():
            link(connection, *leads, run=run)
        for run in data.draw(st.permutations(list(loads))):
            take_back(connection, run)
            del loads[run]
            standing = {each.external_id for leads in loads.values() for each in leads}
            assert set().union(*groups(connection)) == standing
            check_links(connection, 25)
        assert dump(connection) == before
        assert not rows(connection, "SELECT 1 FROM run_changes")
        attempt.rollback()


BRIDGED = (
    [
        lead("l1", 1, psid="7", email="a@example.com"),
        lead("l2", 4, channel=Channel.SMS, phone="+15125550001"),
    ],
    [lead("l3", 2, channel=Channel.SMS, phone="+15125550001", email="a@example.com")],
    [lead("l4", 3, psid="7", phone="+15125550001")],
)


def bridged_twice(connection):
    """Load two strangers whom two later runs join, and take the first of these back."""
    runs = [start_run(connection) for _ in BRIDGED]
    for run, leads in zip(runs, BRIDGED, strict=True):
        link(connection, *leads, run=run)
    take_back(connection, runs[1])
    assert rows(connection, "SELECT run_id, undone_at FROM customer_merges") == [(None, None)]
    return runs[0], runs[2]


def test_a_merge_that_another_run_still_makes_goes_when_that_is_taken_back_too(connection):
    first, last = bridged_twice(connection)
    take_back(connection, last)
    assert len(groups(connection)) == 2
    assert not rows(connection, "SELECT 1 FROM customer_merges")
    take_back(connection, first)
    assert not rows(connection, "SELECT 1 FROM customers")


@pytest.mark.parametrize("written", ["address", "tag", "claim"])
def test_a_customer_left_without_leads_stays_with_what_somebody_wrote(connection, written):
    first, last = bridged_twice(connection)
    absorbed = value(connection, "SELECT absorbed_id FROM customer_merges")
    if written == "tag":
        connection.execute(
            text("UPDATE customers SET tags = '{vip}' WHERE id = :id"), {"id": absorbed}
        )
    elif written == "claim":
        claim = {"kind": "phone", "value": "+15125550009", "provenance": "claimed"}
        insert(connection, "customer_identities", customer_id=absorbed, **claim)
    else:
        place = {"line1": "somewhere", "normalized_key": "somewhere"}
        insert(connection, "customer_addresses", customer_id=absorbed, **place)
    take_back(connection, first)
    take_back(connection, last)
    left = rows(connection, "SELECT id FROM customers")
    assert (absorbed,) in left


def test_a_merge_is_numbered_beside_those_that_are_left_when_an_earlier_one_is_forgotten(
    connection,
):
    link(connection, lead("a", 1, psid="1"), lead("b", 2, psid="2", email="b@example.com"))
    bridge = lead("bridge", 3, psid="1", email="b@example.com")
    apart = lead("bridge", 3, psid="1")
    runs = [start_run(connection) for _ in range(4)]
    for run, listed in zip(runs, (bridge, apart, bridge, apart), strict=True):
        link(connection, listed, run=run)
    assert value(connection, "SELECT count(*) FROM customer_merges") == 2
    take_back(connection, runs[0])
    assert value(connection, "SELECT count(*) FROM customer_merges") == 1
    link(connection, bridge)
    assert value(connection, "SELECT count(*) FROM customer_merges") == 2
    check_links(connection, 25)


def test_a_run_that_split_and_merged_the_customers_of_an_earlier_one_is_taken_back(connection):
    first, second = start_run(connection), start_run(connection)
    link(
        connection,
        lead("a", psid="1", phone="+15125550001", name="Ann Lee"),
        lead("b", 1, psid="2", phone="+15125550001"),
        lead("c", 2, psid="3", email="c@example.com"),
        run=first,
    )
    conversation = add_conversation(connection, "c")
    before = dump(connection)
    outcome = link(
        connection,
        lead("b", 1, psid="2", phone="+15125550002", stage="moved"),
        lead("c", 2, psid="1", email="new@example.com", stage="merged"),
        run=second,
    )
    assert (outcome.merges, outcome.splits, outcome.leads_changed) == (1, 1, 2)
    assert rows(
        connection,
        "SELECT external_id, metadata ->> 'leadStage' FROM conversations WHERE id = :id",
        id=conversation,
    ) == [("1", "merged")]
    undone = take_back(connection, second)
    assert (undone.leads_deleted, undone.customers_deleted, undone.merges_undone) == (0, 1, 1)
    assert dump(connection) == before


def test_what_a_later_run_changed_again_stays_and_the_later_run_inherits_what_was_before(
    connection,
):
    runs = [start_run(connection) for _ in range(3)]
    for run, stage, name in zip(
        runs, ("new", "quoted", "booked"), ("Ann", "Bea", "Bea"), strict=True
    ):
        link(connection, lead("a", psid="1", stage=stage, name=name), run=run)

    def seen():
        return rows(connection, "SELECT stage, name FROM leads")

    take_back(connection, runs[1])
    assert seen() == [("booked", "Ann")]
    take_back(connection, runs[2])
    assert seen() == [("new", "Ann")]
    take_back(connection, runs[0])
    assert seen() == []


def test_a_lead_with_a_conversation_of_another_run_becomes_that_runs(connection):
    first, second = start_run(connection), start_run(connection)
    link(connection, lead("a", psid="1"), lead("b", psid="2"), run=first)
    ((lead_id, customer_id),) = rows(
        connection, "SELECT id, customer_id FROM leads WHERE external_id = 'a'"
    )
    insert(
        connection,
        "conversations",
        lead_id=lead_id,
        customer_id=customer_id,
        channel="messenger",
        status="open",
        run_id=second,
    )
    undone = take_back(connection, first)
    assert (undone.leads_deleted, undone.leads_kept, undone.customers_kept) == (1, 1, 1)
    assert rows(connection, "SELECT external_id, run_id FROM leads") == [("a", second)]
    assert rows(connection, "SELECT run_id FROM customers") == [(second,)]
    assert rows(connection, "SELECT value, run_id FROM customer_identities") == [
        ("messenger:1", second)
    ]


def test_a_customer_that_stays_forgets_what_only_the_run_said_of_them(connection):
    first, second = start_run(connection), start_run(connection)
    link(connection, lead("a", psid="1", name="Ann Lee", email="ann@example.com"), run=first)
    link(connection, lead("b", 1, psid="1", name="Annie"), run=second)
    take_back(connection, first)
    assert rows(
        connection, "SELECT display_name, first_name, last_name, email, run_id FROM customers"
    ) == [("Annie", "Annie", None, None, second)]


def test_a_claimed_identity_of_a_customer_blocks_the_deletion_of_that_customer_only(connection):
    run = start_run(connection)
    link(connection, lead("a", psid="1"), lead("b", psid="2"), run=run)
    customer = value(connection, "SELECT customer_id FROM leads WHERE external_id = 'a'")
    claim = insert(
        connection,
        "customer_identities",
        customer_id=customer,
        kind="phone",
        value="+15125550001",
        provenance="claimed",
    )
    undone = take_back(connection, run)
    assert (undone.leads_deleted, undone.customers_deleted, undone.customers_kept) == (2, 1, 1)
    assert rows(connection, "SELECT id FROM customer_identities") == [(claim,)]
