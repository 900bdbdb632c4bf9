"""Serves sessions in processes of their own: one process of Python uses one core.

Who serves many sessions keeps what they share, rates and counts and keys, and hands each call to a
worker that is free. A worker does one at a time, over a connection of its own: no call waits for
the interpreter while another has it.
"""

import gc
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any, NamedTuple, Self, cast
from uuid import UUID

from backstory.errors import BackstoryError, Transient
from backstory.memory.context import DEFAULT_BUDGET, ContextPack
from backstory.processes import TOOLS, worker_context
from backstory.store.engine import Database
from backstory.tools.session import Rules, Session
from backstory.tools.toolset import Answer

Opening = Callable[[], tuple[Database, Rules]]
"""Opens the database in a worker, and says by which rules; it goes there pickled."""

# A statement is given up before; what is longer under way than that has hung.
_ENDING_SECONDS = 30.0


class _Asked(NamedTuple):
    """What a worker is asked to do in a session, as a method of it."""

    lead_id: UUID
    actor: str
    method: str
    arguments: tuple[Any, ...]
    named: Mapping[str, Any]


class Workers:
    """So many processes that serve sessions; threads may share them.

    Use as a context, or `close` it. Raises BackstoryError if a worker cannot open the database.
    """

    def __init__(self, count: int, opening: Opening) -> None:
        self._all = [_Worker(opening) for _ in range(count)]
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        for each in self._all:
            self._free.put(each)
        try:
            for each in self._all:
                each.wait()
        except BaseException:
            self.close()
            raise

    def ask(self, asked: _Asked) -> Any:
        """Have it done by the first worker that is free, and return what the method does.

        Raises what the method does, and Transient if the worker ended while it was at it.
        """
        worker = self._free.get()
        try:
            return worker.ask(asked)
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """End the processes; what is under way is finished."""
        for _ in self._all:
            self._free.get().end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class WorkedSession(Session):
    """A session whose tools are called, and whose context is made, by workers."""

    workers: Workers = field(kw_only=True, repr=False, compare=False)

    def call(
        self, name: str, arguments: Mapping[str, Any] | str, *, idempotency_key: str | None = None
    ) -> Answer:
        """Do what `Session.call` does, in another process."""
        answer = self._ask("call", name, arguments, idempotency_key=idempotency_key)
        return cast("Answer", answer)

    def context(self, query: str, *, budget: int = DEFAULT_BUDGET) -> ContextPack:
        """Do what `Session.context` does, in another process."""
        return cast("ContextPack", self._ask("context", query, budget=budget))

    def _ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        return self.workers.ask(_Asked(self.lead_id, self.actor, method, arguments, named))


class _Worker:
    """A process, and the way to it."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._start()

    def wait(self) -> None:
        """Wait until it has opened the database; raise BackstoryError if it cannot."""
        self._exchange(None)

    def ask(self, asked: _Asked) -> Any:
        try:
            return self._exchange(asked)
        except BrokenPipeError:
            # It ended while it had nothing to do: nobody was asked.
            self._start_again()
            return self._exchange(asked)

    def end(self) -> None:
        """Let it finish, and end; one that does not is killed."""
        self._way.close()
        self._process.join(_ENDING_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self._process.close()

    def _exchange(self, asked: _Asked | None) -> Any:
        self._way.send_bytes(_packed(asked))
        try:
            answer, error = _unpacked(self._way.recv_bytes())
        except (EOFError, ConnectionResetError) as gone:
            self._start_again()
            raise Transient("The process that served this has ended: repeat the call.") from gone
        if error is None:
            return answer
        if not isinstance(error, BackstoryError):
            self._start_again()
        raise error

    def _start(self) -> None:
        self._way, other = multiprocessing.Pipe()
        self._process: BaseProcess = worker_context(TOOLS).Process(
            target=_work, args=(other, self._opening), name="backstory-worker", daemon=True
        )
        self._process.start()
        # The process has it alone now, so that we see when it has gone.
        other.close()

    def _start_again(self) -> None:
        self.end()
        self._start()


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
            answer, error = None, None
            try:
                opened = opened or _settled(opening())
                answer = None if asked is None else _done(*opened, asked)
            except BackstoryError as known:
                error = known
            except Exception as defect:
                # This process is not to be trusted any more: it ends, and says where it was.
                failed = RuntimeError(f"A worker failed, and ended: {type(defect).__name__}.")
                way.send_bytes(_packed((None, failed)))
                raise
            way.send_bytes(_packed((answer, error)))


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


def _packed(what: Any) -> bytes:
    return pickle.dumps(what, pickle.HIGHEST_PROTOCOL)


def _unpacked(what: bytes) -> Any:
    return pickle.loads(what)  # noqa: S301 - from a process of ours, over a pipe of ours
