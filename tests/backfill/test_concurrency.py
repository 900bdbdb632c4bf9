"""Backfills in several processes at once: nobody fails, nobody waits for ever, nothing is twice."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import UUID, uuid4

import pytest
from dumps import differences, logical
from killable import Forks, Journey, Sizes, forks
from loaded_world import BEGUN, World, lead, record, talk
from waiting import until

from backstory.backfill import journey
from backstory.backfill.rehearse import rehearse
from backstory.extract.identity import customer_id, lead_id
from backstory.extract.leads import LeadRecord
from backstory.model import LeadSource
from backstory.store.backfill import NewLead, add_leads
from backstory.store.linking import link_leads

LEADS = 24
RECORDS = [record(number, f"lead-{number % LEADS}") for number in range(480)]


@pytest.fixture(scope="module")
def fork() -> Iterator[Forks]:
    with forks() as opened:
        yield opened


def listed(phones: int) -> list[dict[str, str]]:
    """Return all leads, so many phones among them: which leads are one person depends on it."""
    return [
        lead(f"lead-{number}", phone=f"512 555 {100 + number % phones:04}")
        for number in range(LEADS)
    ]


def reports(world: World) -> list[dict[str, object]]:
    return [row[0] for row in world.rows("SELECT report FROM backfill_runs WHERE status = 'done'")]


def test_four_processes_write_what_one_writes(world: World, fork: Forks) -> None:
    world.load(RECORDS, listed(8))
    with world.connection() as connection:
        once = logical(connection, without=("audit_log.seq", "messages.seq"))
    world.roll_back()
    dice = random.Random(3)
    processes = []
    for _ in range(4):
        shuffled = RECORDS.copy()
        dice.shuffle(shuffled)
        options = world.options(shuffled, listed(8), workers=1)
        sizes = Sizes(records=40, segment_bytes=20_000, partition_bytes=20_000)
        processes.append(fork.begin(Journey(world.database.url, world.home, options, sizes)))
    assert [fork.end(process) for process in processes] == [0, 0, 0, 0]
    found = [report for report in reports(world) if report["records_read"] == 480][-4:]
    assert sum(int(str(report["messages_created"])) for report in found) == 480
    assert all(report["errors"] == [] for report in found)
    assert world.verify(sample=LEADS).ok
    with world.connection() as connection:
        together = logical(connection, without=("audit_log.seq", "messages.seq"))
    once.pop("run_changes"), together.pop("run_changes")
    assert differences(once, together) == []


def test_processes_that_link_the_same_leads_otherwise_do_not_harm_each_other(
    world: World, fork: Forks
) -> None:
    """Customers merge and part while their messages are written."""
    halves = [RECORDS[:240], RECORDS[240:], RECORDS[120:360], RECORDS[::-1]]
    processes = []
    for number, records in enumerate(halves):
        options = world.options(records, listed(3 + 3 * number))
        sizes = Sizes(records=20, segment_bytes=20_000, partition_bytes=20_000)
        processes.append(fork.begin(Journey(world.database.url, world.home, options, sizes)))
    assert [fork.end(process) for process in processes] == [0, 0, 0, 0]
    assert world.one("SELECT count(*) FROM messages") == 480
    assert world.one("SELECT count(*) FROM quarantine") == 0
    assert json.dumps([report["errors"] for report in reports(world)]) == "[[], [], [], []]"
    assert world.verify().failed == []


def wait_for_a_lock(world: World) -> None:
    until(lambda: world.one("SELECT count(*) FROM pg_locks WHERE NOT granted"))


@pytest.mark.parametrize("real", [True, False])
def test_a_lead_that_another_run_hears_of_while_it_is_linked_is_one_lead(
    world: World, *, real: bool
) -> None:
    """The other run derives it from its log; the linking here, rehearsed or not, looks again."""
    key, customer = lead_id("lead-0"), customer_id("lead-0")
    options = world.options(RECORDS[:48], listed(8))
    go = journey.start if real else partial(rehearse, batches=100)
    with ThreadPoolExecutor(1) as pool, world.database.engine.connect() as other:
        transaction = other.begin()
        add_leads(other, [NewLead(key, "lead-0", customer, BEGUN)], uuid4())
        begun = pool.submit(go, world.database, world.home, options)
        wait_for_a_lock(world)
        transaction.commit()
        report = begun.result()
    assert (report.messages_created, report.errors) == (48, [])
    assert world.one("SELECT count(*) FROM leads") == (LEADS if real else 1)
    source = world.one("SELECT source FROM leads WHERE external_id = 'lead-0'")
    assert source == ("list" if real else "derived")


def test_a_lead_that_another_run_links_while_it_is_derived_is_one_lead(world: World) -> None:
    """This run takes it from its log, and writes its messages to the lead that was there first."""
    options = world.options([*talk("lead-0", range(5)), *talk("lead-1", range(5, 9))])
    with ThreadPoolExecutor(1) as pool, world.database.engine.connect() as other:
        transaction = other.begin()
        linked = [LeadRecord("lead-0", phone_e164="+15125550101", created_at=BEGUN)]
        link_leads(other, linked, run_id=None, source=LeadSource.LIST)
        begun = pool.submit(journey.start, world.database, world.home, options)
        wait_for_a_lock(world)
        transaction.commit()
        report = begun.result()
    assert (report.messages_created, report.errors, report.customers_created) == (9, [], 1)
    rows = world.rows("SELECT external_id, source FROM leads ORDER BY 1")
    assert rows == [("lead-0", "list"), ("lead-1", "derived")]
    heard = """SELECT count(*) FROM messages m JOIN conversations c ON c.id = m.conversation_id
               WHERE c.lead_id = :key"""
    assert world.one(heard, key=UUID(bytes=lead_id("lead-0"))) == 5
    assert world.verify(sample=5).ok
