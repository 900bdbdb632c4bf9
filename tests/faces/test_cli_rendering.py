"""`render`: rules tried, a run done once and taken back, and lines wherever events are shown."""

from pathlib import Path

import pytest
from cli_world import Terminal, written

LEAD = "e818914c-6e76-545b-8bd7-c36b3bca9f8b"
OWN = '[[rule]]\nname = "quote"\nactions = ["*quote*"]\nline = "Offer of {total}"\n'
QUOTE = "Quote created: $691.72 for 2 items (Truck load, Hot tub removal), Q-2041, valid until"
TAPPED = "Tapped: Sat, Jan 17, 8-10 AM"


@pytest.fixture
def rules(tmp_path: Path) -> str:
    return written(tmp_path / "lines.toml", [OWN])


def lines(terminal: Terminal) -> list[str]:
    page = terminal.type("conversation", LEAD, "--json", "--limit", "200").json
    return [each["line"] for each in page["messages"] if each["line"]]


def test_events_read_as_lines_wherever_they_are_shown(loaded: Terminal) -> None:
    shown = " ".join(loaded.type("conversation", LEAD, "--limit", "200").out.split())
    assert QUOTE in shown
    assert TAPPED in shown
    assert '{"' not in shown
    (hit,) = loaded.type("search", "tapped sat", "--json").json["hits"]
    assert hit["snippet"] == TAPPED
    (hit,) = loaded.type("search", "SLOT_20260117", "--json").json["hits"]
    assert hit["snippet"].startswith(TAPPED + ' {"mid":')
    traced = loaded.type("trace", hit["id"], "--json").json
    assert traced["projection"]["message"]["line"] == TAPPED
    assert traced["projection"]["message"]["content"].startswith('{"mid":')
    assert traced["record"]["payload"]["postback"]["title"] == "Sat, Jan 17, 8-10 AM"
    assert f"{TAPPED} (by the rules " in loaded.type("trace", hit["id"]).out
    assert loaded.type("summarize").code == 0
    assert '{"' not in loaded.type("conversation", LEAD).out


def test_what_is_planned_is_done_once_and_can_be_taken_back(loaded: Terminal, rules: str) -> None:
    before = lines(loaded)
    plan = loaded.type("render", "--rules", rules, "--dry-run", "--json").json
    assert (plan["messages"], plan["stale"], plan["changed"]) == (25, 25, 5)
    assert "Offer of $" in loaded.type("render", "--rules", rules, "--dry-run").out
    assert lines(loaded) == before
    done = loaded.type("render", "--rules", rules)
    assert done.code == 0
    assert "25 of 25 events" in done.out
    assert "BACKSTORY_LINE_RULES=" in done.out
    assert "Offer of $691.72" in lines(loaded)
    assert "renders lines" in loaded.type("runs", "last").out
    stale = loaded.type("verify")
    assert stale.code == 0
    assert "backstory render" in stale.out
    loaded.env["BACKSTORY_LINE_RULES"] = rules
    assert loaded.type("verify", "--sample", "3", "--json").json["stale_lines"] == 0
    again = loaded.type("render", "--json")
    assert (again.code, again.json["rendered"]) == (0, 0)
    first = loaded.type("runs", "--json").json["runs"][1]
    assert (first["mode"], first["status"]) == ("render", "done")
    foretold = loaded.type("rollback", first["run_id"], "--dry-run", "--json").json
    assert foretold["restored"] == {"messages": 25}
    assert loaded.type("rollback", first["run_id"]).code == 0
    assert lines(loaded) == before


def test_a_load_and_a_record_render_by_the_rules_of_the_settings(
    prepared: Terminal, rules: str
) -> None:
    prepared.env["BACKSTORY_LINE_RULES"] = rules
    assert prepared.load_sample().code == 0
    assert "Offer of $691.72" in lines(prepared)
    event = f'{{"id": "live-1", "lead_id": "{LEAD}", "actor": "agent", "action": "quote_sent"'
    event += ', "payload": {"total": 5}, "created_at": "2026-05-01T00:00:00Z"}\n'
    assert prepared.type("record", stdin=event).code == 0
    traced = prepared.type("trace", "live-1", "--json").json
    assert traced["projection"]["message"]["line"] == "Offer of $5.00"
    assert prepared.type("verify", "--json").json["stale_lines"] == 0


def test_bad_rules_are_refused_with_their_place(loaded: Terminal, tmp_path: Path) -> None:
    bad = written(tmp_path / "bad.toml", ["# mine", "[[rule]]", 'name = "x"', 'line = "{a"'])
    refused = loaded.type("render", "--rules", bad)
    assert refused.code == 2
    assert f"{bad}, line 2: rule 'x': {{ is not closed" in " ".join(refused.err.split())
    loaded.env["BACKSTORY_LINE_RULES"] = bad
    assert loaded.type("backfill", "--audit", bad, "--dry-run").code == 2
