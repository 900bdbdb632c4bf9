"""Erasing a customer: nothing is left of her, everything of everybody else, and she stays away."""

import threading
import time
from uuid import UUID, uuid4

import pytest
from erased_world import (
    JOANIE,
    LEADS,
    LOG,
    SECOND,
    World,
    customer_of,
    erase,
    lead_of,
    said,
    talk,
    traces,
)
from sqlalchemy import Connection, text

from backstory import erasure
from backstory.backfill.retry import retry
from backstory.errors import RunError, UsageError
from backstory.extract.leads import LeadRecord
from backstory.live.reading import LiveOptions
from backstory.live.record import record_event
from backstory.model import LeadSource
from backstory.runs import run as runs
from backstory.runs.run import RunStatus
from backstory.store.backfill import lock_leads
from backstory.store.erasure import NOBODYS, count_rows, scope_of, tables_of_customers
from backstory.store.linking import link_leads
from backstory.store.ownership import OWNED
from backstory.store.statements import sql
from backstory.store.tables import Base
from backstory.store.words import Words

# Columns of rows that stay and can hold a word: why that is none of a customer's, or what of it
# is taken out. A column that is neither here nor of a table whose rows go fails the test below.
STAYS = {
    "alembic_version.version_num": "the number of a migration",
    "api_keys.digest": "a hash of a key of the business",
    "api_keys.name": "what the business calls a key of its own",
    "api_keys.profile": "one of two words",
    "backfill_runs.error": "redacted",
    "backfill_runs.findings": "redacted",
    "backfill_runs.host": "the name of a machine",
    "backfill_runs.log": "the name of a log",
    "backfill_runs.mode": "one of a few words",
    "backfill_runs.options": "redacted: paths and settings of whoever began the run",
    "backfill_runs.report": "redacted",
    "backfill_runs.seconds_by_step": "names of steps and numbers",
    "backfill_runs.spill_dir": "a path of ours",
    "backfill_runs.status": "one of a few words",
    "backfill_runs.wish": "one of two words",
    "embedding_models.name": "the name of a model",
    "line_rules.name": "a hash of rules",
    "line_rules.rules": "how the business has events read: its own words",
    "run_partitions.counts": "redacted: numbers, and examples of ids that no list holds",
    "run_partitions.cursor": "redacted: the id of the lead that was written last",
    "run_partitions.stage": "one of two words",
    "run_partitions.status": "one of three words",
    "run_partitions.worker": "a machine and a process",
    "signing_keys.secret": "random",
    "tombstone_keys.secret": "random",
    "tombstones.digest": "keyed hashes of what was erased",
    "tombstones.kind": "one of two words",
}


def test_every_column_that_can_hold_a_word_goes_or_has_a_reason_to_stay(
    connection: Connection,
) -> None:
    going = {table.name for table in tables_of_customers()}
    assert {name for name, *_ in connection.execute(sql("columns_that_can_hold_words"))} == (
        going | NOBODYS | {"alembic_version"}
    )
    staying = {
        f"{table}.{column}"
        for table, column, form in connection.execute(sql("columns_that_can_hold_words"))
        if table not in going and form != "id"
    }
    assert staying == STAYS.keys()


def test_the_catalog_knows_no_text_that_the_search_does_not(connection: Connection) -> None:
    """The search picks columns by type; here they are taken by what they can be cast from."""
    sought = {
        f"{row[0]}.{row[1]}" for row in connection.execute(sql("columns_that_can_hold_words"))
    }
    rows = connection.execute(
        text(
            "SELECT table_name || '.' || column_name FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND udt_name NOT IN ('bool', 'int4', 'int8',"
            " 'float8', 'numeric', 'timestamptz', 'date', 'halfvec', 'vector', 'tsvector')"
        )
    )
    assert set(rows.scalars()) == sought


