"""Group commit: threads hand events in and wait; one thread writes what is waiting in one go.

Whoever comes while a commit is under way forms the next batch, so that batches grow with the load,
and who comes alone waits for nobody. An answer is given only after its commit. There are two lanes:
events whose lead must be linked first go to the second one, so that the others do not wait with
them while somebody links a large list of leads.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Self

from sqlalchemy import Connection

from backstory.errors import BackstoryError, Busy, DatabaseUnreachable, Transient
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

    It holds two threads, a connection, and now and then a second one; it is not for use after a
    fork.
    """

    def __init__(self, database: Database, options: LiveOptions | None = None) -> None:
        options = options or LiveOptions()
        self._read = EventReader(options)
        self._unlinked = _Lane("backstory-leads", database, options, None)
        self._known = _Lane("backstory-events", database, options, self._unlinked.put)

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
        if self.waiting >= MOST_WAITING:
            raise Busy(f"{MOST_WAITING:,} events are waiting already: repeat it later.")
        answer: Future[Recorded] = Future()
        answer.set_running_or_notify_cancel()
        self._known.put([_Waiting(reading, answer)])
        return answer

    @property
    def waiting(self) -> int:
        """How many events wait for a batch."""
        return self._known.waiting + self._unlinked.waiting

    def close(self) -> None:
        """Take no more events, write what is waiting, and end the threads."""
        self._known.close()
        self._unlinked.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Lane:
    """What waits, the thread that writes it, and its connection.

    `hand_on` takes the events whose leads must be linked first; without it they are linked here.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        options: LiveOptions,
        hand_on: Callable[[Sequence[_Waiting]], None] | None,
    ) -> None:
        self._database = database
        self._connection: Connection | None = None
        # What is written now and then borrows a connection; what is written all the time keeps one.
        self._writer = Writer(self._begin if hand_on else database.engine.begin, options)
        self._hand_on = hand_on
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._together = 0
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def put(self, events: Sequence[_Waiting]) -> None:
        """Let events wait for the next batch; raise Transient when the lane is closed."""
        with self._changed:
            if self._closed:
                raise Transient("This process is closing and takes no more events: repeat it.")
            self._waiting.extend(events)
            self._changed.notify()

    def close(self) -> None:
        """Take no more, write what is waiting, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

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
            _fail([each for each in batch if not each.answer.done()], broken)
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
        """Return what is waiting, as soon as anything is; nothing when the lane has ended."""
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
        try:
            outcomes = self._write_anew([each.reading for each in batch])
        except (DatabaseUnreachable, Busy) as away:
            _fail(batch, away)
        except BackstoryError as failed:
            self._write_alone(batch, failed)
        else:
            self._answer(batch, outcomes)

    def _write_anew(self, readings: Sequence[Reading]) -> Sequence[Recorded | None]:
        """Write over the connection there is, or over a new one if that was lost meanwhile."""
        write = self._writer.write_known if self._hand_on else self._writer.write
        used = self._connection is not None
        try:
            return write(readings)
        except DatabaseUnreachable:
            self._let_go()
            if not used:
                raise
            # Whatever was committed is a duplicate now.
            return write(readings)

    def _write_alone(self, batch: Sequence[_Waiting], failed: BackstoryError) -> None:
        """Write events one by one where they failed together: what hinders one need not another."""
        if len(batch) == 1:
            _fail(batch, failed)
            return
        for each in batch:
            self._write([each])

    def _answer(self, batch: Sequence[_Waiting], outcomes: Sequence[Recorded | None]) -> None:
        rest = []
        for each, outcome in zip(batch, outcomes, strict=True):
            if outcome is None:
                rest.append(each)
            else:
                each.answer.set_result(outcome)
        if rest and self._hand_on:
            try:
                self._hand_on(rest)
            except Transient as closed:
                _fail(rest, closed)


def _fail(batch: Sequence[_Waiting], error: BaseException) -> None:
    for each in batch:
        each.answer.set_exception(error)
