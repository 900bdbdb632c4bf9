"""`backstory backfill` and `resume`: sources in, a report out, an exit code that can be trusted."""

import json
import re
import signal
import time
from datetime import timedelta

import pytest
from cli_world import AUDIT, BEGUN, LEADS, Terminal, record, written
from sqlalchemy import create_engine, text

from backstory.store.engine import parse_url

KEYS = {
    *("records_read", "audits_processed", "audits_skipped", "conversations_created"),
    *("conversations_skipped", "messages_created", "messages_skipped", "messages_duplicate"),
    *("messages_conflicting", "records_quarantined", "errors", "skipped_by_reason", "roles"),
    *("leads_linked", "customers_created", "run_id", "mode", "seconds", "seconds_by_step"),
    *("messages_per_second", "warnings"),
}


def schemas(url):
    engine = create_engine(parse_url(url))
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT nspname FROM pg_namespace")).scalars().all()
    engine.dispose()
    return set(rows)


# --- the report ------------------------------------------------------------------------------


def test_json_is_one_object_with_the_keys_of_the_report(terminal):
    told = terminal.load_sample()
    assert told.code == 0
    assert set(told.json) == KEYS
    assert told.json["messages_created"] == 216
    assert told.err == ""


def test_the_report_adds_up_on_the_screen(prepared):
    told = prepared.type("backfill", "--audit", AUDIT, "--leads", LEADS)
    assert told.code == 0
    assert re.search(r"records read +216 = 216 processed \+ 0 skipped \+ 0 quarantined", told.out)
    assert "user 105 (48.61 %), assistant 111 (51.39 %)" in told.out
    assert re.search(r"link .+, read .+, write .+, check ", told.out)


def test_a_second_run_creates_nothing_and_ends_well(loaded):
    told = loaded.load_sample()
    assert told.code == 0
    assert (told.json["messages_created"], told.json["messages_duplicate"]) == (0, 216)


def test_quarantined_records_make_the_exit_code_1(prepared, tmp_path):
    log = written(tmp_path / "log.jsonl", [record(1), "no json at all"])
    told = prepared.type("backfill", "--audit", log, "--json")
    assert told.code == 1
    assert told.json["records_quarantined"] == 1


def test_warnings_leave_the_exit_code_0(prepared, tmp_path):
    log = written(tmp_path / "log.jsonl", [record(1)])
    told = prepared.type("backfill", "--audit", log, "--json")
    assert told.code == 0
    assert any("derived" in warning for warning in told.json["warnings"])


# --- the hub limit ---------------------------------------------------------------------------


OFFICE = [
    {"id": f"lead-{n}", "channel": "sms", "phone": "+15125550100", "email": f"{n}@example.com"}
    for n in range(3)
]


@pytest.mark.parametrize("way", [("--dry-run",), ()])
@pytest.mark.parametrize("limit", ["2", "3"])
@pytest.mark.parametrize("given", ["option", "setting", "both"])
def test_a_plan_and_a_run_keep_the_hub_limit(prepared, tmp_path, way, limit, given):
    sources = ("--audit", written(tmp_path / "log.jsonl", [record(1, "lead-0")]))
    sources += ("--leads", written(tmp_path / "leads.jsonl", OFFICE))
    words = () if given == "setting" else ("--hub-limit", limit)
    setting = {"option": "25", "setting": limit, "both": "9"}[given]
    prepared.env["BACKSTORY_HUB_LIMIT"] = setting
    told = prepared.type("backfill", *sources, *words, *way, "--json").json
    assert told["customers_created"] == (3 if limit == "2" else 1)
    assert any("+15125550100" in each for each in told["warnings"]) == (limit == "2")


@pytest.mark.parametrize("limit", ["1", "0", "-3"])
def test_a_hub_limit_below_two_is_refused(prepared, limit):
    told = prepared.type("backfill", "--audit", AUDIT, "--hub-limit", limit)
    assert (told.code, "--hub-limit is at least 2" in told.err) == (2, True)
    prepared.env["BACKSTORY_HUB_LIMIT"] = limit
    told = prepared.type("backfill", "--audit", AUDIT)
    assert (told.code, "BACKSTORY_HUB_LIMIT cannot be" in told.err) == (2, True)


# --- sources ---------------------------------------------------------------------------------