def test_every_table_has_a_rule_or_is_nobodys() -> None:
    assert {table.name for table in tables_of_customers()} | NOBODYS == set(Base.metadata.tables)


# --- what is left ----------------------------------------------------------------------------


def test_nothing_is_left_of_her_anywhere(world: World) -> None:
    assert {name for name, _ in traces(world)} >= {
        *(table.name for table in OWNED if table.name != "embeddings"),
        *("audit_log", "customers", "conflicts", "quarantine", "skips", "backfill_runs"),
        "run_changes",
    }
    ids = {str(lead_of(world, "zebra-1")), str(customer_of(world, "zebra-1"))}
    report = erase(world)
    assert traces(world) == []
    assert report.proof.clean
    assert report.proof.sought["texts"] == 10
    assert report.customers == 2
    assert all(count > 0 for count in report.removed.values())
    assert report.removed.keys() == {table.name for table in tables_of_customers()}
    for table in Base.metadata.tables:
        for (row,) in world.rows(f'SELECT CAST(t AS text) FROM "{table}" t'):
            assert not any(each in row for each in ids), table


def test_everything_of_everybody_else_is_as_it_was(world: World) -> None:
    def of_sam() -> dict[str, list[str]]:
        with world.connection() as connection:
            scope = scope_of(connection, customer_of(world, "sam-1"))
            return {
                table.name: sorted(str(row) for row in erasure.rows_of(connection, table, scope))
                for table in tables_of_customers()
            }

    before = of_sam()
    # Nothing of his was merged or skipped; whose an unreadable record is, nobody can tell.
    assert {name for name, rows in before.items() if not rows} == {
        "customer_merges",
        "quarantine",
        "skips",
    }
    unreadable = "SELECT count(*) FROM quarantine WHERE raw LIKE '%sam-1%'"
    assert world.one(unreadable) == 1
    erase(world)
    after = of_sam()
    # His record under an id of hers had lost against hers, and the one of hers against his.
    assert len(before.pop("conflicts")) == 2
    assert after.pop("conflicts") == []
    assert after == before
    assert world.one(unreadable) == 1


def test_the_gates_are_green_and_each_run_can_be_rolled_back(world: World) -> None:
    assert world.verify().ok, world.verify().failed
    erase(world)
    verdict = world.verify(sample=10)
    assert verdict.ok, verdict.failed
    for (run,) in world.rows("SELECT CAST(id AS text) FROM backfill_runs ORDER BY created_at DESC"):
        world.roll_back(run, force=True)
        assert world.verify().ok
    assert world.one("SELECT count(*) FROM messages") == 0


def test_a_report_keeps_its_sentences_without_the_names(world: World) -> None:
    erase(world)
    warnings, named = world.rows(
        "SELECT report -> 'warnings', findings -> 'leads_named' FROM backfill_runs LIMIT 1"
    )[0]
    assert warnings == ["The phone [erased] is carried by 30 leads.", "Nothing else."]
    assert named == ["[erased]", "sam-1"]


def test_what_is_left_where_nobody_looks_is_found(world: World) -> None:
    """A table that no model knows, and a column that the rules leave alone."""
    world.run(
        "CREATE TABLE notes_on_the_side (note text, raw bytea)",
        "INSERT INTO notes_on_the_side VALUES ('call Joanie Zebrawood', NULL),"
        " (NULL, convert_to('joanie@example.com', 'UTF8'))",
    )
    report = erase(world)
    assert not report.proof.clean
    assert [(hit.table, hit.column, hit.rows) for hit in report.proof.left] == [
        ("notes_on_the_side", "note", 1),
        ("notes_on_the_side", "raw", 1),
    ]


def test_the_same_words_of_somebody_else_are_no_trace(world: World) -> None:
    record_event(world.database, said(60, "sam-1", "Joanie Zebrawood is my neighbour"))
    report = erase(world)
    assert report.proof.clean
    assert {(hit.table, hit.column) for hit in report.proof.of_others} >= {
        ("audit_log", "payload"),
        ("messages", "content"),
    }


