"""`backstory merges …`: who was taken for one, and how two are made of one again."""

import json

import pytest
from cli_world import record, written
from sqlalchemy import create_engine, text

from backstory.store.engine import parse_url

BEFORE = [
    {"id": "ana", "channel": "sms", "name": "Ana", "email": "ana@example.com"},
    {"id": "bea", "channel": "sms", "name": "Bea", "phone": "+15125550142"},
]
BRIDGE = {"id": "ace", "channel": "sms", "email": "ana@example.com", "phone": "+15125550142"}


@pytest.fixture
def merged(prepared, tmp_path):
    """Return a terminal where two customers turned out to share a phone and an address."""
    log = written(tmp_path / "log.jsonl", [record(1, "ana"), record(2, "bea")])
    for leads in (BEFORE, [*BEFORE, BRIDGE]):
        list_of_leads = written(tmp_path / "leads.jsonl", leads)
        done = prepared.type("backfill", "--audit", log, "--leads", list_of_leads, "--json")
        assert done.code == 0, done.out
    return prepared


def listed(terminal, *words):
    return terminal.type("merges", "list", *words, "--json").json["merges"]


def own_log(terminal):
    engine = create_engine(parse_url(terminal.env["DATABASE_URL"]))
    with engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT payload FROM backstory.audit_log "
                "WHERE log = 'backstory' AND action = 'merge_undone'"
            )
        ).scalars()
        payloads = list(found)
    engine.dispose()
    return payloads


def test_a_merge_is_listed_with_whom_it_joined_and_why(merged):
    (merge,) = listed(merged)
    assert {merge["survivor"], merge["absorbed"]} <= {"Ana", "Bea", None}
    assert merge["undone_at"] is None
    assert merge["run_id"] == merged.type("runs", "--json").json["runs"][0]["run_id"]
    assert merge["reason"]["keys"]
    shown = merged.type("merges", "list").out
    for each in (merge["id"], merge["survivor_id"], merge["absorbed_id"]):
        assert each[:8] in shown
    assert merge["reason"]["keys"][0]["kind"] in shown
    for customer in (merge["survivor_id"], merge["absorbed_id"][:8]):
        assert listed(merged, customer) == [merge]
    assert listed(merged, "zzz") == []
    assert "nobody was taken" in merged.type("merges", "list", "zzz").out


def test_a_merge_is_undone_and_written_down_and_linking_keeps_it_so(merged, tmp_path):
    (merge,) = listed(merged)
    assert len(merged.type("customers", "--json").json["customers"]) == 1
    told = merged.type("merges", "undo", merge["id"][:8])
    assert told.code == 0
    assert f"Merge {merge['id'][:8]} is undone" in told.out
    assert len(merged.type("customers", "--json").json["customers"]) == 2
    (undone,) = listed(merged)
    assert undone["undone_at"] is not None
    (payload,) = own_log(merged)
    assert payload == {
        "merge": merge["id"],
        "survivor": merge["survivor_id"],
        "absorbed": merge["absorbed_id"],
        "by": "staff",
    }
    assert merged.type("verify", "--json").json["ok"]
    leads = written(tmp_path / "leads.jsonl", [*BEFORE, BRIDGE])
    assert (
        merged.type("backfill", "--audit", str(tmp_path / "log.jsonl"), "--leads", leads).code == 0
    )
    assert len(merged.type("customers", "--json").json["customers"]) == 2


def test_what_is_undone_is_told_in_json(merged):
    (merge,) = listed(merged)
    assert merged.type("merges", "undo", merge["id"], "--json").json == {
        "merge": merge["id"],
        "status": "undone",
        "survivor_id": merge["survivor_id"],
        "absorbed_id": merge["absorbed_id"],
    }


def test_a_merge_that_is_unknown_or_undone_changes_nothing(merged):
    (merge,) = listed(merged)
    told = merged.type("merges", "undo", "zzzz")
    assert (told.code, "There is no merge 'zzzz'" in told.err) == (2, True)
    assert "`backstory merges list` shows them" in told.err
    assert merged.type("merges", "undo", merge["id"]).code == 0
    again = merged.type("merges", "undo", merge["id"], "--json")
    assert again.code == 2
    assert "undone already" in json.loads(again.out)["error"]["message"]
    assert len(own_log(merged)) == 1
