"""Processes that run a backfill and die when they are told to, as the power goes: without a word.

They are forked from a process that has everything loaded, so that a hundred of them take seconds.
Nothing of the product is replaced; batches, segments and partitions are only made small, so that a
few records pass every commit that a million would.
"""

import base64
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

from backstory.backfill import decide, journey, manifest
from backstory.backfill.decide import Pace
from backstory.backfill.options import BackfillOptions
from backstory.store.engine import Database

SCHEMA = "backstory"


@dataclass(frozen=True)
class Sizes:
    """How small the work is cut: records of a batch, bytes of a segment and of a partition."""

    records: int = 4
    segment_bytes: int = 2000
    partition_bytes: int = 3000
    first_load_records: int = 1

    def apply(self, put: Callable[[object, str, object], None] = setattr) -> None:
        """Cut the work so in this process; a test gives `monkeypatch.setattr`."""
        put(Pace.__init__, "__defaults__", (2, self.records))
        put(decide, "_FEWEST_RECORDS", self.records)
        put(decide, "_MOST_RECORDS", self.records)
        put(manifest, "SEGMENT_BYTES", self.segment_bytes)
        put(manifest, "PARTITION_BYTES", self.partition_bytes)
        put(journey, "FIRST_LOAD_RECORDS", self.first_load_records)


@dataclass(frozen=True)
class Death:
    """Just before or just after the commit of this number, counted from 1."""

    when: Literal["before", "after"]
    commit: int


@dataclass(frozen=True)
class Journey:
    """A backfill in a process of its own: started with `options`, or resumed without them."""

    url: str
    home: Path
    options: BackfillOptions | None
    sizes: Sizes = Sizes()
    death: Death | None = None

    def travel(self) -> None:
        """Do it here, in this process."""
        self.sizes.apply()
        if self.death is not None:
            die_at(self.death)
        database = Database.open(self.url, SCHEMA)
        if self.options is None:
            journey.resume(database, "last")
        else:
            journey.start(database, self.home, self.options)


class Travel(Protocol):
    """What a process does, from its beginning to its end or its death; it can be pickled."""

    def travel(self) -> None:
        """Do it here, in this process."""


class Forks:
    """Forks processes, tells their ids, and waits for them."""

    def __init__(self, server: "subprocess.Popen[bytes]") -> None:
        self._server = server

    def begin(self, travel: Travel) -> int:
        """Start a process; return its id."""
        return self._ask(b"fork " + base64.b64encode(pickle.dumps(travel)))

    def end(self, travel: Travel | int) -> int:
        """Wait for a process to end; return its exit code, -9 when it was killed."""
        process = travel if isinstance(travel, int) else self.begin(travel)
        return self._ask(b"wait %d" % process)

    def _ask(self, what: bytes) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(what + b"\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


@contextmanager
def forks() -> Iterator[Forks]:
    """Open the process from which all others are forked; those that still run are killed."""
    server = subprocess.Popen(
        [sys.executable, "-c", "import killable; killable.serve()"],
        cwd=Path(__file__).parent,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [".", *sys.path]))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield Forks(server)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.communicate()


def serve() -> None:
    """Obey what is asked on standard input, one line at a time."""
    for line in sys.stdin.buffer:
        word, _, rest = line.partition(b" ")
        if word == b"fork":
            answer = os.fork()
            if not answer:
                _become(pickle.loads(base64.b64decode(rest)))  # noqa: S301 - our own test wrote it
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(int(rest), 0)[1])
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _become(travel: Journey) -> None:
    code = 1
    try:
        travel.travel()
        code = 0
    except BaseException:  # noqa: BLE001 - a process ends here, whatever it was
        traceback.print_exc()
    os._exit(code)


def die_at(death: Death) -> None:
    """Kill this process when it commits."""
    commits = 0

    @event.listens_for(Engine, "commit")
    def _count(connection: Connection) -> None:
        nonlocal commits
        commits += 1
        if commits == death.commit:
            if death.when == "after":
                connection.connection.driver_connection.commit()  # type: ignore[union-attr]  # open
            os.kill(os.getpid(), signal.SIGKILL)
