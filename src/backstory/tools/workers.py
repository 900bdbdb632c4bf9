"""Serves sessions in processes of their own: one process of Python uses one core.

Who serves many sessions keeps what they share, rates and counts and keys, and hands each call to a
worker that is free. A worker does one at a time, over a connection of its own: no call waits for
the interpreter while another has it.
"""

import atexit
import gc
import logging
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, NamedTuple, Self, cast
from uuid import UUID

from backstory.errors import BackstoryError, Transient
from backstory.memory.context import ContextPack
from backstory.processes import TOOLS, out_of_reach, worker_context
from backstory.store.engine import Database
from backstory.tools.session import Rules, Session
from backstory.tools.toolset import Answer

Opening = Callable[[], tuple[Database, Rules]]
"""Opens the database in a worker, and says by which rules; it goes there pickled."""

_log = logging.getLogger("backstory.workers")
# A statement is given up after seconds, and tried three times: what takes longer than this hangs.
LONGEST_SECONDS = 120.0
_ENDING_SECONDS = 30.0
# What multiprocessing keeps of its processes is not for several threads.
_books = threading.Lock()


class _Asked(NamedTuple):
    """What a worker is asked to do in a session, as a method of it."""

    lead_id: UUID
    actor: str
    method: str
    arguments: tuple[Any, ...]
    named: Mapping[str, Any]


class _NotAsked(Transient):
    """The process had ended before, so that nobody was asked."""