def test_a_note_of_another_that_quotes_her_goes_and_a_job_forgets_where_it_came_from(
    world: World,
) -> None:
    message = world.one("SELECT id FROM messages WHERE audit_id = 'a-1'")
    sam = customer_of(world, "sam-1")
    world.run(
        "INSERT INTO memory_notes (id, customer_id, kind, text, extracted_by, source_message_ids)"
        " VALUES (gen_random_uuid(), :sam, 'fact', 'her words', 'test', ARRAY[:message])",
        "UPDATE jobs SET lead_id = :lead WHERE customer_id = :sam",
        sam=sam,
        message=message,
        lead=lead_of(world, "zebra-2"),
    )
    erase(world)
    texts = world.rows("SELECT text FROM memory_notes")
    assert [row[0] for row in texts] == ["a plain word"]
    assert world.one("SELECT lead_id FROM jobs") is None
    assert world.verify().ok, world.verify().failed


def test_no_sample_of_the_planner_holds_her(world: World) -> None:
    """Nor of a table in which nothing is left: an analysis of no row leaves what was there."""
    world.run("DELETE FROM skips WHERE lead_external_id = 'stranger'", "ANALYZE")
    held = "SELECT tablename FROM pg_stats s WHERE CAST(to_jsonb(s) AS text) ~ 'zebra|5550101'"
    assert {"messages", "skips"} <= {row[0] for row in world.rows(held)}
    erase(world)
    assert world.one("SELECT count(*) FROM skips") == 0
    assert world.rows(held) == []


def test_what_could_not_be_read_goes_however_it_spells_her(world: World) -> None:
    """A torn record is hers if it names her: in other case, with a phone as people write it."""
    spelled = (
        "JOANIE@EXAMPLE.COM",
        "joanie ZEBRAWOOD",
        "(512) 555-0101",
        "512\u00a0555\u20110101",
        "1.512.555.0101",
    )
    for number, name in enumerate(spelled):
        torn = f'{{"id": "b-{number}", "payload": {{"text": "{name} of zebra {number}'
        record_event(world.database, torn.encode())
    theirs = LiveOptions(columns={"lead_id": "whose"})
    record_event(world.database, b'{"id": "b-8", "whose": "7", "text": "a zebra', options=theirs)
    record_event(world.database, said(9000, "7", lead=JOANIE | {"id": "7"}))
    record_event(world.database, b'{"id": "b-9", "payload": {"text": "5125550177 and 51255501')
    before = world.one("SELECT count(*) FROM quarantine")
    report = erase(world)
    assert traces(world) == []
    assert report.removed["quarantine"] == len(spelled) + 2
    assert world.one("SELECT count(*) FROM quarantine") == before - len(spelled) - 2


def test_a_search_finds_bytes_in_whatever_case(world: World) -> None:
    world.run(
        "CREATE TABLE on_the_side (raw bytea)",
        "INSERT INTO on_the_side VALUES (convert_to('t\u00f6JOANIE@example.com', 'UTF8')),"
        " (convert_to('\u00c9 Joanie Zebrawood\u00df', 'UTF8'))",
    )
    assert [(hit.table, hit.rows) for hit in erase(world).proof.left] == [("on_the_side", 2)]


def test_whoever_has_a_name_of_any_length_is_erased(world: World) -> None:
    long = "Zebra (*[\\" * 20_000
    record_event(world.database, said(9001, "zebra-2", lead=SECOND | {"name": long}))
    assert erase(world).proof.clean
    assert traces(world) == []


def test_a_name_that_is_a_word_of_ours_harms_no_report() -> None:
    """Whoever is called Customer, or goes by `audit`, has no right to the words of a report."""
    words = Words(ids=(), keys=("audit", "mode"), names=("Customer", "messages", "Skip"), texts=())
    report = {
        "mode": "backfill",
        "messages": 1,
        "unknown_actor": "Skip",
        "customer": {"audit": ["messages", "customer"]},
        "examples": {"Skip": 1, "messages": 1},
    }
    assert words.redacted(report) == report | {"examples": {"[erased]": 1, "messages": 1}}
    assert list(words.within) == []