@pytest.fixture
def logs(tmp_path):
    return [
        written(tmp_path / f"{name}.jsonl", [record(number, f"lead-{name}")])
        for number, name in enumerate("abc", 1)
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("--audit", "{0}", "{1}", "{2}"),
        ("--audit", "{0}", "--audit", "{1}", "--audit", "{2}"),
        ("--audit={0}", "{1}", "--log", "audit", "--audit", "{2}"),
    ],
)
def test_several_sources_are_given_as_a_shell_expands_them(words, logs, prepared):
    told = prepared.type("backfill", "--json", *(word.format(*logs) for word in words))
    assert told.json["messages_created"] == 3


def test_audit_and_leads_each_take_several(logs, prepared, tmp_path):
    leads = [
        written(tmp_path / f"leads-{n}.jsonl", [{"id": f"lead-{n}", "channel": "sms"}])
        for n in "abc"
    ]
    told = prepared.type("backfill", "--audit", *logs, "--leads", *leads, "--json")
    assert told.code == 0
    assert (told.json["messages_created"], told.json["leads_linked"]) == (3, 3)


def test_a_dash_is_standard_input(prepared):
    told = prepared.type("backfill", "--audit", "-", "--json", stdin=json.dumps(record(1)))
    assert told.json["messages_created"] == 1


def test_columns_are_mapped(prepared, tmp_path):
    renamed = record(1)
    renamed["leadId"], renamed["at"] = renamed.pop("lead_id"), renamed.pop("created_at")
    log = written(tmp_path / "log.jsonl", [renamed])
    told = prepared.type(
        "backfill", "--audit", log, "--map", "lead_id=leadId", "--map", "created_at=at", "--json"
    )
    assert (told.code, told.json["messages_created"]) == (0, 1)


def test_a_field_can_be_said_not_to_be_there(prepared, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("id,lead_id,actor,payload,created_at\n1,lead-1,customer,[1],2026-01-01\n")
    assert "--map audit.action=" in prepared.type("backfill", "--audit", str(log)).err
    told = prepared.type("backfill", "--audit", str(log), "--map", "action=", "--json")
    assert (told.code, told.json["messages_created"]) == (0, 1)


@pytest.mark.parametrize("words", [(), ("--dry-run",), ("--rehearse", "1")])
def test_a_wrong_column_is_a_finding_with_its_remedy(words, terminal, tmp_path):
    renamed = record(1)
    renamed["contact"] = renamed.pop("lead_id")
    log = written(tmp_path / "log.jsonl", [renamed])
    told = terminal.type("backfill", "--audit", log, *words)
    assert told.code == 1
    shown = " ".join(told.out.split())
    assert "The first records have action, actor, contact," in shown
    assert "--map lead_id=COLUMN" in shown


# --- before the run --------------------------------------------------------------------------


def test_a_dry_run_writes_nothing_not_even_the_schema(terminal):
    before = schemas(terminal.env["DATABASE_URL"])
    told = terminal.type("backfill", "--audit", AUDIT, "--leads", LEADS, "--dry-run", "--json")
    assert told.code == 0
    assert (told.json["mode"], told.json["messages_created"]) == ("plan", 216)
    assert schemas(terminal.env["DATABASE_URL"]) == before


def test_a_dry_run_does_not_make_the_embedded_database(tmp_path):
    terminal = Terminal("", tmp_path / "home")
    told = terminal.type("backfill", "--audit", AUDIT, "--dry-run", "--json")
    assert told.json["messages_created"] == 216
    assert not (tmp_path / "home" / "postgres").exists()
    assert not (tmp_path / "home" / "postgres-place").exists()


def test_a_dry_run_foretells_what_a_second_run_would_do(loaded):
    told = loaded.type("backfill", "--audit", AUDIT, "--leads", LEADS, "--dry-run", "--json")
    assert (told.json["messages_created"], told.json["messages_duplicate"]) == (0, 216)


def test_a_rehearsal_leaves_no_row(terminal):
    told = terminal.type("backfill", "--audit", AUDIT, "--leads", LEADS, "--rehearse", "2")
    assert told.code == 0
    assert "rolled back" in told.out
    assert terminal.type("runs", "--json").json == {"runs": []}
    assert terminal.type("customers", "--json").json["customers"] == []


# --- what cannot be done ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--audit"),
        (("--audit", "x", "--map", "lead_id"), "FIELD=COLUMN"),
        (("--audit", "x", "--dry-run", "--rehearse", "1"), "choose one"),
        (("--audit", "x", "--rehearse", "0"), "at least 1"),
        (("--audit", "x", "--workers", "0"), "--workers"),
        (("--audit", "x", "--workers", "many"), "--workers"),
        (("--audit", "x", "--assume-tz", "Mars"), "Mars"),
        (("--audit", "x", "--audit-table", "Audit"), "--audit-table names a table behind a"),
        (("--audit", "x", "--lead-table", "Lead"), "--leads names none"),
        (("--audit", "postgresql://u@h/d", "--leads", "x", "--lead-table", "L"), "--lead-table"),
        (("--audit", "x", "--unknown-actor", "guess"), "--unknown-actor"),
        (("--audit", "x", "--schema", "Robert'); --"), "schema"),
    ],
)
def test_a_wrong_request_is_refused_with_its_remedy(words, said, terminal):
    told = terminal.type("backfill", *words, "--json")
    assert told.code == 2
    assert said in told.json["error"]["message"]
    assert "Traceback" not in told.err


