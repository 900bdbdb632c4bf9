"""Leads become customers in a real database, the same ones in any order and any batches."""

import json
import random
import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from backstory.extract.identity import customer_id, lead_id
from backstory.extract.leads import LeadRecord, parse_lead
from backstory.model import Channel, LeadSource
from backstory.store.linking import link_leads, plan_links

AIRLINE = Path(__file__).parents[3] / "shared/data/airline"
START = datetime(2026, 1, 1, tzinfo=UTC)


def lead(number, **fields):
    """Return a lead that came `number` minutes into the year."""
    fields.setdefault("created_at", START + timedelta(minutes=number))
    return LeadRecord(external_id=f"lead {number}", **fields)


def link(connection, leads, **options):
    options.setdefault("source", LeadSource.LIST)
    return link_leads(connection, leads, run_id=options.pop("run_id", None), **options)


def groups(connection):
    """Return who is one person, by external id."""
    found = defaultdict(set)
    for external_id, customer in connection.execute(
        text("SELECT external_id, customer_id FROM leads")
    ):
        found[customer].add(external_id)
    return {frozenset(leads) for leads in found.values()}


def one(connection, query, **parameters):
    return connection.execute(text(query), parameters).scalar_one()


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
        planned = plan_links(connection, shuffled[start : start + size])
        outcome = link(connection, shuffled[start : start + size])
        assert outcome == planned
        created += outcome.customers_created
        merges += outcome.merges
        start += size
    assert groups(connection) == people
    assert created - merges == len(people) == 21