def test_a_word_within_another_is_no_name() -> None:
    words = Words(ids=(), keys=("lead-1",), names=("Seconds",), texts=())
    assert words.redacted(["lead-1 lead-12 run_lead-1.jsonl"]) == [
        "[erased] lead-12 run_[erased].jsonl"
    ]


def test_a_column_of_nobodys_is_searched_for_whole_words(world: World) -> None:
    """What holds her id within another's, or her name within a word, is no trace of her."""
    world.run(
        "CREATE TABLE counted (note text)",
        "INSERT INTO counted VALUES ('of zebra-12'), ('joanie zebrawoodpecker'), ('j. zebra_s')",
        "CREATE TABLE kept (raw bytea)",
        "INSERT INTO kept VALUES ('joanie zebrawoodpecker')",
    )
    assert erase(world).proof.clean


# --- she stays away --------------------------------------------------------------------------


def test_a_run_a_retry_and_a_live_event_leave_her_aside(world: World) -> None:
    erase(world)
    before = world.dump()
    hers = [each for each in LOG[:-2] if each["lead_id"] != "sam-1"]
    report = world.load([*hers, *talk("sam-1", range(10, 16)), said(70, "zebra-2")], LEADS)
    assert report.skipped_by_reason == {"erased": 14}
    assert report.messages_duplicate == 6
    assert report.messages_created == 0
    assert record_event(world.database, said(71, "zebra-1")).reason == "erased"
    retry(world.database, world.home)
    assert traces(world) == []
    after = world.dump()
    for table in ("customers", "leads", "conversations", "messages", "customer_identities"):
        assert after[table] == before[table]
    named = world.rows(
        "SELECT audit_id, lead_external_id, actor FROM skips WHERE reason = 'erased'"
    )
    assert set(map(tuple, named)) == {(None, None, None)}


def test_a_torn_record_that_names_her_lead_does_not_come_back(world: World) -> None:
    erase(world)
    quarantined = world.one("SELECT count(*) FROM quarantine")
    torn = [
        b'{"id": "c-1", "lead_id": "zebra-1", "payload": {"text": "half a zebra',
        b'{"id": "c-2", "leadId": "zebr\\u0061-2", "payload": {"text": "half a zebra',
        b'{"id": "c-3", "lead_id": "zebra-2", "payload": {"text": "zebra"}, "created_at": "late"}',
    ]
    report = world.load([*torn, *talk("sam-1", range(10, 16))], LEADS)
    assert report.skipped_by_reason == {"erased": 3}
    for each in torn:
        done = record_event(world.database, each[:-3])
        assert (done.outcome, done.reason) == ("skipped", "erased")
    assert traces(world) == []
    assert world.one("SELECT count(*) FROM quarantine") == quarantined
    assert world.verify().ok, world.verify().failed


def test_linking_leaves_her_out_also_of_a_list_that_was_read_before(world: World) -> None:
    erase(world)
    with world.connection() as connection:
        done = link_leads(
            connection,
            [LeadRecord("zebra-1", name="Joanie"), LeadRecord("new-1")],
            run_id=None,
            source=LeadSource.LIVE,
        )
    assert done.leads_created == 1
    assert traces(world) == []


def test_events_that_come_while_she_is_erased_do_not_bring_her_back(world: World) -> None:
    going = threading.Event()

    def talk_on() -> None:
        for number in range(1000, 1400):
            record_event(world.database, said(number, "zebra-1"))
            if number == 1010:
                going.set()

    talking = threading.Thread(target=talk_on)
    talking.start()
    going.wait()
    report = erase(world)
    talking.join()
    assert report.proof.clean
    assert traces(world) == []
    assert world.verify().ok, world.verify().failed
    assert world.one("SELECT count(*) FROM skips WHERE reason = 'erased'") > 0


