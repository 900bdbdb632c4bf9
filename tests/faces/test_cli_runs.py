"""`backstory runs`, `pause`, `cancel`: what is under way can be seen and stopped."""

import re
import uuid
from pathlib import Path

import pytest
from cli_world import AUDIT, LEADS
from sqlalchemy import text

from backstory.backfill.options import BackfillOptions
from backstory.model import RunMode, RunStatus
from backstory.runs.claim import leading
from backstory.runs.run import add_run, get_run, move
from backstory.store.engine import Database


@pytest.fixture
def database(loaded):
    database = Database.open(loaded.env["DATABASE_URL"], "backstory")
    yield database
    database.engine.dispose()


@pytest.fixture
def orphan(database, tmp_path):
    """Return the short id of a run whose process is gone."""
    run_id = uuid.uuid4()
    options = BackfillOptions(audit=(AUDIT,), leads=(LEADS,)).as_json()
    with database.engine.begin() as connection:
        add_run(
            connection,
            run_id,
            mode=RunMode.BACKFILL,
            log="audit",
            options=options,
            spill_dir=Path(tmp_path),
        )
    return str(run_id)[:8]


def test_runs_are_listed_the_newest_first(loaded):
    again = loaded.load_sample().json
    told = loaded.type("runs", "--json").json["runs"]
    assert [run["status"] for run in told] == ["done", "done"]
    assert told[0]["run_id"] == again["run_id"]


def test_the_list_fits_and_names_each_run(loaded):
    (run,) = loaded.type("runs", "--json").json["runs"]
    told = loaded.type("runs")
    assert re.search(rf"{run['run_id'][:8]} +done .* 216 +216 +0", told.out)


def test_one_run_is_shown_with_its_sources_its_report_and_what_can_be_done(loaded):
    told = loaded.type("runs", "last")
    assert "audit.jsonl" in told.out
    assert "216 = 216 processed" in told.out
    assert "backstory rollback" in told.out


def test_no_password_of_a_source_is_shown(loaded):
    url = "postgresql://reader:secret@127.0.0.1:1/crm"
    loaded.type("backfill", "--audit", url)
    told = loaded.type("runs", "--json")
    assert "secret" not in told.out + loaded.type("runs", "last").out


def test_a_run_that_is_not_there_is_a_wrong_request(loaded):
    told = loaded.type("runs", "ffffffff")
    assert told.code == 2
    assert "backstory runs" in told.err


def test_a_run_whose_process_is_gone_is_shown_as_interrupted_with_the_way_on(
    loaded, orphan, database
):
    newest, other = loaded.type("runs", "--json").json["runs"]
    assert (newest["status"], newest["interrupted"]) == ("running", True)
    assert other["interrupted"] is False
    assert loaded.type("runs", orphan, "--json").json["interrupted"] is True
    listed = loaded.type("runs").out
    assert re.search(rf"{orphan} +interrupted ", listed)
    assert f"backstory resume {orphan}" in listed
    shown = loaded.type("runs", orphan).out
    ways = [shown.index(f"backstory {way} {orphan}") for way in ("resume", "cancel", "rollback")]
    assert ways == sorted(ways)
    with database.engine.connect() as connection, leading(connection, uuid.UUID(newest["run_id"])):
        assert loaded.type("runs", orphan, "--json").json["interrupted"] is False
        shown = loaded.type("runs", orphan).out
        assert "running" in shown
        assert "backstory resume" not in shown


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        ("done", "is done: it cannot be resumed. The same backfill again"),
        ("canceled", "was canceled: it cannot be resumed. Start the same backfill anew"),
        ("rolled_back", "was rolled back: it cannot be resumed. Start the same backfill anew"),
    ],
)
def test_a_run_that_has_ended_cannot_be_resumed_and_says_what_to_do(ended, said, loaded, database):
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE backfill_runs SET status = :to"), {"to": ended})
    told = loaded.type("resume", "last")
    assert told.code == 3
    assert said in " ".join(told.err.split())


@pytest.mark.parametrize(("command", "status"), [("pause", "paused"), ("cancel", "canceled")])
def test_a_run_without_workers_is_stopped_at_once(command, status, loaded, orphan):
    told = loaded.type(command, orphan, "--json")
    assert told.code == 0
    assert told.json["status"] == status


def test_a_paused_run_is_shown_with_the_ways_on_in_order(loaded, orphan):
    loaded.type("pause", orphan)
    shown = loaded.type("runs", orphan).out
    ways = [shown.index(f"backstory {way} {orphan}") for way in ("resume", "cancel", "rollback")]
    assert ways == sorted(ways)
    assert "not begun" in shown


def test_a_paused_run_can_be_canceled(loaded, orphan, database):
    with database.engine.begin() as connection:
        move(connection, get_run(connection, orphan), RunStatus.PAUSED)
    assert loaded.type("cancel", orphan, "--json").json["status"] == "canceled"


def test_a_run_that_is_done_cannot_be_paused(loaded):
    told = loaded.type("pause", "last")
    assert told.code == 3
    assert "done" in told.err


def test_nothing_of_ours_yet_is_said_with_the_way_to_begin(terminal):
    told = terminal.type("runs")
    assert told.code == 2
    assert "backstory demo" in told.err
    assert "backstory backfill" in told.err
