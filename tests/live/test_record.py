"""Recording events one after another: what becomes of each, and what is there afterwards."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from dumps import differences, logical
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_world import (
    BEGUN,
    OTHERWISE,
    World,
    customers,
    outcomes,
    record,
    record_all,
    record_one,
    texts,
    told,
)
from loaded_world import lead

from backstory.errors import UsageError
from backstory.extract.identity import conversation_id, lead_id, message_id
from backstory.live.conversations import close_conversation
from backstory.model import EventOutcome, Role, TombstoneKind
from backstory.store.tombstones import bury

TRACE = {"auditId", "auditAction", "auditActor", "source", "createdBy"}


def test_an_event_of_an_unknown_lead_makes_the_lead_its_customer_and_its_conversation(
    world: World,
) -> None:
    done = record_one(world, record(1))
    assert done.outcome is EventOutcome.CREATED
    assert done.record_id is not None
    assert done.record_id.bytes == message_id("audit", "a-1")
    assert done.conversation_id is not None
    assert done.conversation_id.bytes == conversation_id("lead-1", 0)
    (row,) = world.rows(
        "SELECT l.source, l.channel, l.customer_id, c.status, c.started_at, c.last_message_at,"
        " c.last_incoming_at, m.role, m.content, m.metadata, m.run_id, a.payload"
        " FROM leads l JOIN conversations c ON c.lead_id = l.id"
        " JOIN messages m ON m.conversation_id = c.id JOIN audit_log a ON a.id = m.id"
    )
    assert (row.source, row.channel, row.status, row.role) == ("live", "other", "open", "user")
    assert row.customer_id == done.customer_id
    assert row.started_at == row.last_message_at == row.last_incoming_at
    assert (row.content, row.payload, row.run_id) == ("message 1", {"text": "message 1"}, None)
    assert row.metadata.keys() == TRACE
    assert row.metadata["source"] == "live"
    assert world.verify(sample=10).ok


def test_the_same_event_again_is_a_duplicate_and_changes_nothing(world: World) -> None:
    first = record_one(world, record(1))
    before = world.dump()
    again = record_one(world, json.dumps(record(1) | {"created_at": "2026-05-09T00:00:00Z"}))
    assert again.outcome is EventOutcome.DUPLICATE
    assert (again.record_id, again.conversation_id) == (first.record_id, first.conversation_id)
    assert world.dump() == before


def test_another_event_under_the_same_id_is_a_conflict_and_the_first_stays(world: World) -> None:
    record_one(world, record(1))
    lost = record_one(world, record(1, payload={"text": "otherwise"}))
    assert lost.outcome is EventOutcome.CONFLICT
    assert texts(world) == [["message 1"]]
    (row,) = world.rows("SELECT winner_id, payload, run_id FROM conflicts")
    assert (row.winner_id, row.payload, row.run_id) == (
        lost.record_id,
        {"text": "otherwise"},
        None,
    )
    assert record_one(world, record(1, payload={"text": "otherwise"})).outcome == "conflict"
    assert world.one("SELECT count(*) FROM conflicts") == 1


def test_a_conflict_makes_no_lead_known(world: World) -> None:
    record_one(world, record(1))
    assert record_one(world, record(1, "lead-2")).outcome is EventOutcome.CONFLICT
    assert customers(world) == [["lead-1"]]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (record(1, lead_id=None), "no_lead"),
        (record(1, actor="robot"), "unknown_actor"),
        (record(1, payload={}), "no_text"),
        (record(1, payload=None), "no_text"),
    ],
)
def test_what_says_nothing_is_skipped_once_with_its_reason(
    world: World, event: dict[str, object], reason: str
) -> None:
    for _ in range(2):
        done = record_one(world, event)
        assert (done.outcome, done.reason, done.audit_id) == ("skipped", reason, "a-1")
    rows = world.rows("SELECT reason, audit_id, position, run_id FROM skips")
    assert rows == [(reason, "a-1", "live", None)]
    assert world.one("SELECT count(*) FROM audit_log") == 0
    assert world.one("SELECT count(*) FROM leads") == 0


def test_a_setting_takes_unknown_actors_for_the_system(world: World) -> None:
    record_one(world, record(1, actor="robot"), unknown_actor=Role.SYSTEM)
    assert world.one("SELECT role FROM messages") == "system"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (b"{", "bad_json"),
        ("[1]", "not_an_object"),
        (record(1, id=None), "no_id"),
        (record(1, created_at="yesterday"), "bad_time"),
        (b'{"id": "a", "payload": NaN}', "bad_number"),
        ("\ud800", "bad_utf8"),
        (record(1) | {"lead": "lead-1"}, "bad_lead"),
        (told(1, id="lead-2"), "bad_lead"),
        (told(1, phone=["512 555 0142"]), "bad_field"),
    ],
)
def test_what_cannot_be_read_is_kept_in_quarantine_with_its_bytes(
    world: World, event: object, code: str
) -> None:
    done = record_one(world, event)
    assert (done.outcome, done.reason) == ("quarantined", code)
    assert done.message
    (row,) = world.rows("SELECT code, stage, position, raw, options FROM quarantine")
    assert (row.code, row.stage, row.position) == (code, "parse", "live")
    assert row.raw
    assert row.options["assume_tz"] == "UTC"


def test_what_is_no_json_at_all_is_the_callers_mistake(world: World) -> None:
    with pytest.raises(UsageError, match="is JSON"):
        record_one(world, record(1, payload={"text": object()}))
    with pytest.raises(UsageError, match="log"):
        record_one(world, record(1), log="backstory")


def test_a_refused_event_is_quarantined_and_the_others_of_its_batch_are_written(
    world: World,
) -> None:
    world.run(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.content = 'message 2' THEN RAISE EXCEPTION 'not this one'; END IF;"
        " RETURN NEW; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    done = record_all(world, [record(1), record(2), b"{", record(3)])
    assert outcomes(done) == ["created", "quarantined", "quarantined", "created"]
    assert (done[1].reason, done[1].audit_id) == ("refused_P0001", "a-2")
    assert texts(world) == [["message 1", "message 3"]]
    world.run("DROP TRIGGER refuse ON messages")
    assert record_one(world, record(2)).outcome is EventOutcome.CREATED
    assert world.verify(sample=10).ok


def test_a_batch_says_of_each_event_what_became_of_it(world: World) -> None:
    record_one(world, record(1))
    done = record_all(
        world,
        [
            record(3),
            record(1),
            record(2, "lead-2"),
            record(3),
            record(3, payload={"text": "otherwise"}),
            record(4, payload={}),
            b"}",
            record(1, payload="otherwise"),
        ],
    )
    assert outcomes(done) == [
        *("created", "duplicate", "created", "duplicate"),
        *("conflict", "skipped", "quarantined", "conflict"),
    ]
    assert done[0].conversation_id == done[3].conversation_id
    assert texts(world) == [["message 1", "message 3"]]
    assert record_all(world, []) == []


def test_events_that_come_late_stand_in_the_order_of_time(world: World) -> None:
    for number in (5, 1, 4, 2, 3):
        record_one(world, record(number))
    assert texts(world) == [[f"message {number}" for number in range(1, 6)]]
    (row,) = world.rows("SELECT last_message_at, last_incoming_at FROM conversations")
    assert row.last_message_at == BEGUN + timedelta(minutes=5)
    assert row.last_incoming_at == BEGUN + timedelta(minutes=5)
    assert world.verify(sample=10).ok


def test_events_of_one_moment_stand_in_the_order_in_which_they_came(world: World) -> None:
    same = {"created_at": BEGUN.isoformat()}
    record_one(world, record(7, **same))
    record_all(world, [record(number, **same) for number in (3, 9, 1)])
    record_one(world, record(2, **same))
    assert texts(world) == [[f"message {number}" for number in (7, 3, 9, 1, 2)]]
    assert world.rows("SELECT seq FROM messages ORDER BY seq") == [(n,) for n in range(5)]


def test_payloads_of_every_kind_are_kept_as_they_are(world: World) -> None:
    payloads = ["plain", 5, True, [1, {"a": None}], {"n": 2**70, "f": 1.5}, {"text": "a\0b"}]
    record_all(world, [record(n, payload=each) for n, each in enumerate(payloads)])
    kept = [row[0] for row in world.rows("SELECT payload FROM audit_log ORDER BY audit_id")]
    assert kept == [*payloads[:5], {"text": "a\ufffdb"}]
    assert world.verify(sample=10).ok


# --- leads -----------------------------------------------------------------------------------


def test_what_the_transport_says_makes_the_lead_and_links_it(world: World) -> None:
    record_one(world, told(1, "lead-1", phone="512 555 0142", channel="sms", name="Jo Ann"))
    record_one(world, told(2, "lead-2", phone="+1 512 555 0142", messenger_psid="77"))
    record_one(world, record(3, "lead-3"))
    assert customers(world) == [["lead-1", "lead-2"], ["lead-3"]]
    assert world.one("SELECT display_name FROM customers WHERE phone_e164 IS NOT NULL") == "Jo Ann"
    rows = world.rows("SELECT channel, external_id FROM conversations ORDER BY started_at")
    assert rows == [("sms", "+15125550142"), ("messenger", "77"), ("other", None)]
    assert world.verify(sample=10).ok


def test_a_known_lead_learns_more_and_forgets_nothing(world: World) -> None:
    record_one(world, told(1, name="Jo", stage="new", phone="512 555 0142"))
    record_one(world, told(2, stage="quoted", email="jo@example.com"))
    row = world.rows("SELECT name, stage, phone_e164, email, created_at FROM leads")[0]
    assert row[:4] == ("Jo", "quoted", "+15125550142", "jo@example.com")
    assert row.created_at == BEGUN + timedelta(minutes=1)
    assert world.one("SELECT metadata ->> 'leadStage' FROM conversations") == "quoted"


def test_what_a_duplicate_says_of_its_lead_is_old(world: World) -> None:
    record_one(world, told(1, stage="new"))
    record_one(world, told(2, stage="quoted"))
    assert record_one(world, told(1, stage="new")).outcome is EventOutcome.DUPLICATE
    assert world.one("SELECT stage FROM leads") == "quoted"


def test_an_identity_that_two_customers_turn_out_to_share_merges_them(world: World) -> None:
    record_one(world, told(1, "lead-1", phone="512 555 0142"))
    record_one(world, told(2, "lead-2", email="jo@example.com"))
    first = world.one("SELECT customer_id FROM leads WHERE external_id = 'lead-1'")
    done = record_one(world, told(3, "lead-2", phone="512-555-0142"))
    assert done.customer_id == first
    assert customers(world) == [["lead-1", "lead-2"]]
    assert world.rows("SELECT DISTINCT customer_id FROM messages") == [(first,)]
    assert world.one("SELECT count(*) FROM customer_merges") == 1
    assert world.verify(sample=10).ok


def test_what_somebody_writes_is_no_identity(world: World) -> None:
    record_one(world, told(1, "lead-1", phone="512 555 0142"))
    record_one(world, record(2, "lead-2", payload={"text": "512 555 0142", "phone": "5125550142"}))
    assert customers(world) == [["lead-1"], ["lead-2"]]


def test_a_log_whose_leads_nobody_vouches_for_links_none(world: World) -> None:
    record_one(world, told(1, "lead-1", phone="512 555 0142"))
    record_one(world, told(2, "lead-2", phone="512 555 0142"), trusting_leads=False)
    assert customers(world) == [["lead-1"], ["lead-2"]]


def test_a_lead_that_was_erased_stays_so(world: World) -> None:
    with world.connection() as connection:
        bury(connection, TombstoneKind.LEAD, [lead_id("lead-1")])
    done = record_all(world, [told(1, phone="512 555 0142"), record(2, "lead-2"), record(3)])
    assert [(each.outcome, each.reason) for each in done] == [
        ("skipped", "erased"),
        ("created", None),
        ("skipped", "erased"),
    ]
    assert customers(world) == [["lead-2"]]
    assert record_one(world, record(4, actor="robot")).reason == "erased"


def test_what_is_torn_is_of_an_erased_lead_whichever_lead_it_names_first(world: World) -> None:
    with world.connection() as connection:
        bury(connection, TombstoneKind.LEAD, [lead_id("lead-1")])
    torn = b'{"id": "t-1", "payload": {"lead_id": "lead-2"}, "lead_id": "lead-1", "text": "half a'
    done = record_one(world, torn)
    assert (done.outcome, done.reason) == ("skipped", "erased")
    assert world.one("SELECT count(*) FROM quarantine") == 0


# --- beside a backfill -----------------------------------------------------------------------


def test_a_backfill_of_what_was_recorded_live_doubles_nothing(world: World) -> None:
    records = [record(number, f"lead-{number % 3}") for number in range(12)]
    record_all(world, records[:5])
    report = world.load(records)
    assert (report.messages_created, report.errors) == (7, [])
    assert world.one("SELECT count(*) FROM messages") == 12
    assert outcomes(record_all(world, records)) == ["duplicate"] * 12
    assert world.verify(sample=10).ok


def test_a_list_that_knows_the_lead_has_the_last_word(world: World) -> None:
    record_one(world, told(1, "lead-1", name="Jo", phone="512 555 0142"))
    world.load([record(2)], [lead("lead-1", name="Joan", phone="512 555 0199")])
    row = world.rows("SELECT source, name, phone_e164 FROM leads")[0]
    assert row == ("list", "Joan", "+15125550199")
    assert record_one(world, record(3)).outcome is EventOutcome.CREATED
    assert world.verify(sample=10).ok


def test_live_messages_stand_in_the_way_of_a_rollback_and_are_never_lost(world: World) -> None:
    report = world.load([record(1)])
    record_one(world, record(2))
    (blocker,) = world.plan_rollback(report.run_id).blockers
    assert (blocker.name, blocker.count, blocker.run_id) == ("messages", 1, None)
    with pytest.raises(Exception, match="Live messages"):
        world.roll_back(report.run_id)
    assert texts(world) == [["message 1", "message 2"]]


def test_a_rollback_takes_a_run_from_a_live_conversation_and_leaves_the_rest(
    world: World,
) -> None:
    record_all(world, [record(2), record(4, "lead-2")])
    before = world.dump()
    report = world.load([record(1), record(2), record(3), record(5, "lead-2")])
    assert report.messages_created == 3
    world.roll_back(report.run_id)
    assert world.dump() == before
    assert world.verify(sample=10).ok


def test_live_writing_after_a_run_survives_that_runs_rollback(world: World) -> None:
    record_one(world, record(2))
    report = world.load([record(1), record(9)])
    record_one(world, record(4))
    world.roll_back(report.run_id)
    assert texts(world) == [["message 2", "message 4"]]
    assert world.one("SELECT last_message_at FROM conversations") == BEGUN + timedelta(minutes=4)
    assert world.verify(sample=10).ok


def test_a_quarantined_event_can_be_retried(world: World) -> None:
    from backstory.backfill.retry import retry  # noqa: PLC0415 - only this test retries

    bad = told(1, phone=["512 555 0142"])
    assert record_one(world, bad).outcome is EventOutcome.QUARANTINED
    (report,) = retry(world.database, world.home)
    assert report.messages_created == 1
    assert texts(world) == [["message 1"]]
    assert world.one("SELECT status FROM quarantine") == "resolved"


LEADS = ("lead-1", "lead-2", "lead-3")
logs = st.lists(
    st.builds(
        record,
        st.integers(0, 11),
        st.sampled_from(LEADS),
        actor=st.sampled_from(["customer", "agent", "robot"]),
        payload=st.sampled_from([{"text": "hello"}, {"text": "good-bye"}, {}, {"n": 1}]),
    ),
    min_size=1,
    max_size=16,
)


@given(
    log=logs,
    live=st.sets(st.integers(0, 15)),
    batches=st.booleans(),
    before=st.booleans(),
    listed=st.booleans(),
)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_live_events_beside_a_backfill_give_the_rows_of_the_backfill_alone(
    world: World,
    log: list[dict[str, object]],
    live: set[int],
    *,
    batches: bool,
    before: bool,
    listed: bool,
) -> None:
    """Of records under one id the first to be written wins, so each id occurs once here.

    A lead that no list knows begins with the first record that was written.
    """
    log = list({each["id"]: each for each in log}.values())
    events = [json.dumps(each).encode() for place, each in enumerate(log) if place in live]
    leads = [lead(name, phone="512 555 0142") for name in LEADS[:2]] + [lead(LEADS[2])]
    steps = [
        lambda: record_all(world, events) if batches else [record_one(world, e) for e in events],
        lambda: world.load(log),
    ]
    dumps = []
    for chosen in (steps[1:], steps if before else steps[::-1]):
        _empty(world)
        if listed:
            world.load([], leads)
        for step in chosen:
            step()
        dumps.append(_comparable(world, listed=listed))
    assert differences(*dumps) == []
    assert world.verify(sample=10).ok


def _comparable(world: World, *, listed: bool) -> dict[str, list[str]]:
    begun = ("leads.created_at", "customers.created_at", "conversations.started_at")
    with world.connection() as connection:
        dump = logical(connection, without=OTHERWISE if listed else OTHERWISE + begun)
    dump.pop("run_changes")
    for table in ("messages", "conversations"):
        rows = [row.replace('"audit_backfill"', '"live"') for row in dump[table]]
        dump[table] = rows if listed else [_CREATED.sub("", row) for row in rows]
    return dump


_CREATED = re.compile(r'"createdAt": "[^"]*", ')


def _empty(world: World) -> None:
    names = world.one(
        "SELECT string_agg(format('%I', c.relname), ', ') FROM pg_class c"
        " WHERE c.relkind = 'r' AND c.relnamespace = 'backstory'::regnamespace"
        " AND c.relname <> 'alembic_version'"
    )
    world.run(f"TRUNCATE {names} CASCADE")


# --- conversations ---------------------------------------------------------------------------


def test_after_a_close_the_next_conversation_begins(world: World) -> None:
    record_one(world, record(1))
    done = close_conversation(world.database, "lead-1", at=BEGUN + timedelta(minutes=3), by="jo")
    assert done.changed
    record_all(world, [record(5), record(6)])
    assert texts(world) == [["message 1"], ["message 5", "message 6"]]
    assert world.rows("SELECT status, started_at FROM conversations ORDER BY ordinal") == [
        ("closed", BEGUN + timedelta(minutes=1)),
        ("open", BEGUN + timedelta(minutes=5)),
    ]
    (row,) = world.rows("SELECT action, payload FROM audit_log WHERE log = 'backstory'")
    assert row.action == "conversation_closed"
    assert (row.payload["lead"], row.payload["by"]) == ("lead-1", "jo")
    assert world.verify(sample=10).ok


def test_what_happened_before_the_close_belongs_to_what_was_closed(world: World) -> None:
    record_one(world, record(1))
    close_conversation(world.database, "lead-1", at=BEGUN + timedelta(minutes=5))
    record_one(world, record(8))
    close_conversation(world.database, "lead-1", at=BEGUN + timedelta(minutes=9))
    record_all(world, [record(number) for number in (2, 5, 7, 9, 10)])
    assert texts(world) == [
        ["message 1", "message 2", "message 5"],
        ["message 7", "message 8", "message 9"],
        ["message 10"],
    ]
    assert world.verify(sample=10).ok


def test_closing_again_changes_nothing(world: World) -> None:
    record_one(world, record(1))
    first = close_conversation(world.database, "lead-1", at=datetime(2026, 5, 2, tzinfo=UTC))
    before = world.dump()
    again = close_conversation(world.database, str(first.conversation_id))
    assert (again.changed, again.closed_at) == (False, first.closed_at)
    assert world.dump() == before
    with pytest.raises(UsageError):
        close_conversation(world.database, "nobody")
