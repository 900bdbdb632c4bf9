"""`backstory rollback`: a look first, then exactly the run's rows, then as before."""

import pytest
from cli_world import record, written


@pytest.fixture
def messages(loaded):
    """Return a function that counts messages."""

    def count():
        return loaded.type("db", "status", "--json").json["tables"]["messages"]["rows"]

    return count


def test_a_dry_run_says_what_would_go_and_changes_nothing(loaded, messages):
    told = loaded.type("rollback", "last", "--dry-run", "--json")
    assert told.code == 0
    assert told.json["removed"]["messages"] == 216
    assert (told.json["dry_run"], told.json["blocked"]) == (True, False)
    assert (told.json["forced"], told.json["kept"]) == ({}, {})
    assert messages() == 216
    shown = loaded.type("rollback", "last", "--dry-run").out
    assert "216 messages" in shown
    assert "backstory rollback " in shown


def test_a_rollback_takes_back_what_the_run_created(loaded, messages):
    told = loaded.type("rollback", "last")
    assert told.code == 0
    assert "216 messages" in told.out
    assert messages() == 0
    assert loaded.type("runs", "last", "--json").json["status"] == "rolled_back"
    assert loaded.type("customers", "--json").json["customers"] == []


def test_it_can_be_loaded_again(loaded):
    assert loaded.type("rollback", "last").code == 0
    assert loaded.load_sample().json["messages_created"] == 216


def test_what_stands_on_a_run_blocks_it_by_name(loaded, messages, tmp_path):
    first = loaded.type("runs", "last", "--json").json["run_id"]
    (lead,) = {hit["lead"] for hit in loaded.type("search", "Larkspur", "--json").json["hits"]}
    log = written(tmp_path / "more.jsonl", [record(1, lead)])
    second = loaded.type("backfill", "--audit", log, "--json").json["run_id"]
    told = loaded.type("rollback", first, "--json")
    assert told.code == 1
    assert told.json["blocked"] is True
    assert any(second[:8] in blocker["sentence"] for blocker in told.json["blockers"])
    assert told.json["forced"] == {"messages": 1}
    assert "1 message, 1 record of the log" in loaded.type("rollback", second, "--dry-run").out
    assert "--force" in loaded.type("rollback", first).out
    assert "by force" in loaded.type("rollback", first, "--dry-run", "--force").out
    assert messages() == 217
    assert loaded.type("rollback", first, "--force").code == 0
    assert messages() == 0
    assert loaded.type("verify", "--json").json["ok"]


def test_a_run_cannot_be_rolled_back_twice(loaded):
    assert loaded.type("rollback", "last").code == 0
    for words in ((), ("--dry-run",)):
        told = loaded.type("rollback", "last", "--json", *words)
        assert told.code == 3
        assert "already" in told.json["error"]["message"]


def test_a_run_that_is_not_there_is_a_wrong_request(loaded):
    assert loaded.type("rollback", "ffffffff").code == 2
