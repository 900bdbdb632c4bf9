"""A run's links can be taken back: what was there before is there again, and others keep theirs."""

import random

import pytest
from linked import (
    add_authored,
    add_conversation,
    any_lead,
    check_links,
    dump,
    insert,
    lead,
    link,
    rows,
    start_run,
    take_back,
    value,
)

from backstory.model import LeadSource


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
