"""Verification finds each thing that can be wrong, and nothing where nothing is."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from loaded_world import BEGUN, NOW
from sqlalchemy import Connection, text

from backstory.backfill.gates import GATES, Gate, Severity
from backstory.backfill.verify import verify
from backstory.store.statements import statements
from backstory.store.tables import Base

GATE = {gate.name: gate for gate in GATES}
REQUIRED = {gate.name for gate in GATES if gate.severity is Severity.REQUIRED}


def failed(connection: Connection, **more: Any) -> set[str]:
    return {gate.name for gate in verify(connection, now=NOW, **more).failed}


def test_a_sound_database_passes_every_required_gate(broken: Connection) -> None:
    verdict = verify(broken, now=NOW, sample=10)
    assert verdict.ok
    assert verdict.failed == []
    assert verdict.sample is not None
    assert (verdict.sample.conversations, verdict.sample.messages) == (3, 60)
    assert {gate.name for gate in verdict.warnings} == {"quarantine_rate", "conflict_rate"}


def test_an_empty_database_is_sound(connection: Connection) -> None:
    verdict = verify(connection, now=NOW, sample=5)
    assert verdict.ok
    assert verdict.warnings == []


def test_every_gate_is_data_that_a_reader_can_print() -> None:
    assert len({gate.name for gate in GATES}) == len(GATES)
    for gate in GATES:
        assert gate.sentence.endswith(".")
        assert gate.name in statements() or gate.find is not None


# --- one breakage for each required gate ------------------------------------------------------

LEAD_3 = "(SELECT id FROM leads WHERE external_id = 'lead-3')"
CUSTOMER_1 = "(SELECT customer_id FROM leads WHERE external_id = 'lead-1')"
CUSTOMER_3 = "(SELECT customer_id FROM leads WHERE external_id = 'lead-3')"
CONVERSATION_2 = """(SELECT c.id FROM conversations c JOIN leads l ON l.id = c.lead_id
                     WHERE l.external_id = 'lead-2')"""
CONVERSATION_3 = f"(SELECT id FROM conversations WHERE lead_id = {LEAD_3})"

EMBEDDED = """INSERT INTO embedding_models (name, dimensions, run_id, completed_at)
                  SELECT 'a-model', 1, id, now() FROM backfill_runs LIMIT 1;
              INSERT INTO embeddings (message_id, model, conversation_id, customer_id,
                                      content_hash, vector)
                  SELECT id, 'a-model', conversation_id, customer_id,
                         decode(md5(concat_ws(': ', author, content)), 'hex'), '[1]'
                  FROM messages WHERE kind = 'text'"""
SUMMED_UP = """INSERT INTO conversation_summaries (conversation_id, customer_id, made_by, messages,
                   left_out, first_message_id, last_message_id, last_at)
               SELECT conversation_id, customer_id, 'test', count(*), 0, (min(ARRAY[id]))[1],
                      (max(ARRAY[id]))[1], max(created_at)
               FROM messages GROUP BY conversation_id, customer_id"""

# What is broken, the gates that must say so and no others, and the statements that break it.
BREAKAGES: dict[str, tuple[set[str], str]] = {
    "a lead of a merged customer": (
        {"leads_linked", "conversations_have_customers"},
        f"UPDATE customers SET merged_into_id = {CUSTOMER_1} WHERE id = {CUSTOMER_3}",
    ),
    "a lead of nobody": (
        {"leads_linked", "references_hold", "conversations_have_customers"},
        "UPDATE leads SET customer_id = gen_random_uuid() WHERE external_id = 'lead-3'",
    ),
    "a conversation of another customer than its lead": (
        {"conversations_have_customers", "references_hold"},
        f"""UPDATE messages SET customer_id = {CUSTOMER_1} WHERE conversation_id = {CONVERSATION_3};
            UPDATE conversations SET customer_id = {CUSTOMER_1} WHERE lead_id = {LEAD_3}""",
    ),
    "a message of another customer than its conversation": (
        {"conversations_have_customers", "references_hold"},
        f"UPDATE messages SET customer_id = {CUSTOMER_3} WHERE audit_id = 'a-1'",
    ),
    "a lead without its conversation": (
        {"leads_have_conversations", "records_have_messages", "outcomes_add_up"},
        f"""DELETE FROM messages WHERE conversation_id = {CONVERSATION_3};
            DELETE FROM conversations WHERE lead_id = {LEAD_3}""",
    ),
    "a message that is gone": (
        {"records_have_messages", "outcomes_add_up"},
        "DELETE FROM messages WHERE audit_id = 'a-5'",
    ),
    "a message without a record": (
        {"messages_have_records", "references_hold", "outcomes_add_up"},
        "DELETE FROM audit_log WHERE audit_id = 'a-5'",
    ),
    "a message under another audit id": (
        {"messages_have_records"},
        "UPDATE messages SET audit_id = 'other' WHERE audit_id = 'a-5'",
    ),
    "a message of another log": (
        {"messages_have_records"},
        "UPDATE messages SET log = 'other' WHERE audit_id = 'a-5'",
    ),
    "a message in another lead's conversation": (
        {"messages_have_records"},
        f"UPDATE messages SET conversation_id = {CONVERSATION_2} WHERE audit_id = 'a-5'",
    ),
    "a message without a conversation": (
        {"messages_have_records", "references_hold"},
        "UPDATE messages SET conversation_id = gen_random_uuid() WHERE audit_id = 'a-5'",
    ),
    "two open conversations": (
        {"one_open_conversation"},
        """DROP INDEX conversations_one_open_key;
           INSERT INTO conversations (id, lead_id, customer_id, ordinal, channel, status)
           SELECT gen_random_uuid(), lead_id, customer_id, 1, channel, 'open'
           FROM conversations LIMIT 1""",
    ),
    "a skip that is gone": ({"outcomes_add_up"}, "DELETE FROM skips"),
    "a quarantined record that is gone": ({"outcomes_add_up"}, "DELETE FROM quarantine"),
    "a conflict that is gone": ({"outcomes_add_up"}, "DELETE FROM conflicts"),
    "a record that the ledger forgot": (
        {"outcomes_add_up"},
        """UPDATE run_partitions SET counts = jsonb_set(counts, '{records_read}', '1')
           WHERE stage = 'read'""",
    ),
    "an audit id twice among the messages": (
        {"audit_ids_unique", "messages_have_records"},
        """DROP INDEX messages_audit_id_key;
           UPDATE messages SET audit_id = 'a-5' WHERE audit_id = 'a-7'""",
    ),
    "an audit id twice in the log": (
        {"audit_ids_unique", "messages_have_records"},
        """DROP INDEX audit_log_audit_id_key;
           UPDATE audit_log SET audit_id = 'a-5' WHERE audit_id = 'a-7'""",
    ),
    "a message older than its record": (
        {"times_agree"},
        "UPDATE messages SET created_at = created_at - interval '1 us' WHERE audit_id = 'a-5'",
    ),
    "a message younger than its record": (
        {"times_agree"},
        "UPDATE messages SET created_at = created_at + interval '1 us' WHERE audit_id = 'a-5'",
    ),
    "a vector of another length than its model's": (
        {"embeddings_agree"},
        f"{EMBEDDED}; UPDATE embedding_models SET dimensions = 2",
    ),
    "a vector that its message left behind": (
        {"embeddings_agree"},
        f"""{EMBEDDED}; UPDATE embeddings SET conversation_id = {CONVERSATION_2},
            customer_id = (SELECT customer_id FROM leads WHERE external_id = 'lead-2')
            WHERE conversation_id = {CONVERSATION_3}""",
    ),
    "a vector of an event": (
        {"embeddings_agree"},
        f"{EMBEDDED}; UPDATE messages SET kind = 'event' WHERE audit_id = 'a-5'",
    ),
    "a summary of more than was said": (
        {"summaries_agree"},
        f"{SUMMED_UP}; UPDATE conversation_summaries SET left_out = 1",
    ),
    "a summary of another conversation's messages": (
        {"summaries_agree"},
        f"""{SUMMED_UP}; UPDATE conversation_summaries SET last_message_id =
            (SELECT id FROM messages WHERE conversation_id = {CONVERSATION_2} LIMIT 1)
            WHERE conversation_id = {CONVERSATION_3}""",
    ),
    "no search index": ({"search_index_sound"}, "DROP INDEX messages_search_idx"),
    "an invalid search index": (
        {"search_index_sound"},
        """UPDATE pg_index SET indisvalid = false
           WHERE indexrelid = to_regclass('messages_search_idx')""",
    ),
}


def without_constraints(connection: Connection) -> None:
    """Let any reference be broken."""
    for table in Base.metadata.tables.values():
        for key in table.foreign_key_constraints:
            connection.execute(text(f"ALTER TABLE {table.name} DROP CONSTRAINT {key.name}"))


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_breakage_is_named_by_exactly_the_gates_it_concerns(
    broken: Connection, breakage: str
) -> None:
    gates, statements_that_break = BREAKAGES[breakage]
    assert failed(broken) == set()
    without_constraints(broken)
    for statement in statements_that_break.split(";"):
        assert broken.execute(text(statement)).rowcount != 0
    verdict = verify(broken, now=NOW)
    assert {gate.name for gate in verdict.failed} == gates
    assert not verdict.ok
    assert all(gate.count >= 1 and gate.offenders for gate in verdict.failed)


def test_every_required_gate_has_its_breakage() -> None:
    assert set().union(*(gates for gates, _ in BREAKAGES.values())) == REQUIRED


def test_a_big_table_must_use_its_search_index(broken: Connection) -> None:
    gates = [replace(GATE["search_index_sound"], threshold=1)]
    broken.execute(text("ANALYZE messages"))
    broken.execute(text("SET LOCAL enable_seqscan = off"))
    assert failed(broken, gates=gates) == set()
    broken.execute(text("SET LOCAL enable_bitmapscan = off"))
    assert failed(broken, gates=gates) == {"search_index_sound"}


def test_offenders_are_counted_and_a_few_are_shown(broken: Connection) -> None:
    broken.execute(text("UPDATE messages SET created_at = created_at + interval '1 day'"))
    (gate,) = verify(broken, now=NOW).failed
    assert gate.count == 60
    assert len(gate.offenders) == 20
    assert "audit/a-" in gate.offenders[0]


# --- references -------------------------------------------------------------------------------

_SOFT = re.compile(r"(^|_)(id|ids)$")
NOT_A_ROW_OF_OURS = {"audit_id", "external_id", "lead_external_id", "candidate_id"}


def references() -> set[str]:
    """Return every column that names another row, guarded by a constraint or not."""
    found = set()
    for table in Base.metadata.tables.values():
        guarded = {name for key in table.foreign_key_constraints for name in key.column_keys}
        for key in table.foreign_key_constraints:
            names = [name for name in key.column_keys if name != "customer_id"] or ["customer_id"]
            found.add(f"{table.name}.{names[0]}")
        found |= {
            f"{table.name}.{column.name}"
            for column in table.c
            if _SOFT.search(column.name) and column.name not in {"id", *guarded, *NOT_A_ROW_OF_OURS}
        }
    return found


def test_every_reference_of_the_schema_is_swept() -> None:
    swept = set(re.findall(r"'(\w+\.\w+)'", statements()["references_hold"].body))
    assert references() - swept == set()
    assert swept - references() == set()


WRITTEN = f"""
    INSERT INTO customer_addresses (id, customer_id, line1, normalized_key)
        VALUES (gen_random_uuid(), {CUSTOMER_3}, '1 Oak St', '1 oak st');
    INSERT INTO jobs (id, customer_id, title) VALUES (gen_random_uuid(), {CUSTOMER_3}, 'a job');
    INSERT INTO memory_notes (id, customer_id, kind, text, extracted_by)
        VALUES (gen_random_uuid(), {CUSTOMER_3}, 'fact', 'a note', 'test');
    INSERT INTO tool_calls (id, customer_id, tool, actor, arguments_hash, outcome, latency_ms)
        VALUES (gen_random_uuid(), {CUSTOMER_3}, 'a_tool', 'agent', '', 'done', 1);
    INSERT INTO confirmations (id, customer_id, conversation_id, candidate_id, source_kind,
                               source_id, content_hash, fetched_at)
        SELECT gen_random_uuid(), customer_id, conversation_id, 'x', 'message', id, '', now()
        FROM messages WHERE audit_id = 'a-1';
    INSERT INTO job_items (id, job_id, customer_id, position, kind, name, quantity, unit)
        SELECT gen_random_uuid(), id, customer_id, 1, 'item', 'a thing', 1, 'each' FROM jobs;
    INSERT INTO job_events (id, job_id, customer_id, event_type, occurred_at, actor)
        SELECT gen_random_uuid(), id, customer_id, 'created', now(), 'agent' FROM jobs;
    INSERT INTO customer_merges (id, survivor_id, absorbed_id, undone_at)
        VALUES (gen_random_uuid(), {CUSTOMER_1}, {CUSTOMER_3}, now());
    INSERT INTO run_changes (run_id, table_name, row_id)
        SELECT id, 'leads', {LEAD_3} FROM backfill_runs;
    INSERT INTO embedding_models (name, dimensions, run_id)
        SELECT 'a-model', 1, id FROM backfill_runs;
    INSERT INTO embeddings (message_id, model, conversation_id, customer_id, content_hash, vector)
        SELECT id, 'a-model', conversation_id, customer_id, '', '[1]' FROM messages
        WHERE audit_id = 'a-1';
    INSERT INTO conversation_summaries (conversation_id, customer_id, made_by, messages, left_out,
                                        first_message_id, last_message_id, last_at)
        SELECT conversation_id, customer_id, 'test', 1, 0, id, id, created_at FROM messages
        WHERE audit_id = 'a-1';
    UPDATE quarantine SET resolved_run_id = run_id
