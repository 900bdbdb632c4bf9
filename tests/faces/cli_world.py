"""The command line as a person meets it: words in, an exit code and two streams out."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from typer.main import get_command
from typer.testing import CliRunner

from backstory import sample
from backstory.faces.cli.commands import shell

BEGUN = datetime(2026, 5, 1, tzinfo=UTC)
AUDIT, LEADS = (str(path) for path in sample.paths())


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on standard output; anything beside it is an error."""
        return json.loads(self.out)


class Terminal:
    """Types commands with one database and one home."""

    def __init__(self, url: str, home: Path, **more: str) -> None:
        self.env = {
            "DATABASE_URL": url,
            "BACKSTORY_HOME": str(home),
            "COLUMNS": "80",
        } | more
        self.home = home

    def type(self, *words: str, stdin: str | None = None) -> Outcome:
        """Run a command in this process."""
        done = CliRunner(env=self.env).invoke(
            shell, list(words), input=stdin, prog_name="backstory", catch_exceptions=False
        )
        return Outcome(done.exit_code, done.stdout, done.stderr)

    def environment(self) -> dict[str, str]:
        """Return the environment of a process of its own."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), **self.env}

    def begin(self, *words: str, **options: Any) -> "subprocess.Popen[str]":
        """Start a command as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "backstory", *words],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def load_sample(self) -> Outcome:
        """Load the sample log and answer in JSON."""
        return self.type("backfill", "--audit", AUDIT, "--leads", LEADS, "--json")


def record(number: int, lead: str = "lead-1", **other: Any) -> dict[str, Any]:
    """Return a record of a log: users say the odd ones, assistants the even ones."""
    return {
        "id": f"a-{number}",
        "lead_id": lead,
        "actor": "customer" if number % 2 else "agent",
        "action": "message_received" if number % 2 else "message_sent",
        "payload": {"text": f"message {number}"},
        "created_at": (BEGUN + timedelta(minutes=number)).isoformat(),
    } | other


def written(path: Path, lines: Iterable[Mapping[str, Any] | str]) -> str:
    """Write lines, JSON or raw, to a file and return its name."""
    with path.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(line if isinstance(line, str) else json.dumps(line))
            file.write("\n")
    return str(path)


def leaves(
    command: Any = None, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command with the words that call it."""
    command = command or get_command(shell)
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, each in inner.items():
        yield from leaves(each, (*path, name))
