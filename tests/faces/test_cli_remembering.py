"""`context` and `ready`: what a prompt is given, and whether memory can be switched on."""

import pytest
from cli_world import Terminal
from sqlalchemy import create_engine, text

from backstory.app import open_app
from backstory.config import Settings
from backstory.errors import Refused
from backstory.store.engine import parse_url

LEAD = "e818914c-6e76-545b-8bd7-c36b3bca9f8b"
QUERY = "same place as last time?"


@pytest.fixture
def remembering(loaded) -> Terminal:
    """Return a terminal on the sample with memory switched on."""
    loaded.env |= {"CONTEXT_MEMORY_ENABLED": "true"}
    return loaded


def test_memory_is_switched_off_unless_it_is_asked_for(loaded):
    told = loaded.type("context", LEAD, QUERY)
    assert (told.code, told.out) == (2, "")
    assert "CONTEXT_MEMORY_ENABLED=true" in told.err
    call = loaded.type(
        "call", "memory_fetch_candidates", "--lead", LEAD, "--args", '{"query": "x"}', "--json"
    )
    assert call.code == 1
    assert call.json["outcome"] == "unknown_tool"
    settings = Settings(DATABASE_URL=loaded.env["DATABASE_URL"])
    with open_app(settings) as app:
        session = app.session(LEAD)
        assert not [tool for tool in session.offered if tool.name.startswith("memory")]
        with pytest.raises(Refused) as refused:
            session.context(QUERY)
    assert refused.value.outcome == "memory_off"


def test_a_pack_is_printed_as_a_prompt_gets_it(remembering):
    told = remembering.type("context", LEAD, QUERY, "--budget", "700", "--json")
    assert told.code == 0
    pack = told.json
    assert pack["tokens"] <= pack["budget"] == 700
    assert {line["section"] for line in pack["lines"]} == {"customer", "before"}
    asked = [line for line in pack["lines"] if line["section"] == "before"]
    assert {"lead", "message"} <= {line["source"] for line in asked}
    for line in pack["lines"]:
        assert line["text"] in pack["text"]
    shown = remembering.type("context", LEAD, QUERY, "--budget", "700").out
    assert "Ask first" in shown
    assert f"At most {pack['tokens']} tokens of 700, {pack['left_out']} things left out." in shown


def test_what_the_pack_shows_can_be_confirmed(remembering):
    lines = remembering.type("context", LEAD, QUERY, "--json").json["lines"]
    (lead, *_) = [each["candidate_id"] for each in lines if each["source"] == "lead"]
    args = f'{{"candidate_ids": ["{lead}"]}}'
    told = remembering.type(
        "call", "memory_confirm_context", "--lead", LEAD, "--args", args, "--json"
    )
    assert told.code == 0
    assert "27 Juniper Bend" in told.out
    (line, *_) = [
        each
        for each in remembering.type("context", LEAD, QUERY, "--json").json["lines"]
        if each["section"] == "confirmed"
    ]
    assert "27 Juniper Bend" in line["text"]


def test_a_small_budget_and_an_unknown_lead_are_wrong_requests(remembering):
    small = remembering.type("context", LEAD, QUERY, "--budget", "5")
    assert small.code == 2
    assert "or more" in small.err
    assert remembering.type("context", "nobody", QUERY).code == 2


def test_the_confirmation_is_in_the_log_of_our_own_deeds(remembering):
    told = remembering.type(
        "call",
        "memory_fetch_candidates",
        "--lead",
        LEAD,
        "--args",
        f'{{"query": "{QUERY}"}}',
        "--json",
    )
    first = told.json["data"]["candidates"][0]["candidate_id"]
    args = f'{{"candidate_ids": ["{first}"]}}'
    remembering.type("call", "memory_confirm_context", "--lead", LEAD, "--args", args)
    engine = create_engine(parse_url(remembering.env["DATABASE_URL"]))
    with engine.connect() as connection:
        written = connection.execute(
            text(
                "SELECT payload FROM backstory.audit_log WHERE log = 'backstory'"
                " AND payload ->> 'tool' = 'memory_confirm_context'"
                " ORDER BY created_at DESC LIMIT 1"
            )
        ).scalar_one()
    engine.dispose()
    assert written["outcome"] == "confirmed"
    assert written["ids"] == {"candidate_ids": [first]}


def test_what_a_rollback_took_is_not_remembered(remembering):
    loaded = remembering
    before = loaded.type("context", LEAD, "the hot tub", "--json").json
    assert "hot tub" in before["text"]
    (run, *_) = loaded.type("runs", "--json").json["runs"]
    assert loaded.type("rollback", run["run_id"], "--force").code in {0, 1}
    after = loaded.type("context", LEAD, "the hot tub")
    assert after.code == 2
    assert "hot tub" not in after.out


def test_a_sound_database_is_ready(loaded):
    told = loaded.type("ready")
    assert told.code == 0, told.out
    assert told.out.count("✓") == 8
    assert "Ready. CONTEXT_MEMORY_ENABLED=true switches memory on." in told.out


def test_what_is_not_ready_is_named_and_makes_the_exit_code_1(loaded):
    engine = create_engine(parse_url(loaded.env["DATABASE_URL"]))
    with engine.begin() as connection:
        connection.execute(text("UPDATE backstory.alembic_version SET version_num = '0001'"))
    engine.dispose()
    told = loaded.type("ready", "--json")
    assert told.code == 1
    assert told.json["ready"] is told.json["memory_enabled"] is False
    assert [check["name"] for check in told.json["checks"]] == ["schema_current"]
    shown = loaded.type("ready")
    assert shown.code == 1
    assert "Not ready: 1 check of 1." in shown.out


def test_nothing_loaded_is_a_wrong_request(terminal):
    assert terminal.type("ready").code == 2
