# ruff: noqa: PLC0415 - imported when there is something to say: help stays quick
"""How a command ends: its exit code, and the sentence of an error."""

import os
import re
import sys
import textwrap
from enum import IntEnum
from typing import Any

from backstory.errors import BackstoryError, UsageError
from backstory.faces.cli.plain import json_text, plain


class ExitCode(IntEnum):
    """How a command ended; the shell's own words for an interrupt and a closed pipe beside ours."""

    DONE = 0
    FINDINGS = 1
    USAGE = 2
    FAILURE = 3
    INTERRUPTED = 130
    PIPE_CLOSED = 141


def code_of(error: BackstoryError) -> ExitCode:
    """Return the exit code for an error: what was asked is wrong, or what was done failed."""
    return ExitCode.USAGE if isinstance(error, UsageError) else ExitCode.FAILURE


def fail(sentence: str, kind: str, code: ExitCode, *, json: bool, **more: Any) -> ExitCode:
    """Tell an error on standard error, and with `json` also as the answer; return the code."""
    if json:
        error = {"type": kind, "message": plain(sentence), "exit_code": int(code)} | more
        sys.stdout.write(json_text({"error": error}) + "\n")
        sys.stdout.flush()
    sys.stderr.write(_told(plain(sentence)))
    sys.stderr.flush()
    return code


def _told(sentence: str) -> str:
    """Return the sentence for standard error: a log gets it in one piece, a terminal wrapped."""
    from backstory.faces.cli.screen import console

    err = console(stderr=True)
    if not err.is_terminal:
        return f"Error: {sentence}\n"
    with err.capture() as captured:
        err.print("Error:", style="bold red", end=" ")
        err.print(wrapped(sentence, err.width, indent="Error: ").removeprefix("Error: "))
    return captured.get()


_COMMAND = re.compile(r"`[^`\n]+`")
_JOINT = "\ue000"  # stands for a space that no line may end at


def wrapped(sentence: str, width: int, *, indent: str = "") -> str:
    """Return text broken into lines of `width`, never inside `a command`."""
    joined = _COMMAND.sub(lambda found: found[0].replace(" ", _JOINT), f"{indent}{sentence}")
    lines = [
        textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
        for line in joined.splitlines()
    ]
    return "\n".join(lines).replace(_JOINT, " ")


def leave_quietly() -> ExitCode:
    """Whoever read our answer has read enough; let nothing complain at the end either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())
    return ExitCode.PIPE_CLOSED


def tolerate_encodings() -> None:
    """Let characters that the terminal's encoding lacks become `?` instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