def test_a_missing_file_is_named(terminal):
    told = terminal.type("backfill", "--audit", "nowhere.jsonl")
    assert told.code == 3
    assert "nowhere.jsonl" in told.err
    assert told.out == ""


def test_a_missing_table_is_named(terminal):
    url = terminal.env["DATABASE_URL"]
    told = terminal.type("backfill", "--audit", url, "--audit-table", "no_such_table", "--json")
    assert told.code == 3
    assert "no_such_table" in told.json["error"]["message"]


def test_a_server_that_does_not_answer_is_an_operational_failure(tmp_path):
    terminal = Terminal("postgresql://nobody:secret@127.0.0.1:1/none", tmp_path)
    told = terminal.type("backfill", "--audit", AUDIT, "--json")
    assert told.code == 3
    assert told.json["error"]["type"] == "DatabaseUnreachable"
    assert "secret" not in told.out + told.err


def test_a_home_that_cannot_be_written_is_named_with_its_remedy(terminal, tmp_path):
    (tmp_path / "file").touch()
    told = terminal.type("backfill", "--audit", AUDIT, "--home", str(tmp_path / "file" / "home"))
    assert told.code == 3
    assert "BACKSTORY_HOME" in told.err


@pytest.mark.parametrize("command", [("runs",), ("backfill", "--audit", AUDIT), ("db", "upgrade")])
def test_a_database_of_a_newer_version_is_left_alone(command, loaded):
    engine = create_engine(parse_url(loaded.env["DATABASE_URL"]))
    with engine.begin() as connection:
        connection.execute(text("UPDATE backstory.alembic_version SET version_num = '9999'"))
    engine.dispose()
    told = loaded.type(*command, "--json")
    assert told.code == 3
    assert told.json["error"]["type"] == "SchemaMismatch"
    assert "newer" in told.json["error"]["message"]


def test_an_empty_source_fails_unless_it_may_be_empty(prepared, tmp_path):
    log = written(tmp_path / "log.jsonl", [])
    assert prepared.type("backfill", "--audit", log).code == 3
    assert prepared.type("backfill", "--audit", log, "--allow-empty").code == 0


# --- interrupted -----------------------------------------------------------------------------


@pytest.fixture
def long_log(tmp_path):
    return written(
        tmp_path / "long.jsonl",
        (
            record(n, f"lead-{n % 1000}", created_at=(BEGUN + timedelta(seconds=n)).isoformat())
            for n in range(30_000)
        ),
    )


def test_an_interrupt_pauses_the_run_and_resume_ends_it(long_log, prepared):
    engine = create_engine(parse_url(prepared.env["DATABASE_URL"]))
    with engine.begin() as connection:
        # However slow the machine is: nothing is written before the interrupt.
        connection.execute(text("LOCK TABLE backstory.messages IN SHARE MODE"))
        process = prepared.begin("backfill", "--audit", long_log, "--json")
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        while process.poll() is None and not connection.execute(waiting).scalar_one():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    engine.dispose()
    assert process.returncode == 1, err
    run = json.loads(out)["error"]["run_id"]
    assert f"backstory resume {run}" in err
    assert prepared.type("runs", run, "--json").json["status"] == "paused"
    told = prepared.type("resume", run, "--json")
    assert told.code == 0
    assert told.json["messages_created"] == 30_000