class Workers:
    """So many processes that serve sessions; threads may share them.

    Use as a context, or `close` it. Raises BackstoryError if a worker cannot open the database. A
    call is given up after `longest` seconds, and its worker with it.
    """

    def __init__(self, count: int, opening: Opening, *, longest: float = LONGEST_SECONDS) -> None:
        self.count = count
        self._all = [_Worker(opening, longest) for _ in range(count)]
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        for each in self._all:
            self._free.put(each)
        # Before multiprocessing would wait for its processes, which end when their pipes do.
        atexit.register(self.close)
        try:
            for each in self._all:
                each.start()
            for each in self._all:
                each.exchange(None)
        except BaseException:
            self.close()
            raise

    def call(
        self,
        session: Session,
        name: str,
        arguments: Mapping[str, Any] | str,
        idempotency_key: str | None,
    ) -> Answer:
        """Do what `Session.call` does, in the first worker that is free."""
        key = {"idempotency_key": idempotency_key}
        try:
            return cast("Answer", self._ask(session, "call", (name, arguments), key))
        except RecursionError:
            # Too deep to be handed on, and so for any tool: it is refused, and recorded, here.
            return replace(session, elsewhere=None).call(name, arguments, **key)

    def context(self, session: Session, query: str, budget: int) -> ContextPack:
        """Do what `Session.context` does, in the first worker that is free."""
        return cast("ContextPack", self._ask(session, "context", (query,), {"budget": budget}))

    def close(self) -> None:
        """End the processes when they have finished what they are at; kill what does not."""
        atexit.unregister(self.close)
        deadline = monotonic() + _ENDING_SECONDS
        with suppress(Empty):
            for _ in self._all:
                self._free.get(timeout=max(0.0, deadline - monotonic())).leave()
        while self._all:
            self._all.pop().end(deadline)

    def _ask(
        self, session: Session, method: str, arguments: tuple[Any, ...], named: Mapping[str, Any]
    ) -> Any:
        asked = _packed(_Asked(session.lead_id, session.actor, method, arguments, named))
        worker = self._free.get()
        try:
            return worker.ask(asked)
        finally:
            self._free.put(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Worker:
    """A process, and the way to it; both are None where there is none."""

    def __init__(self, opening: Opening, longest: float) -> None:
        self._opening = opening
        self._longest = longest
        self._process: BaseProcess | None = None
        self._way: Connection | None = None

    def start(self) -> None:
        """Start a process; raise Transient if there is no room for one."""
        try:
            self._process, self._way = _started(self._opening)
        except (OSError, EOFError) as full:
            raise Transient("No process can be started for this now: repeat the call.") from full

    def ask(self, asked: bytes) -> Any:
        """Have it done, and return what the method does; raise what it does, or Transient."""
        if self._way is None:
            self.start()
        try:
            return self.exchange(asked)
        except _NotAsked:
            self.start()
        return self.exchange(asked)

    def exchange(self, asked: bytes | None) -> Any:
        """Send, and wait for the answer; None asks whether it is there."""
        assert self._way is not None  # noqa: S101 - it was started
        with self._whole():
            try:
                self._way.send_bytes(asked or _packed(None))
            except OSError as gone:
                raise _NotAsked("No process is there for this now: repeat the call.") from gone
            try:
                if not self._way.poll(self._longest):
                    raise Transient("This took too long, and was given up: repeat it later.")
                answer, error = _unpacked(self._way.recv_bytes())
            except (EOFError, OSError) as gone:
                sentence = "The process that served this has ended: repeat the call."
                raise Transient(sentence) from gone
        if error is not None:
            raise error
        return answer

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Keep the process only if the exchange ends: a late answer is not for the next caller."""
        try:
            yield
        except BaseException:
            self.leave()
            self.end(monotonic())
            raise

    def leave(self) -> None:
        """Ask nothing more of it, so that it ends when it has finished."""
        if self._way is not None:
            self._way.close()
            self._way = None

    def end(self, deadline: float) -> None:
        """Wait for its end until then, and kill it if that does not come."""
        with _books:
            process, self._process = self._process, None
            if process is None:
                return
            process.join(max(0.0, deadline - monotonic()))
            if process.exitcode is None:
                process.kill()
                process.join()
            process.close()


def _started(opening: Opening) -> tuple[BaseProcess, Connection]:
    with ExitStack() as failed:
        way, other = multiprocessing.Pipe()
        failed.callback(way.close)
        # The process has the other end alone then, so that we see when it has gone.
        with other, _books, out_of_reach():
            process = worker_context(*TOOLS).Process(
                target=_work, args=(other, opening), name="backstory-worker", daemon=True
            )
            process.start()
        failed.pop_all()
    return process, way


def _packed(what: Any) -> bytes:
    return pickle.dumps(what, pickle.HIGHEST_PROTOCOL)


def _unpacked(what: bytes) -> Any:
    return pickle.loads(what)  # noqa: S301 - from a process of ours, over a pipe of ours


# --- in a worker -----------------------------------------------------------------------------


def _work(way: Connection, opening: Opening) -> None:
    """Do what is asked until nobody is there to ask."""
    # A Ctrl+C, or the end of a service, is sent to all its processes: what was accepted is done.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    _give_way()
    opened: tuple[Database, Rules] | None = None
    with suppress(EOFError, ConnectionError):
        while True:
            asked = _unpacked(way.recv_bytes())
            try:
                opened = opened or _settled(opening())
                answer = None if asked is None else _done(*opened, asked)
                said = _packed((answer, None))
            except BackstoryError as known:
                said = _packed((None, known))
            except Exception as defect:  # noqa: BLE001 - the edge of this process: it serves on
                _log.exception("A defect of Backstory in a worker")
                said = _packed((None, RuntimeError(f"A worker failed: {type(defect).__name__}.")))
            way.send_bytes(said)


def _give_way() -> None:
    """Wait, when woken, for whoever runs: where cores are few, fewer turns save a tenth."""
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _settled(opened: tuple[Database, Rules]) -> tuple[Database, Rules]:
    """Return what was opened; what is there now stays, and no collection looks at it again."""
    gc.collect()
    gc.freeze()
    return opened


def _done(database: Database, rules: Rules, asked: _Asked) -> Any:
    session = Session(database, asked.lead_id, asked.actor, rules)
    return getattr(session, asked.method)(*asked.arguments, **asked.named)
