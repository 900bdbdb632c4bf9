"""`backstory notes …`: take them, look at them, decide about them."""

import json

import pytest
from cli_world import Terminal
from scripted_model import scripted_model


@pytest.fixture
def noted(loaded):
    """Return a terminal on the sample with its notes taken."""
    assert loaded.type("notes", "backfill").code == 0
    return loaded


def listed(terminal, *words):
    return terminal.type("notes", "list", *words, "--json").json["notes"]


def test_a_dry_run_tells_what_a_run_then_does(loaded):
    told = loaded.type("notes", "backfill", "--dry-run", "--json").json
    assert told["run_id"] is None
    assert listed(loaded, "--limit", "1000") == []
    done = loaded.type("notes", "backfill", "--json").json
    assert done["created"] == told["created"] == len(listed(loaded, "--limit", "1000")) > 10
    again = loaded.type("notes", "backfill", "--json").json
    assert again["created"] == 0
    assert loaded.type("verify", "--json").json["ok"]


def test_no_code_of_a_gate_is_in_any_note(noted):
    words = " ".join(each["text"] for each in listed(noted, "--limit", "1000"))
    assert "Biscuit" in words
    assert "4471" not in words
    assert "8826" not in words


def test_contradictions_of_one_customer_are_listed_and_marked(noted):
    found = listed(noted, "--contradictions")
    assert {"preferred contact: messenger", "preferred contact: sms"} <= {e["text"] for e in found}
    assert all(each["others"] for each in found)
    assert " !" in noted.type("notes", "list", "--contradictions").out


def test_decisions_change_how_a_note_stands(noted):
    one, other = [e["id"] for e in listed(noted) if e["text"].startswith("preferred contact")][:2]
    assert "is confirmed" in noted.type("notes", "confirm", one).out
    assert [each["id"] for each in listed(noted, "--status", "confirmed")] == [one]
    assert noted.type("notes", "reject", other, "--json").json["status"] == "rejected"
    new = noted.type("notes", "supersede", one[:8], "By letter", "--json").json["note"]
    assert [each["text"] for each in listed(noted, "--status", "confirmed")] == ["By letter"]
    assert new != one
    assert noted.type("notes", "confirm", "zzzz").code == 2
    blocked = noted.type("rollback", "last", "--json")
    assert blocked.code == 1
    assert blocked.json["blockers"][0]["name"] == "notes"


def test_a_run_of_notes_is_taken_back_as_any_other(noted):
    assert noted.type("runs", "--json").json["runs"][0]["mode"] == "notes"
    assert noted.type("runs").code == 0
    assert noted.type("runs", "last").code == 0
    assert noted.type("rollback", "last").code == 0
    assert listed(noted) == []
    assert noted.type("search", "spa", "--json").json["hits"]


def test_without_a_model_a_proposal_says_how_to_name_one(noted):
    told = noted.type("notes", "propose", listed(noted)[0]["customer_id"])
    assert told.code == 2
    assert "BACKSTORY_CHAT_URL" in told.err


def test_a_proposal_is_listed_and_exported_with_what_it_quotes(loaded):
    customer = loaded.type("customers", "--json").json["customers"][0]["id"]
    with scripted_model() as model:
        terminal = Terminal(
            loaded.env["DATABASE_URL"],
            loaded.home,
            BACKSTORY_CHAT_URL=model.url,
            BACKSTORY_CHAT_MODEL="a-model",
        )
        assert terminal.type("notes", "propose", customer).code == 0
        talk = model.asked[0]["messages"][1]["content"].splitlines()
        number, _, words = next(e for e in talk if " customer: " in e).partition(" customer: ")
        quote = words[:40].strip()
        entry = {"message": int(number), "quote": quote, "kind": "fact", "note": "Worth it."}
        model.says = json.dumps([entry])
        assert terminal.type("notes", "propose", customer, "--json").json["created"] == 1
    (note,) = listed(loaded, customer)
    assert note["quotation"] == quote
    assert f'"{quote[:20]}' in loaded.type("notes", "list").out
    exported = loaded.type("export", customer).json["tables"]["memory_notes"]
    assert [each["quotation"] for each in exported] == [quote]


def test_a_narrow_terminal_shows_how_each_note_stands_and_whose_it_is(noted):
    lines = noted.type("notes", "list").out.splitlines()
    assert lines[0].split() == ["id", "status", "kind", "note", "customer"]
    assert all("candidate" in line for line in lines[2:] if not line.startswith(" "))
