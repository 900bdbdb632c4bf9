"""Follows a log that grows: looks again and again, and records what is new.

What was recorded is known by its id, so a look may see a record twice. The cursor is kept in the
database after the records it stands for; a follower that was killed goes on from the last one.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from backstory.audit.tail import Look, Seen, Tail
from backstory.errors import Transient
from backstory.live.reading import EventReader, LiveOptions
from backstory.live.writing import Writer
from backstory.store.engine import Database, translated
from backstory.store.live import followed_to, note_followed

BATCH_RECORDS = 256
EVERY_SECONDS = 2.0
# How long a follower waits, at the most, for a database or a source that does not answer.
_MOST_PATIENCE = 60.0


@dataclass(frozen=True)
class Followed:
    """What one look brought: how many records it saw, and what became of them."""

    source: str
    seen: int
    outcomes: dict[str, int]
    whole: bool
    more: bool

    def as_json(self) -> dict[str, Any]:
        """Return the same as JSON."""
        return {
            "source": self.source,
            "seen": self.seen,
            "outcomes": self.outcomes,
            "whole": self.whole,
        }


class Follower:
    """Follows one source into one log; what its records say of their leads is not looked at."""

    def __init__(self, database: Database, tail: Tail, options: LiveOptions) -> None:
        options = replace(options, columns=tail.columns, trusting_leads=False)
        self._database = database
        self._tail = tail
        self._log = options.log
        self._read = EventReader(options)
        self._writer = Writer(database.engine.begin, options)

    def look(self) -> Followed:
        """Record what is new, then keep the cursor; raise SourceError, Transient and the like."""
        with translated(), self._database.engine.connect() as connection:
            cursor = followed_to(connection, self._log, self._tail.name)
        look = self._tail.look(cursor, datetime.now(UTC))
        outcomes: Counter[str] = Counter()
        for batch in _batches(look.records):
            done = self._writer.write(
                [self._read(each.line, seq=each.seq, place=each.place) for each in batch]
            )
            outcomes.update(each.outcome.value for each in done)
        self._keep(look, cursor)
        return Followed(self._tail.label, outcomes.total(), dict(outcomes), look.whole, look.more)

    def _keep(self, look: Look, cursor: dict[str, Any]) -> None:
        if dict(look.end) == cursor:
            return
        with translated(), self._database.engine.begin() as connection:
            note_followed(connection, self._log, self._tail.name, look.end)


def follow(
    follower: Follower,
    *,
    every: float = EVERY_SECONDS,
    told: Callable[[Followed], object],
    failed: Callable[[Transient], object],
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Look every so many seconds, until `told`, `failed` or `wait` raise something.

    `told` gets each look that saw anything, `failed` each that may succeed later: it is repeated,
    after a pause that grows up to a minute.
    """
    patience = every
    while True:
        try:
            done = follower.look()
        except Transient as away:
            failed(away)
            patience = min(max(patience * 2, 0.1), _MOST_PATIENCE)
            wait(patience)
            continue
        patience = every
        if done.seen:
            told(done)
        if not done.more:
            wait(every)


def _batches(records: Iterable[Seen]) -> Iterator[list[Seen]]:
    rest = iter(records)
    while batch := list(islice(rest, BATCH_RECORDS)):
        yield batch
