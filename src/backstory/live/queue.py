"""Group commit: threads hand events in and wait; one thread writes what is waiting in one go.

Whoever comes while a commit is under way forms the next batch, so that batches grow with the load,
and who comes alone waits for nobody. An answer is given only after its commit.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Self

from sqlalchemy import Connection

from backstory.errors import BackstoryError, DatabaseUnreachable, Transient
from backstory.live.reading import Event, EventReader, LiveOptions, Reading
from backstory.live.writing import Recorded, Writer
from backstory.store.engine import Database

BATCH_EVENTS = 256
# More than this waiting means that the database does not keep up, or does not answer.
MOST_WAITING = 10_000
# Those who were answered together come again one by one: without this moment the first of them
# would be a batch alone, and all others the next one.
_GATHERING_SECONDS = 0.001


class _Waiting(NamedTuple):
    reading: Reading
    answer: "Future[Recorded]"


class EventQueue:
    """Takes events of one log from many threads. Use as a context, or `close` it.

    It holds a thread and a connection; it is not for use after a fork.
    """

    def __init__(self, database: Database, options: LiveOptions | None = None) -> None:
        options = options or LiveOptions()
        self._read = EventReader(options)
        self._database = database
        self._connection: Connection | None = None
        self._writer = Writer(self._begin, options)
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._together = 0
        self._thread = threading.Thread(target=self._work, name="backstory-events", daemon=True)
        self._thread.start()

    def record(self, event: Event) -> Recorded:
        """Record one event; return, when it is committed, what became of it.

        Raises what `record.record_event` does, and Transient when too much is waiting or the queue
        is closed: the same event may be given again, here or elsewhere.
        """
        return self.submit(event).result()

    def submit(self, event: Event) -> "Future[Recorded]":
        """Hand one event in; the future gets its outcome, or its error, when it is committed.

        The event is read by the caller's thread. A future cannot be canceled: what was handed in
        is written.
        """
        reading = self._read(event)
        answer: Future[Recorded] = Future()
        answer.set_running_or_notify_cancel()
        with self._changed:
            if self._closed:
                raise Transient("This process is closing and takes no more events: repeat it.")
            if len(self._waiting) >= MOST_WAITING:
                raise Transient(f"{MOST_WAITING:,} events are waiting already: repeat it later.")
            self._waiting.append(_Waiting(reading, answer))
            self._changed.notify()
        return answer

    @property
    def waiting(self) -> int:
        """How many events wait for the next batch."""
        return len(self._waiting)

    def close(self) -> None:
        """Take no more events, write what is waiting, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- the writing thread --------------------------------------------------------------------

    def _work(self) -> None:
        batch: list[_Waiting] = []
        try:
            while batch := self._next():
                self._write(batch)
        except BaseException as broken:
            # A fault of ours: nobody may wait for an answer that never comes.
            with self._changed:
                self._closed = True
                batch += self._waiting
                self._waiting.clear()
            for each in batch:
                if not each.answer.done():
                    each.answer.set_exception(broken)
            raise
        finally:
            self._let_go()

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        if self._connection is None:
            self._connection = self._database.engine.connect()
        with self._connection.begin():
            yield self._connection

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _next(self) -> list[_Waiting]:
        """Return what is waiting, as soon as anything is; nothing when the queue has ended."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            alone = len(self._waiting) < self._together and not self._closed
        if alone:
            time.sleep(_GATHERING_SECONDS)
        with self._changed:
            count = min(len(self._waiting), BATCH_EVENTS)
            # It shrinks slowly: a few who come late are no reason to go on without them.
            self._together = max(count, self._together * 3 // 4)
            return [self._waiting.popleft() for _ in range(count)]

    def _write(self, batch: Sequence[_Waiting]) -> None:
        readings = [each.reading for each in batch]
        try:
            outcomes = self._write_anew(readings)
        except DatabaseUnreachable as gone:
            for each in batch:
                each.answer.set_exception(gone)
        except BackstoryError as failed:
            self._write_alone(batch, failed)
        else:
            for each, outcome in zip(batch, outcomes, strict=True):
                each.answer.set_result(outcome)

    def _write_anew(self, readings: Sequence[Reading]) -> list[Recorded]:
        """Write over the connection there is, or over a new one if that was lost meanwhile."""
        used = self._connection is not None
        try:
            return self._writer.write(readings)
        except DatabaseUnreachable:
            self._let_go()
            if not used:
                raise
            # Whatever was committed is a duplicate now.
            return self._writer.write(readings)

    def _write_alone(self, batch: Sequence[_Waiting], failed: BackstoryError) -> None:
        """Write events one by one where they failed together: what hinders one need not another."""
        if len(batch) == 1:
            batch[0].answer.set_exception(failed)
            return
        for each in batch:
            self._write([each])
