"""People and questions for the tests of the embedded server: users, clients, addresses, waits."""

import contextlib
import dataclasses
import json
import os
import pwd
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from backstory.store import embedded, reaper
from backstory.store.reaper import Place

ROOT = os.geteuid() == 0
STRANGER = 54321  # a user id that belongs to nobody
LIBRARIES = os.pathsep.join([str(Path(embedded.__file__).parents[2]), *filter(None, sys.path)])

CLIENT = """
import sys
from pathlib import Path
from backstory.errors import EmbeddedError
from backstory.store import embedded
try:
    with embedded.start(Path(sys.argv[1]), linger=float(sys.argv[2])) as lease:
        print(lease.url, flush=True)
        sys.stdin.read()
except EmbeddedError as exc:
    print("refused:", exc)
"""
STOP = """
import sys
from pathlib import Path
from backstory.store import embedded
print(embedded.stop(Path(sys.argv[1]), purge=sys.argv[2:] == ["purge"]))
"""
STATUS = """
import dataclasses, json, sys
from pathlib import Path
from backstory.store import embedded
print(json.dumps(dataclasses.asdict(embedded.status(Path(sys.argv[1]))), default=str))
"""


@dataclass(frozen=True)
class User:
    """Somebody who runs Backstory in processes of their own."""

    uid: int
    python: str = sys.executable

    def popen(self, script: str, *words: object, **env: str) -> subprocess.Popen[str]:
        """Start a Python script as this user."""
        plain = {k: v for k, v in os.environ.items() if k != "XDG_RUNTIME_DIR"}
        return subprocess.Popen(
            [self.python, "-c", script, *map(str, words)],
            env=plain | {"PYTHONPATH": LIBRARIES, "PYTHONDONTWRITEBYTECODE": "1"} | env,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **become(self.uid),
        )

    def run(self, script: str, *words: object, **env: str) -> str:
        """Run a Python script as this user to its end; return what it printed."""
        with self.popen(script, *words, **env) as process:
            out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        return out.strip()

    @contextlib.contextmanager
    def client(
        self, home: Path, linger: float = 1.0, **env: str
    ) -> Iterator[tuple[str, subprocess.Popen[str]]]:
        """Yield the address and the process of a client that holds a lease; kill it at the end."""
        with self.popen(CLIENT, home, linger, **env) as process:
            assert process.stdout is not None
            try:
                yield process.stdout.readline().strip(), process
            finally:
                process.kill()

    def stop(self, home: Path) -> bool:
        """Stop the server; say whether it was running."""
        if self == OURSELVES:
            return embedded.stop(home)
        return self.run(STOP, home) == "True"

    def purge(self, home: Path) -> bool:
        """Stop the server and remove it; say whether it was running."""
        if self == OURSELVES:
            return embedded.stop(home, purge=True)
        return self.run(STOP, home, "purge") == "True"

    def status(self, home: Path) -> dict[str, Any]:
        """Return the status as this user sees it."""
        if self == OURSELVES:
            return dataclasses.asdict(embedded.status(home))
        found: dict[str, Any] = json.loads(self.run(STATUS, home))
        return found


OURSELVES = User(os.geteuid())


def nobody() -> User:
    """Return the user nobody with an interpreter they can run: root's may be out of reach."""
    if not ROOT:
        pytest.skip("needs root to act as another user")
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, system):
        found = User(pwd.getpwnam("nobody").pw_uid, python)
        try:
            found.run("import backstory, psycopg")
        except (OSError, AssertionError):
            continue
        return found
    return pytest.skip("nobody cannot read this installation")


def become(uid: int, gid: int | None = None) -> dict[str, Any]:
    """Return what makes a subprocess run as another user."""
    if uid == os.geteuid():
        return {}
    return {"user": uid, "group": uid if gid is None else gid, "extra_groups": []}


def place_of(home: Path) -> Place:
    """Return the place of a home of ours."""
    return Place(embedded.status(home).data_dir.parent)


def ask(url: str, question: str) -> Any:
    """Return the first value of the answer, if there is one."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(question.encode())
        row = cursor.fetchone() if cursor.description else None
    return row and row[0]


def socket_of(url: str) -> str:
    """Return the path of the socket behind an address."""
    return f"{psycopg.conninfo.conninfo_to_dict(url)['host']}/.s.PGSQL.{reaper.PORT}"


def listens(url: str) -> bool:
    """Whether a server accepts connections, found without a session that would count as use."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(socket_of(url))
        except OSError:
            return False
    return True


def seconds_until(condition: Callable[[], object], limit: float = 20.0) -> float:
    """Wait until the condition holds; return how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit, "it did not happen"
        time.sleep(0.02)
    return time.monotonic() - began


def postmaster(url: str) -> psutil.Process:
    """Return the server's first process."""
    data = Path(ask(url, "SHOW data_directory"))
    return psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))


def runs(program: str, directory: Path) -> bool:
    """Whether a program of the wheel works on a directory."""
    everyone = psutil.process_iter(["name", "cmdline"])
    return any(p.info["name"] == program and str(directory) in p.info["cmdline"] for p in everyone)


def watchers(place: Path) -> list[psutil.Process]:
    """Return the reapers of a place."""
    everyone = psutil.process_iter(["cmdline"])
    return [p for p in everyone if {"-S", str(place)} <= set(p.info["cmdline"] or [])]