def test_what_is_quarantined_while_she_is_erased_goes_too(world: World) -> None:
    """Whoever writes what names her lead holds its lock: what was written until then is seen."""
    lead, home = lead_of(world, "zebra-1"), world.home
    with world.database.engine.begin() as writing:
        lock_leads(writing, [lead.bytes])
        erasing = threading.Thread(
            target=erasure.erase,
            args=(world.database, customer_of(world, "zebra-1")),
            kwargs={"home": home},
        )
        erasing.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while not world.one(waiting):
            assert erasing.is_alive()
            time.sleep(0.01)
        torn = b'{"id": "d-1", "lead_id": "zebra-1", "payload": {"text": "half a zebra'
        copied = text("UPDATE quarantine SET raw = :raw WHERE raw LIKE '%sam-1%'")
        writing.execute(copied, {"raw": torn})
    erasing.join()
    assert traces(world) == []


# --- when it cannot be -----------------------------------------------------------------------


def test_it_waits_for_runs_whose_files_hold_what_they_read(world: World) -> None:
    run_id = uuid4()
    with world.connection() as connection:
        run = runs.add_run(
            connection, run_id, mode="backfill", log="audit", options={}, spill_dir=world.home
        )
    before = world.dump()
    with pytest.raises(RunError, match=str(run_id)[:8]):
        erase(world)
    assert world.dump() == before
    left = world.home / "runs" / str(run_id)
    left.mkdir(parents=True)
    (left / "partition").write_text("zebra")
    with world.connection() as connection:
        runs.move(connection, run, RunStatus.CANCELED)
    assert erase(world).directories_removed == 1
    assert not left.exists()


def test_nobody_is_erased_twice(world: World) -> None:
    her = customer_of(world, "zebra-1")
    erase(world)
    with pytest.raises(UsageError, match=r"was erased at .*: nothing was left"):
        erasure.erase(world.database, her, home=world.home)
    with pytest.raises(UsageError, match="There is no customer"):
        erasure.erase(world.database, UUID(int=0), home=world.home)


def test_who_erases_again_is_told_where_words_were_left(world: World) -> None:
    world.run(
        "CREATE TABLE notes_on_the_side (note text)",
        "INSERT INTO notes_on_the_side VALUES ('call Joanie Zebrawood')",
    )
    people = [row[0] for row in world.rows("SELECT id FROM customers")]
    her, sam = customer_of(world, "zebra-1"), customer_of(world, "sam-1")
    assert not erase(world).proof.clean
    for each in (her, *(each for each in people if each not in (her, sam))):
        with pytest.raises(UsageError, match=r"left in notes_on_the_side\.note \(1\)\..* remove"):
            erasure.erase(world.database, each, home=world.home)
    world.run("DELETE FROM audit_log WHERE action = 'erasure_proved'")
    with pytest.raises(UsageError, match="search for what may be left did not end"):
        erasure.erase(world.database, her, home=world.home)


def test_a_customer_who_was_merged_away_is_the_one_it_was_merged_into(world: World) -> None:
    absorbed = world.one("SELECT id FROM customers WHERE merged_into_id IS NOT NULL")
    report = erasure.erase(world.database, absorbed, home=world.home)
    assert report.customers == 2
    assert traces(world) == []


def test_a_plan_counts_what_an_erasure_removes(world: World) -> None:
    before = world.dump()
    with world.connection() as connection:
        plan = erasure.plan_erasure(connection, customer_of(world, "zebra-1"))
    assert world.dump() == before
    report = erase(world)
    assert plan.removed == report.removed
    assert plan.unfinished_runs == ()
    with world.connection() as connection:
        assert count_rows(connection, scope_of(connection, customer_of(world, "sam-1")))
