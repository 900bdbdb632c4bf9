"""A run from its first record to its report: what it writes, what it says, what it survives."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from dumps import comparable, differences, logical
from loaded_world import BEGUN, World, lead, record, talk
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

from backstory.backfill import journey
from backstory.backfill.options import BackfillOptions
from backstory.errors import DatabaseUnreachable, RunError, UsageError
from backstory.extract.identity import conversation_id, lead_id, message_id
from backstory.model import TombstoneKind
from backstory.store.tombstones import bury
from backstory.version import VERSION

DATA = Path(__file__).parents[3] / "shared" / "data"


# --- what it writes --------------------------------------------------------------------------


def test_a_message_leads_back_to_its_record_and_a_conversation_to_its_lead(world: World) -> None:
    leads = [
        lead("lead-1", channel="messenger", messenger_psid="psid-1", phone="512 555 0101"),
        lead("lead-2", channel="sms", phone="(512) 555-0102", stage="booked"),
    ]
    payload = {"text": "Hi", "sender_name": "Joanie", "attachments": [{"caption": "a spa"}]}
    world.load([record(1, payload=payload), record(2), record(3, "lead-2")], leads)
    (message,) = world.rows(
        "SELECT m.*, a.payload AS told, a.lead_external_id, jsonb_typeof(a.payload) AS payload_is, "
        "jsonb_typeof(m.metadata) AS metadata_is FROM messages m JOIN audit_log a ON a.id = m.id "
        "WHERE m.audit_id = 'a-1'"
    )
    assert message.id.bytes == message_id("audit", "a-1")
    assert message.conversation_id.bytes == conversation_id("lead-1", 0)
    assert (message.role, message.kind, message.content) == ("user", "text", "Hi")
    assert (message.author, message.attachment_text) == ("Joanie", "a spa")
    assert (message.told, message.lead_external_id) == (payload, "lead-1")
    assert (message.payload_is, message.metadata_is) == ("object", "object")
    assert message.metadata == {
        "auditId": "a-1",
        "auditAction": "message_received",
        "auditActor": "customer",
        "source": "audit_backfill",
        "createdBy": "backstory",
    }
    rows = world.rows(
        "SELECT c.*, l.external_id AS lead FROM conversations c JOIN leads l ON l.id = c.lead_id "
        "ORDER BY l.external_id"
    )
    assert [(row.lead, row.channel, row.external_id, row.status, row.ordinal) for row in rows] == [
        ("lead-1", "messenger", "psid-1", "open", 0),
        ("lead-2", "sms", "+15125550102", "open", 0),
    ]
    assert {row.started_at for row in rows} == {BEGUN}
    assert [row.last_message_at.minute for row in rows] == [2, 3]
    assert [row.last_incoming_at.minute for row in rows] == [1, 3]
    assert rows[1].metadata == {
        "source": "audit_backfill",
        "leadStage": "booked",
        "createdBy": "backstory",
        "createdAt": "2026-05-01T00:00:00+00:00",
    }


def test_what_comes_later_moves_a_conversation_on_and_never_back(world: World) -> None:
    world.load(talk("lead-1", [10, 11]), [lead("lead-1")])
    for numbers, last in [([4, 5], 11), ([20], 20), ([7], 20)]:
        world.load(talk("lead-1", numbers), [lead("lead-1")])
        assert world.one("SELECT last_message_at FROM conversations").minute == last
    assert world.one("SELECT last_incoming_at FROM conversations").minute == 11


def test_another_log_has_ids_of_its_own(world: World) -> None:
    world.load(talk("lead-1", range(3)), [lead("lead-1")])
    report = world.load(talk("lead-1", range(3)), [lead("lead-1")], log="archive")
    assert report.messages_created == 3
    assert world.one("SELECT count(*) FROM conversations") == 1
    with pytest.raises(UsageError):
        world.load(talk("lead-1", range(3)), log="backstory")


def test_without_a_list_the_leads_come_from_the_log_and_the_report_says_so(world: World) -> None:
    report = world.load([record(5, "x"), record(3, "x"), record(4, "y"), record(6, None)])
    assert report.customers_created == report.leads_linked == report.conversations_created == 2
    assert report.skipped_by_reason == {"no_lead": 1}
    assert [warning[-2:] for warning in report.warnings] == ["2."]
    rows = world.rows("SELECT external_id, channel, source, created_at FROM leads ORDER BY 1")
    assert [tuple(row[:3]) for row in rows] == [
        ("x", "other", "derived"),
        ("y", "other", "derived"),
    ]
    assert [row.created_at.minute for row in rows] == [3, 4]


@pytest.mark.parametrize("listed", [True, False])
def test_a_lead_that_was_erased_is_not_brought_back(world: World, *, listed: bool) -> None:
    with world.connection() as connection:
        bury(connection, TombstoneKind.LEAD, [lead_id("gone")])
    leads = [lead("gone", phone="512 555 0101", name="Joanie"), lead("lead-1")]
    report = world.load([record(1, "gone"), record(2)], leads if listed else None)
    assert report.skipped_by_reason == {"erased": 1}
    assert [row[0] for row in world.rows("SELECT external_id FROM leads")] == ["lead-1"]
    for table in ("customers", "conversations", "messages", "audit_log"):
        told = world.rows(f"SELECT CAST(t AS text) FROM {table} t")
        assert not any("Joanie" in row[0] or "5550101" in row[0] for row in told)
    assert report.customers_created == 1
    assert ("Listed leads that were erased, left aside: 1." in report.warnings) == listed


def test_an_unknown_actor_can_be_taken_for_the_system(world: World) -> None:
    report = world.load([record(1, actor="robot")], [lead("lead-1")], unknown_actor="system")
    assert report.roles == {"system": {"count": 1, "percent": 100.0}}
    assert world.one("SELECT metadata ->> 'auditActor' FROM messages") == "robot"


# --- what it says ----------------------------------------------------------------------------


def test_each_run_is_one_entry_of_the_own_log(world: World) -> None:
    records = [*talk("lead-1", range(4)), record(1), record(2, payload={"text": "x"})]
    records += [record(9, "stranger"), record(8, payload=None), b"{"]
    for _ in range(2):
        world.load(records, [lead("lead-1"), lead("idle")])
    rows = world.rows("SELECT * FROM audit_log WHERE log = 'backstory' ORDER BY received_at")
    assert len(rows) == 2
    assert {(row.actor, row.action) for row in rows} == {
        ("system", "backfill_conversations_messages")
    }
    first, second = (row.payload for row in rows)
    assert set(first) == {"timestamp", "stats", "script", "version"}
    assert (first["script"], first["version"]) == ("backstory", VERSION)
    assert datetime.fromisoformat(first["timestamp"]).tzinfo is not None
    assert first["stats"] == {
        "conversationsCreated": 2,
        "conversationsSkipped": 0,
        "messagesCreated": 4,
        "messagesSkipped": 2,
        "auditsProcessed": 7,
        "auditsSkipped": 1,
        "errors": 1,
    }
    assert second["stats"] == first["stats"] | {
        "conversationsCreated": 0,
        "conversationsSkipped": 2,
        "messagesCreated": 0,
        "messagesSkipped": 6,
    }


def test_a_log_without_a_record_fails_before_anything_is_written(world: World) -> None:
    empty = world.options([b"", b"   "], [lead("lead-1")])
    strict = BackfillOptions(audit=empty.audit, leads=empty.leads)
    with pytest.raises(RunError, match="--allow-empty"):
        journey.start(world.database, world.home, strict)
    assert world.one("SELECT status FROM backfill_runs") == "failed"
    assert world.one("SELECT count(*) FROM conversations") == 0
    report = journey.start(world.database, world.home, empty)
    assert (report.records_read, report.conversations_created) == (0, 1)


def test_the_report_is_kept_with_the_run(world: World) -> None:
    report = world.load(talk("lead-1", range(3)), [lead("lead-1"), {"id": ""}])
    (error,) = report.errors
    assert re.fullmatch(r"leads-\d+\.jsonl:2: The lead has no id.*", error)
    assert world.one("SELECT report FROM backfill_runs") == json.loads(json.dumps(report.as_json()))
    assert report.messages_per_second > 0
    assert set(report.seconds_by_step) == {"link", "read", "write", "check"}


# --- what it survives ------------------------------------------------------------------------


def test_an_answer_to_a_commit_that_is_lost_is_no_second_count(world: World) -> None:
    """The commit went through and the connection broke before the answer came."""
    records = talk("lead-1", range(8))
    clean = world.load(records, [lead("lead-1")])
    with world.connection() as connection:
        before = logical(connection)
    world.roll_back()
    lost = []

    @event.listens_for(Engine, "commit")
    def lose(connection: Connection) -> None:
        written = connection.exec_driver_sql("SELECT count(*) FROM messages").scalar_one()
        if written and not lost:
            lost.append(written)
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            driver.commit()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    options = world.options(records, [lead("lead-1")])
    try:
        with pytest.raises(DatabaseUnreachable):
            journey.start(world.database, world.home, options)
    finally:
        event.remove(Engine, "commit", lose)
    assert lost == [8]
    report = journey.resume(world.database, "last")
    assert comparable(report) == comparable(clean)
    with world.connection() as connection:
        assert differences(before, logical(connection)) == []


# --- real dialogues --------------------------------------------------------------------------


def given(folder: str, *files: str) -> list[tuple[str, ...]]:
    if not (DATA / folder).is_dir():
        pytest.skip(f"the {folder} dialogues are not beside the checkout")
    return [(str(DATA / folder / file),) for file in files]


def load(world: World, audit: tuple[str, ...], leads: tuple[str, ...], **more: Any) -> Any:
    return journey.start(
        world.database, world.home, BackfillOptions(audit=audit, leads=leads, **more)
    )


def test_the_airline_dialogues_are_a_hundred_conversations_of_21_customers(world: World) -> None:
    audit, leads = given("airline", "audit.jsonl", "leads.jsonl")
    report = load(world, audit, leads)
    assert (report.records_read, report.messages_created) == (2962, 2962)
    assert (report.conversations_created, report.leads_linked) == (100, 100)
    assert world.one("SELECT count(*) FROM customers WHERE merged_into_id IS NULL") == 21
    assert report.customers_created == 21
    assert report.clean
    again = load(world, audit, leads)
    assert (again.messages_duplicate, again.messages_created) == (2962, 0)
    assert world.verify(sample=100).ok


def test_the_service_dialogues_are_read_from_their_archives(world: World) -> None:
    audit, leads = given("services", "audit.jsonl.gz", "leads.jsonl.gz")
    report = load(world, audit, leads, workers=2)
    assert report.records_read == 29_179
    assert report.conversations_created == 1500
    assert report.messages_created + report.messages_skipped == 29_179
    assert report.clean
    assert world.one("SELECT to_regclass('messages_search_idx') IS NOT NULL")
    assert world.one("SELECT count(*) FROM messages") == report.messages_created
