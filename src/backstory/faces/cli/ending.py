# ruff: noqa: PLC0415 - imported when there is something to say: help stays quick
"""How a command ends: its exit code, and the sentence of an error."""

import sys
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
    """Return the sentence for standard error: red in front on a terminal, wrapped by words."""
    from backstory.faces.cli.screen import console, text

    err = console(stderr=True)
    with err.capture() as captured:
        err.print(text(("Error: ", "bold red"), sentence), soft_wrap=False)
    return captured.get()
