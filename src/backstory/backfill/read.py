"""The first pass: every record of a segment is judged once and put into the spill files.

Precedence: parse, lead, erased, actor, text. A record that passes may become a message; any other
is left with its reason. Positions order records across sources: source number, then line.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from backstory.audit.event import AuditEvent
from backstory.audit.source import Oversized, Segment, Source
from backstory.backfill.spill import Left, Record, Spill, SpillWriter
from backstory.extract.identity import lead_id, message_ids
from backstory.extract.messages import content_digest, content_hash, project, read_event, role_of
from backstory.extract.parse import Unreadable, canonical_json
from backstory.model import MessageKind, Role, SkipReason

SOURCE_SHIFT = 40
_LINE_MASK = (1 << SOURCE_SHIFT) - 1
_WRITTEN: dict[str, bytes] = {word: word.encode() for word in (*Role, *MessageKind)}
_TICK_RECORDS = 1000
_CACHED_LEADS = 16_384


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
    erased: frozenset[bytes] = field(default_factory=frozenset)


@dataclass
class ReadCounts:
    """What reading a segment found; characters replaced and keys repeated are warnings."""

    records_read: int = 0
    replaced: int = 0
    repeated_keys: int = 0


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
    judge = Judge(task, source.columns)
    base = segment.source << SOURCE_SHIFT
    count = 0
    for position, raw in source.read(segment):
        record = judge(base | position, raw)
        if type(record) is Left:
            writer.leave(record)
        else:
            writer.take(record)
        count += 1
        if count % _TICK_RECORDS == 0:
            tick(count)
    writer.publish(spill.segment(segment.number))
    judge.counts.records_read = count
    return judge.counts


def place_of(sources: Sequence[Source], seq: int) -> str:
    """Return where a record stands, as a reader would look for it: `audit.jsonl:17`."""
    return source_of(sources, seq).where(seq & _LINE_MASK)


def source_of(sources: Sequence[Source], seq: int) -> Source:
    """Return the source that a record was read from."""
    return sources[seq >> SOURCE_SHIFT]


class Judge:
    """Decides what a raw record is; holds what the decision needs, and counts warnings."""

    def __init__(self, task: ReadTask, columns: Mapping[str, str]) -> None:
        self.counts = ReadCounts()
        self._columns = columns
        self._zone = ZoneInfo(task.assume_tz)
        self._unknown = task.unknown_actor
        self._known = KnownLeads.load(task.known) if task.known else None
        self._erased = task.erased
        self._lead_key = lru_cache(maxsize=_CACHED_LEADS)(lead_id)
        self._message_id = message_ids(task.log)

    def __call__(self, seq: int, raw: bytes | Oversized) -> Record | Left:
        """Return the record as it will be spilled: the fields of `Taken`, or why it is left."""
        try:
            if isinstance(raw, Oversized):
                raise _too_large(raw)
            event = read_event(raw, self._columns, self._zone)
            if event.replaced or event.repeated_keys:
                self.counts.replaced += event.replaced
                self.counts.repeated_keys += event.repeated_keys
            return self._judge(seq, raw, event)
        except Unreadable as reason:
            head = raw if isinstance(raw, bytes) else raw.head
            digest = content_digest(head)
            return Left(
                digest, seq, reason.code, str(reason), head, None, None, None, processed=False
            )

    def _judge(self, seq: int, raw: bytes, event: AuditEvent) -> Record | Left:
        audit_id, lead, actor, action, payload, created_us, replaced, _ = event
        if lead is None:
            return _skip(SkipReason.NO_LEAD, seq, raw, event)
        key = self._lead_key(lead)
        if key in self._erased:
            return _skip(SkipReason.ERASED, seq, raw, event)
        if self._known is not None and key not in self._known:
            return _skip(SkipReason.LEAD_NOT_FOUND, seq, raw, event)
        role = role_of(actor) or self._unknown
        if role is None:
            return _skip(SkipReason.UNKNOWN_ACTOR, seq, raw, event)
        message = project(event, role)
        if message is None:
            return _skip(SkipReason.NO_TEXT, seq, raw, event)
        _, kind, author, content, attachment_text = message
        written = canonical_json(payload)
        # In the order of `Taken`; a plain tuple, because a million of these are made.
        return (
            key,
            created_us,
            seq,
            self._message_id(audit_id),
            content_hash(event, written),
            audit_id.encode(),
            lead.encode(),
            actor.encode(),
            action.encode(),
            written,
            _WRITTEN[role],
            _WRITTEN[kind],
            None if author is None else author.encode(),
            content.encode(),
            None if attachment_text is None else attachment_text.encode(),
            replaced,
        )


def _skip(reason: SkipReason, seq: int, raw: bytes, event: AuditEvent) -> Left:
    return Left(
        content_digest(raw),
        seq,
        reason.value,
        "",
        None,
        event.audit_id,
        event.lead_id,
        event.actor,
        processed=reason is SkipReason.NO_TEXT,
    )


def _too_large(raw: Oversized) -> Unreadable:
    return Unreadable(
        "too_large", f"A record of {raw.size} bytes is beyond the limit; its beginning is kept."
    )
