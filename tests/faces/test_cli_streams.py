"""Streams: colour and progress only on a terminal, a closed pipe is no error, words stay apart."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import pytest
from cli_world import AUDIT, LEADS

from backstory.faces.cli.ending import wrapped
from backstory.faces.cli.plain import clipped, json_text, one_line, plain

COLOUR = re.compile(r"\x1b\[[0-9;]+m")


def on_a_terminal(terminal, *words, stdout=None, **environment):
    """Run a command whose streams are a terminal of 80 columns; return its code and its text."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "backstory", *words],
        env=terminal.environment() | {"TERM": "xterm-256color"} | environment,
        stdin=inner,
        stdout=stdout or inner,
        stderr=inner,
    )
    os.close(inner)
    shown = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ready, _, _ = select.select([outer], [], [], 0.1)
        if not ready:
            if process.poll() is not None:
                break
            continue
        try:
            shown += os.read(outer, 65536)
        except OSError:
            break
    os.close(outer)
    return process.wait(timeout=10), shown.decode()


def test_colour_is_for_a_terminal(sampled):
    code, shown = on_a_terminal(sampled, "verify")
    assert code == 0
    assert COLOUR.search(shown)
    assert not COLOUR.search(sampled.type("verify").out)


def test_no_color_is_heeded(sampled):
    code, shown = on_a_terminal(sampled, "verify", NO_COLOR="1")
    assert code == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", shown)


def test_help_is_plain_without_colour(sampled):
    _, shown = on_a_terminal(sampled, "--help", NO_COLOR="1")
    assert "\x1b" not in shown


def test_progress_is_on_standard_error_of_a_terminal(sampled, tmp_path):
    with (tmp_path / "out").open("w+") as out:
        code, shown = on_a_terminal(
            sampled,
            "backfill",
            "--audit",
            AUDIT,
            "--leads",
            LEADS,
            "--dry-run",
            "--json",
            stdout=out,
        )
    assert code == 0
    assert "216" in shown
    assert (tmp_path / "out").read_text().startswith("{")


def test_without_a_terminal_a_short_run_says_nothing_on_the_way(sampled):
    told = sampled.type("backfill", "--audit", AUDIT, "--leads", LEADS)
    assert (told.code, told.err) == (0, "")


def test_a_reader_who_has_read_enough_is_no_error(sampled):
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "backstory", "search", "quote", "--json"],
        env=sampled.environment(),
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert process.returncode == 141
    assert process.stderr == b""


def test_the_module_and_the_command_are_the_same(sampled):
    told = subprocess.run(
        [sys.executable, "-m", "backstory", "db", "url"],
        env=sampled.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == sampled.type("db", "url").out


@pytest.mark.parametrize("words", [("--database", "{0}", "runs"), ("runs", "--database", "{0}")])
def test_common_options_are_taken_before_and_after_the_command(words, sampled, monkeypatch):
    url = sampled.env["DATABASE_URL"]
    monkeypatch.setitem(sampled.env, "DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert sampled.type(*(word.format(url) for word in words)).code == 0
    assert sampled.type("runs").code == 3


def test_a_setting_that_cannot_be_is_named(sampled, monkeypatch):
    monkeypatch.setitem(sampled.env, "BACKSTORY_DB_LINGER", "soon")
    told = sampled.type("runs")
    assert told.code == 2
    assert "BACKSTORY_DB_LINGER" in told.err


# --- text ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb\x1b[0m", "ab"),
        ("a\x1b]8;;http://evil\x1b\\b", "ab"),
        ("a\x9b31mb", "ab"),
        ("a\u202eb\u2066c\u200fd", "abcd"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("a\tb", "a    b"),
        ("a\x00\x07\x7fb", "ab"),
        ("\ud800", "\ufffd"),
        ("👩\u200d🔧 नमस्ते", "👩\u200d🔧 नमस्ते"),
    ],
)
def test_text_becomes_plain(text, shown):
    assert plain(text) == shown


def test_a_line_is_one_line_and_a_cut_is_marked():
    assert one_line(" a\n\n b\tc ") == "a b c"
    assert clipped("abcdef", 4) == "abc…"
    assert clipped("abcd", 4) == "abcd"


def test_json_text_has_no_character_that_a_terminal_obeys():
    written = json_text({"a": "\x9b\u202e\u2028"})
    assert "\\u009b\\u202e\\u2028" in written


def test_no_line_ends_inside_a_command():
    sentence = "Something long was said here and then `backstory resume 12345678` goes on."
    lines = wrapped(sentence, 50).splitlines()
    assert len(lines) == 2
    assert any("`backstory resume 12345678`" in line for line in lines)
