"""`backstory tools`: what an agent can be given, to read, to pipe, and to hold to the suite."""

import json
import re
import sys

import pytest
from cli_world import Terminal

from backstory.tools.catalog import MEMORY_TOOLS, TOOLS
from backstory.tools.check import CHECKS
from backstory.tools.schemas import Format, projection


@pytest.fixture
def nowhere(tmp_path):
    """A terminal whose database nobody reaches: schemas need none."""
    return Terminal("postgresql://nobody@127.0.0.1:1/none", tmp_path)


def test_the_list_names_every_tool_on_80_columns(nowhere):
    told = nowhere.type("tools")
    assert told.code == 0
    assert max(map(len, told.out.splitlines())) <= 80
    for tool in TOOLS:
        star = " \\*" if tool in MEMORY_TOOLS else ""
        assert re.search(rf"^{tool.name}{star} +{tool.title}$", told.out, re.MULTILINE)
    assert "CONTEXT_MEMORY_ENABLED=true" in told.out


def test_the_list_is_data_for_a_program(nowhere):
    tools = nowhere.type("tools", "--json").json["tools"]
    assert [tool["name"] for tool in tools] == [tool.name for tool in TOOLS]
    assert [tool["name"] for tool in tools if tool["needs_memory"]] == [
        "memory_fetch_candidates",
        "memory_confirm_context",
    ]
    item = next(tool for tool in tools if tool["name"] == "add_job_item")
    assert item["required"] == ["job_id", "kind", "name"]
    assert item["optional"] == ["quantity", "unit", "unit_price_cents"]


@pytest.mark.parametrize("shape", Format)
def test_a_format_is_printed_as_json_and_nothing_else(nowhere, shape):
    told = nowhere.type("tools", "--format", shape)
    assert (told.code, told.err) == (0, "")
    assert told.json == projection(TOOLS, shape)
    assert nowhere.type("tools", "--format", shape).out == told.out
    assert nowhere.type("tools", "--format", shape, "--json").json == {
        "format": shape,
        "tools": told.json,
    }


def test_another_format_is_refused_with_those_there_are(nowhere):
    told = nowhere.type("tools", "--format", "cobol")
    assert told.code == 2
    assert "canonical, openai, openai-chat, anthropic, gemini, mcp" in told.err
    assert nowhere.type("tools", "--format", "mcp", "--check").code == 2


def test_the_check_tells_every_check_and_that_all_hold(nowhere):
    told = nowhere.type("tools", "--check")
    assert told.code == 0
    words = " ".join(told.out.split())
    for check in CHECKS:
        assert check.sentence in words
    held = sum(not check.informs for check in CHECKS)
    assert told.out.endswith(f"Sound: all {held} checks hold.\n")
    assert "✗" not in told.out


def test_a_check_that_fails_makes_the_exit_code_1_and_tells_what_helps(nowhere, monkeypatch):
    monkeypatch.setitem(sys.modules, "anthropic", None)
    told = nowhere.type("tools", "--check")
    assert told.code == 1
    assert "✗  Anthropic's SDK changes nothing" in told.out
    assert "pip install backstory[check]" in " ".join(told.out.split())
    assert "Not sound: 1 check failed" in told.out
    data = json.loads(nowhere.type("tools", "--check", "--json").out)
    assert data["ok"] is False
    (failed,) = [each for each in data["checks"] if not each["passed"]]
    assert (failed["name"], failed["point"]) == ("anthropic_unchanged", 4)