"""


@pytest.fixture
def furnished(broken: Connection) -> Connection:
    """Return the loaded database with a row in every table, and no constraint on references."""
    for statement in WRITTEN.split(";"):
        assert broken.execute(text(statement)).rowcount == 1
    assert failed(broken) == set()
    without_constraints(broken)
    return broken


@pytest.mark.parametrize("reference", sorted(references()))
def test_a_broken_reference_of_any_kind_is_named(furnished: Connection, reference: str) -> None:
    table, column = reference.split(".")
    stranger = "ARRAY[gen_random_uuid()]" if column.endswith("_ids") else "gen_random_uuid()"
    if column == "model":
        stranger = "'a stranger'"
    key = "id" if "id" in Base.metadata.tables[table].c else "ctid"
    one = f"{key} = (SELECT {key} FROM {table} LIMIT 1)"
    changed = furnished.execute(text(f"UPDATE {table} SET {column} = {stranger} WHERE {one}"))
    assert changed.rowcount == 1
    (gate,) = verify(furnished, now=NOW, gates=[GATE["references_hold"]]).failed
    assert any(offender.startswith(f"{reference} of ") for offender in gate.offenders)


def test_a_lead_that_is_gone_may_be_named_by_our_own_log_alone(broken: Connection) -> None:
    for statement in (
        f"DELETE FROM messages WHERE conversation_id = {CONVERSATION_3}",
        f"DELETE FROM conversations WHERE lead_id = {LEAD_3}",
        "DELETE FROM leads WHERE external_id = 'lead-3'",
    ):
        broken.execute(text(statement))
    assert {"references_hold", "leads_have_conversations", "records_have_messages"} <= failed(
        broken
    )
    broken.execute(text("UPDATE audit_log SET log = 'backstory' WHERE lead_external_id = 'lead-3'"))
    assert failed(broken) <= {"outcomes_add_up"}


# --- thresholds -------------------------------------------------------------------------------


def warned(connection: Connection, gate: Gate) -> bool:
    verdict = verify(connection, now=NOW, gates=[gate])
    assert verdict.ok
    return bool(verdict.warnings)


@pytest.mark.parametrize(
    ("name", "quiet", "loud"),
    [
        ("role_balance", 0.5, 0.51),
        ("empty_conversations", 0.25, 0.24),
        ("event_share", 0.5, 0.49),
        ("quarantine_rate", 1 / 61, 0.016),
        ("conflict_rate", 1 / 61, 0.016),
    ],
)
def test_a_share_beyond_its_threshold_is_a_warning(
    broken: Connection, name: str, quiet: float, loud: float
) -> None:
    broken.execute(text("UPDATE messages SET kind = 'event' WHERE role = 'user'"))
    closed = """
        INSERT INTO conversations (id, lead_id, customer_id, ordinal, channel, status, closed_at)
        SELECT gen_random_uuid(), lead_id, customer_id, 1, channel, 'closed', now()
        FROM conversations LIMIT 1
    """
    broken.execute(text(closed))
    assert not warned(broken, replace(GATE[name], threshold=quiet))
    assert warned(broken, replace(GATE[name], threshold=loud))
    required = replace(GATE[name], threshold=loud, severity=Severity.REQUIRED)
    assert failed(broken, gates=[required]) == {name}


def test_what_waits_to_be_embedded_is_a_warning(broken: Connection) -> None:
    wait = GATE["embeddings_wait"]
    assert not warned(broken, wait)
    for statement in EMBEDDED.split(";"):
        broken.execute(text(statement))
    assert not warned(broken, replace(wait, threshold=0.0))
    broken.execute(text("DELETE FROM embeddings WHERE message_id IN (SELECT id FROM messages "
                        "WHERE audit_id IN ('a-1', 'a-2'))"))  # fmt: skip
    broken.execute(text("UPDATE messages SET content = 'other' WHERE audit_id = 'a-3'"))
    assert not warned(broken, replace(wait, threshold=3 / 60))
    (gate,) = verify(broken, now=NOW, gates=[replace(wait, threshold=0.04)]).warnings
    assert gate.count == 3
    assert gate.offenders[0].startswith("2 of 60 messages wait for a-model, 1 say")
    # A model that has not come to its end does not serve: nobody waits for it.
    broken.execute(text("UPDATE embedding_models SET completed_at = NULL"))
    assert not warned(broken, replace(wait, threshold=0.0))


def test_times_are_compared_with_the_clock_that_is_given(broken: Connection) -> None:
    last = BEGUN + timedelta(minutes=59)
    for clock, beyond in ((last - timedelta(days=1), False), (last - timedelta(days=1.1), True)):
        verdict = verify(broken, now=clock, gates=[GATE["times_in_range"]])
        assert bool(verdict.warnings) is beyond
    broken.execute(text("UPDATE leads SET created_at = '1999-12-31' WHERE external_id = 'lead-1'"))
    (gate,) = verify(broken, now=NOW, gates=[GATE["times_in_range"]]).warnings
    assert gate.offenders == ("lead lead-1: 1999-12-31 00:00:00+00",)


def test_the_busiest_customers_are_shown_and_never_fail(broken: Connection) -> None:
    (gate,) = verify(broken, now=NOW, gates=[GATE["customers_sample"]]).gates
    assert gate.passed
    assert gate.count == 2
    assert "2 leads, 2 conversations, 40 messages" in gate.offenders[0]
