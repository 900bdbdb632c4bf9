"""Help teaches, and the command line speaks plainly about its own misuse."""

import re
from importlib.metadata import version

import pytest
from cli_world import Terminal, leaves

COMMANDS = {" ".join(path): command for path, command in leaves()}
PROMISED = {
    *("demo", "backfill", "resume", "runs", "pause", "cancel", "verify", "rollback"),
    *("quarantine list", "quarantine show", "quarantine retry", "conflicts", "search"),
    *(
        "conversation",
        "conversations",
        "customers",
        "trace",
        "db status",
        "db upgrade",
        "db url",
        "db stop",
    ),
    *("tools", "db doctor", "db backup", "db restore", "render", "record", "follow"),
    *("serve", "key create", "key list", "key revoke", "call", "mcp"),
    *("context", "ready", "summarize", "embed", "model install", "model list", "erase", "export"),
    *("notes backfill", "notes list", "notes propose", "notes confirm", "notes reject"),
    *("notes supersede", "merges list", "merges undo"),
}


@pytest.fixture
def nowhere(tmp_path):
    return Terminal("postgresql://nobody@127.0.0.1:1/none", tmp_path)


def test_every_promised_command_is_there_and_no_other():
    assert set(COMMANDS) == PROMISED


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_every_command_says_what_it_does_and_gives_an_example(name, nowhere):
    told = nowhere.type(*name.split(), "--help")
    assert told.code == 0
    sentence = told.out.split("\n\n")[1].strip()
    assert sentence.endswith((".", ":"))
    assert re.search(rf"Examples?:\n  .*backstory {name}", told.out)
    assert "--json" in told.out


@pytest.mark.parametrize("name", ["", "db", "quarantine", *sorted(PROMISED)])
def test_no_help_is_wider_than_80_columns(name, nowhere):
    told = nowhere.type(*name.split(), "--help")
    assert max(map(len, told.out.splitlines())) <= 80


def test_the_first_page_names_every_command(nowhere):
    told = nowhere.type("--help").out
    for name in {name.split()[0] for name in PROMISED}:
        assert re.search(rf"^  {name} ", told, re.MULTILINE)


def test_without_a_command_the_first_page_is_shown(nowhere):
    told = nowhere.type()
    assert told.code == 2
    assert "backstory demo" in told.out


def test_a_wrong_command_is_refused_with_a_suggestion(nowhere):
    told = nowhere.type("backfil")
    assert told.code == 2
    assert "'backfill'" in told.err
    assert told.out == ""


def test_a_wrong_option_is_refused_in_words(nowhere):
    told = nowhere.type("runs", "--colour")
    assert told.code == 2
    assert "--colour" in told.err
    assert "backstory runs --help" in told.err


def test_a_wrong_option_is_an_object_for_a_program(nowhere):
    told = nowhere.type("runs", "--colour", "--json")
    assert told.code == 2
    assert told.json["error"]["type"] == "UsageError"
    assert told.json["error"]["exit_code"] == 2


def test_the_version_is_that_of_the_installation(nowhere):
    assert nowhere.type("--version").out == f"backstory {version('backstory')}\n"
