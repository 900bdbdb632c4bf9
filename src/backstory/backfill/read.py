"""The first pass: every record of a segment is judged once and put into the spill files.

Positions order records across sources: source number, then line.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from backstory.audit.source import Segment, Source
from backstory.backfill.counts import Counts
from backstory.backfill.fit import Look
from backstory.backfill.spill import Spill, SpillWriter
from backstory.extract.erased import Erased
from backstory.extract.judge import Judge, Keys, Left
from backstory.extract.line_rules import LineRules, our_rules
from backstory.model import Role

SOURCE_SHIFT = 40
_LINE_MASK = (1 << SOURCE_SHIFT) - 1
_TICK_RECORDS = 1000


class KnownLeads:
    """The leads that records may name: 8 bytes each, sorted, so that a million take 8 MB."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys = array("Q", sorted({int.from_bytes(key[:8]) for key in keys}))

    def __contains__(self, key: bytes) -> bool:
        wanted = int.from_bytes(key[:8])
        place = bisect_left(self._keys, wanted)
        return place < len(self._keys) and self._keys[place] == wanted

    def save(self, file: Path) -> None:
        """Write the keys to `file`, for other processes."""
        file.write_bytes(self._keys.tobytes())

    @classmethod
    def load(cls, file: Path) -> "KnownLeads":
        """Read what `save` wrote."""
        known = cls(())
        known._keys.frombytes(file.read_bytes())
        return known


@dataclass(frozen=True)
class ReadTask:
    """All a process needs to read segments; picklable. `known` None: leads come from the log."""

    log: str
    sources: Sequence[Source]
    spill: Path
    partitions: int
    assume_tz: str
    unknown_actor: Role | None
    known: Path | None
    erased: Keys = field(default_factory=Erased)
    lines: LineRules = field(default_factory=our_rules)


@dataclass
class ReadCounts:
    """What reading a segment found; characters replaced and keys repeated are warnings.

    `sources` tells, by the number of the source, how far its records fit: see `Look`.
    """

    records_read: int = 0
    replaced: int = 0
    repeated_keys: int = 0
    sources: Counts = field(default_factory=dict)


def read_segment(
    task: ReadTask, segment: Segment, *, fence: int = 0, tick: Callable[[int], None]
) -> ReadCounts:
    """Read one segment into the spill files; `tick` gets the number of records now and then.

    `fence` is that of the reader's claim. Raises SourceError when the source cannot be read to
    the end; nothing counts then.
    """
    spill = Spill(task.spill, task.partitions)
    source = task.sources[segment.source]
    writer = SpillWriter(spill.reading(segment.number, fence), task.partitions)
    judge = Judge(
        task.log,
        source.columns,
        assume_tz=ZoneInfo(task.assume_tz),
        unknown_actor=task.unknown_actor,
        known=KnownLeads.load(task.known) if task.known else None,
        erased=task.erased,
        lines=task.lines,
    )
    look = Look(source.columns, first=segment.start == 0)
    base = segment.source << SOURCE_SHIFT
    count = 0
    for position, raw in source.read(segment):
        record = judge(base | position, raw)
        if not look.is_over:
            look.at(raw)
        if type(record) is Left:
            writer.leave(record)
            look.left_out(record)
        else:
            writer.take(record)
        count += 1
        if count % _TICK_RECORDS == 0:
            tick(count)
    writer.publish(spill.segment(segment.number))
    sources = {str(segment.source): look.counts(count)}
    return ReadCounts(count, judge.replaced, judge.repeated_keys, sources)


def place_of(sources: Sequence[Source], seq: int) -> str:
    """Return where a record stands, as a reader would look for it: `audit.jsonl:17`."""
    return source_of(sources, seq).where(seq & _LINE_MASK)


def source_of(sources: Sequence[Source], seq: int) -> Source:
    """Return the source that a record was read from."""
    return sources[seq >> SOURCE_SHIFT]
