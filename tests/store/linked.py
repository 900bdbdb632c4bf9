"""What the tests of linking share: leads in one line, and the database as plain data."""

import random
import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from backstory.extract.customers import same_person
from backstory.extract.leads import LeadRecord, identity_keys
from backstory.model import Channel, LeadSource
from backstory.store.linking import LinkOutcome, link_leads
from backstory.store.tables import Base
from backstory.store.unlinking import Unlinked, unlink_run

START = datetime(2026, 1, 1, tzinfo=UTC)
# What linking and its rollback may not leave otherwise than they found it.
_LEDGERS = {"backfill_runs", "run_changes"}


def lead(external_id, minute=0, /, **fields):
    """Return a lead that came at a minute of the year, on a messenger unless said otherwise."""
    fields.setdefault("channel", Channel.MESSENGER)
    fields.setdefault("created_at", START + timedelta(minutes=minute))
    if "phone" in fields:
        fields["phone_raw"] = fields["phone_e164"] = fields.pop("phone")
    if "psid" in fields:
        fields["messenger_psid"] = fields.pop("psid")
    return LeadRecord(external_id=external_id, **fields)


def link(connection: Connection, *leads, run=None, **options) -> LinkOutcome:
    options.setdefault("source", LeadSource.LIST)
    return link_leads(connection, leads, run_id=run, **options)


def start_run(connection: Connection) -> uuid.UUID:
    run = uuid.uuid4()
    connection.execute(
        text(
            "INSERT INTO backfill_runs (id, mode, log, status, host, spill_dir, created_at)"
            " VALUES (:id, 'backfill', 'audit', 'running', 'here', '-', clock_timestamp())"
        ),
        {"id": run},
    )
    return run


def take_back(connection: Connection, run: uuid.UUID, **options) -> Unlinked:
    """Do what a rollback does of it."""
    undone = unlink_run(connection, run, **options)
    connection.execute(
        text(
            "UPDATE backfill_runs SET status = 'rolled_back', updated_at = clock_timestamp()"
            " WHERE id = :id"
        ),
        {"id": run},
    )
    return undone


def rows(connection: Connection, query: str, **parameters):
    return [tuple(row) for row in connection.execute(text(query), parameters)]


def value(connection: Connection, query: str, **parameters):
    return connection.execute(text(query), parameters).scalar_one()


def groups(connection: Connection) -> frozenset[frozenset[str]]:
    """Return which leads are one customer, by external id."""
    found = defaultdict(set)
    for name, customer in rows(connection, "SELECT external_id, customer_id FROM leads"):
        found[customer].add(name)
    return frozenset(map(frozenset, found.values()))


def dump(connection: Connection) -> dict[str, list]:
    """Return every row of every table but the ledgers."""
    return {
        table.name: [
            row
            for (row,) in rows(
                connection, f"SELECT to_jsonb(t) FROM {table.name} t ORDER BY to_jsonb(t)"
            )
        ]
        for table in Base.metadata.sorted_tables
        if table.name not in _LEDGERS
    }


def versions(connection: Connection) -> dict[str, list]:
    """Return which version of each row there is: a row written again has another."""
    return {
        table.name: sorted(rows(connection, f"SELECT ctid::text, xmin::text FROM {table.name}"))
        for table in Base.metadata.sorted_tables
    }


def check_links(connection: Connection, hub_limit: int) -> None:
    """Assert that customers and identities are what the leads that are there say."""
    leads = rows(
        connection,
        "SELECT external_id, channel, messenger_psid, phone_e164, email, customer_id FROM leads",
    )
    keys = {each[0]: identity_keys(*each[1:5]) for each in leads}
    expected, hubs = same_person(keys.items(), hub_limit=hub_limit)
    assert groups(connection) == expected
    shared = {(hub.kind, hub.value) for hub in hubs}
    wanted = {
        (*key, "shared" if key in shared else "verified", each[5])
        for each in leads
        for key in keys[each[0]]
    }
    found = rows(
        connection,
        "SELECT kind, value, provenance, customer_id FROM customer_identities"
        " WHERE provenance <> 'claimed'",
    )
    assert set(found) == wanted
    merged_away = "SELECT 1 FROM leads l JOIN customers c ON c.id = l.customer_id"
    assert not rows(connection, merged_away + " WHERE c.merged_into_id IS NOT NULL")


def any_lead(dice: random.Random, most: int) -> LeadRecord:
    """Return one of few leads with some of few identities, so that they meet often."""

    def perhaps(share, text):
        return text if dice.random() < share else None

    phone = perhaps(0.5, f"+1512555{dice.randint(1, 5):04d}")
    return LeadRecord(
        external_id=f"lead {dice.randint(1, most)}",
        channel=dice.choice([Channel.MESSENGER, Channel.SMS]),
        messenger_psid=perhaps(0.4, str(dice.randint(1, 8))),
        phone_raw=phone,
        phone_e164=phone,
        email=perhaps(0.4, f"{dice.randint(1, 5)}@example.com"),
        name=perhaps(0.7, f"Name {dice.randint(1, 4)}"),
        stage=perhaps(0.8, dice.choice("ab")),
        state_metadata={"a": dice.randint(1, 2)},
        created_at=perhaps(0.8, START + timedelta(minutes=dice.randint(0, 50))),
    )


def insert(connection: Connection, table: str, **columns) -> uuid.UUID:
    """Insert a row with a new id; return the id."""
    columns = {"id": uuid.uuid4(), **columns}
    names = ", ".join(columns)
    places = ", ".join(f":{name}" for name in columns)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({places})"), columns)
    return columns["id"]


def add_authored(connection: Connection, lead_id, customer_id, dice: random.Random) -> None:
    """Give a customer what people write: an address, a job at it or not, an event and a note."""
    known = rows(
        connection, "SELECT id FROM customer_addresses WHERE customer_id = :id", id=customer_id
    )
    key = f"address {dice.randint(1, 2)}"
    same = rows(
        connection,
        "SELECT id FROM customer_addresses WHERE customer_id = :id AND normalized_key = :key",
        id=customer_id,
        key=key,
    )
    address = (
        same[0][0]
        if same
        else insert(
            connection,
            "customer_addresses",
            customer_id=customer_id,
            line1="somewhere",
            normalized_key=key,
            is_primary=not known,
        )
    )
    job = insert(
        connection,
        "jobs",
        customer_id=customer_id,
        service_address_id=dice.choice([address, None]),
        lead_id=dice.choice([lead_id, None]),
        title="haul",
    )
    insert(
        connection,
        "job_events",
        job_id=job,
        customer_id=customer_id,
        event_type="created",
        occurred_at=START,
        actor="staff",
    )
    insert(
        connection,
        "memory_notes",
        customer_id=customer_id,
        address_id=dice.choice([address, None]),
        job_id=dice.choice([job, None]),
        kind="fact",
        text="a dog",
        extracted_by="staff",
    )


def add_conversation(connection: Connection, name: str) -> uuid.UUID:
    """Give a lead its first conversation, as the backfill makes it."""
    ((lead_id, customer_id, channel, contact),) = rows(
        connection,
        "SELECT id, customer_id, channel, coalesce(messenger_psid, phone_e164, phone_raw)"
        " FROM leads WHERE external_id = :name",
        name=name,
    )
    return insert(
        connection,
        "conversations",
        lead_id=lead_id,
        customer_id=customer_id,
        channel=channel,
        external_id=contact,
        status="open",
        metadata='{"leadStage": null, "source": "audit_backfill"}',
    )
