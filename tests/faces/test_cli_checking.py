"""`verify`, `quarantine`, `conflicts`: an exit code that tells whether something needs a look."""

import pytest
from cli_world import record, written
from sqlalchemy import create_engine, text

from backstory.store.engine import parse_url


@pytest.fixture
def troubled(prepared, tmp_path):
    """Return a terminal on a log with a broken line, a bad time and two records under one id."""
    log = written(
        tmp_path / "log.jsonl",
        [
            record(1),
            record(2, created_at="yesterday"),
            record(1, payload={"text": "something else"}),
            "no json at all",
        ],
    )
    assert prepared.type("backfill", "--audit", log).code == 1
    return prepared


def test_a_sound_database_passes_every_gate(sampled):
    told = sampled.type("verify", "--sample", "3", "--json")
    assert told.code == 0
    assert told.json["ok"] is True
    assert told.json["sample"]["conversations"] == 3
    assert "Sound" in sampled.type("verify").out


def test_a_gate_that_fails_makes_the_exit_code_1_and_names_the_offender(loaded):
    engine = create_engine(parse_url(loaded.env["DATABASE_URL"]))
    with engine.begin() as connection:
        connection.execute(text("UPDATE backstory.messages SET created_at = now() WHERE seq = 3"))
    engine.dispose()
    told = loaded.type("verify", "--json")
    assert told.code == 1
    (failed,) = [g for g in told.json["gates"] if not g["passed"] and g["severity"] == "required"]
    shown = loaded.type("verify")
    assert shown.code == 1
    assert "✗" in shown.out
    assert "Not sound" in shown.out
    assert failed["offenders"]


def test_the_quarantine_lists_where_and_why(troubled):
    told = troubled.type("quarantine", "list", "--json")
    assert told.code == 1
    assert {row["code"] for row in told.json["quarantined"]} == {"bad_time", "bad_json"}
    shown = troubled.type("quarantine", "list").out
    assert "log.jsonl:2" in shown
    assert "log.jsonl:4" in shown


def test_records_are_listed_run_by_run_the_newest_first_as_they_stand_in_the_source(
    terminal, tmp_path
):
    for name in ("old", "new"):
        lines = [record(0), *(record(n, created_at=f"{name} {n}") for n in range(1, 12))]
        lines += [record(0, payload={"text": f"other {name} {n}"}) for n in range(11)]
        terminal.type("backfill", "--audit", written(tmp_path / f"{name}.jsonl", lines))
    refused = terminal.type("quarantine", "list", "--json").json["quarantined"]
    lost = terminal.type("conflicts", "--json").json["conflicts"]
    for found, first in ((refused, 2), (lost, 13)):
        assert [row["position"] for row in found] == [
            f"{name}.jsonl:{line}" for name in ("new", "old") for line in range(first, first + 11)
        ]
    shown = terminal.type("quarantine", "list", "--limit", "2").out
    assert "The first 2, those of the newest run first" in shown


def test_an_empty_quarantine_is_no_finding(sampled):
    told = sampled.type("quarantine", "list")
    assert (told.code, told.out) == (0, "Nothing is in quarantine.\n")


def test_a_quarantined_record_is_shown_as_it_was_read(troubled):
    rows = troubled.type("quarantine", "list", "--json").json["quarantined"]
    (broken,) = [row["id"] for row in rows if row["code"] == "bad_json"]
    assert "no json at all" in troubled.type("quarantine", "show", broken[:8]).out
    told = troubled.type("quarantine", "show", broken, "--json").json
    assert bytes.fromhex(told["raw_hex"]) == b"no json at all"
    assert troubled.type("quarantine", "show", "ffff").code == 2


def test_a_retry_that_helps_nobody_says_so(troubled):
    told = troubled.type("quarantine", "retry", "--json")
    assert told.code == 1
    assert [run["records_quarantined"] for run in told.json["runs"]] == [2]
    assert len(troubled.type("quarantine", "list", "--json").json["quarantined"]) == 2


def test_a_retry_of_nothing_is_done(sampled):
    assert sampled.type("quarantine", "retry", "--json").json == {"runs": []}


def test_a_run_can_be_named(troubled):
    assert troubled.type("quarantine", "list", "--run", "last").code == 1
    assert troubled.type("quarantine", "list", "--run", "ffffffff").code == 2
    assert len(troubled.type("conflicts", "--run", "last", "--json").json["conflicts"]) == 1


def test_a_conflict_shows_the_second_and_names_the_first(troubled):
    told = troubled.type("conflicts", "--json")
    assert told.code == 1
    (conflict,) = told.json["conflicts"]
    assert conflict["payload"] == {"text": "something else"}
    first = troubled.type("trace", conflict["winner_id"], "--json").json
    assert first["record"]["payload"] == {"text": "message 1"}
    assert "something else" in troubled.type("conflicts").out


def test_a_run_in_which_nothing_lost_anew_points_to_what_had_lost_before(troubled, tmp_path):
    event = record(900)
    load = ("backfill", "--audit", written(tmp_path / "more.jsonl", [event]))
    assert troubled.type(*load).code == 0
    told = troubled.type("conflicts", "--run", "last")
    assert told.code == 0
    assert "had not lost before: backstory conflicts" in told.out


def test_no_conflict_is_no_finding(sampled):
    assert sampled.type("conflicts", "--json").json == {"conflicts": []}
    assert sampled.type("conflicts").code == 0
