"""Reads what a log has got since the last look: a table that grows, or a file of JSON lines.

A look begins where the last one ended, a cursor of plain JSON that outlives any process, and may
yield again what was seen: whoever records it finds that out by its id.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from psycopg import sql

from backstory.audit.catalog import FoundTable
from backstory.audit.connect import Connection, connected, in_words, short_transaction
from backstory.audit.files import Packing, unreadable
from backstory.audit.jsonl import JsonLines
from backstory.audit.lines import read_range
from backstory.audit.rows import Kind, Oversized, Segment
from backstory.audit.source import STANDARD_INPUT, open_sources
from backstory.audit.table import Pages, Table
from backstory.errors import UsageError

# Where a tail stands, as JSON; empty at the beginning.
Cursor = Mapping[str, Any]
OVERLAP_SECONDS = 60.0
SWEEP_SECONDS = 3600.0
_TIMES = frozenset({"timestamptz", "timestamp"})
_HEAD_BYTES = 4096
# How much of a file one look takes: its cursor is kept after it.
_LOOK_BYTES = 4 * 1024 * 1024


class Seen(NamedTuple):
    """A record: its line, its position where that can be known, where it stands for people."""

    line: bytes | Oversized
    seq: int | None
    place: str


class Tail(Protocol):
    """A log that grows."""

    @property
    def label(self) -> str:
        """How findings name it."""
        ...

    @property
    def name(self) -> str:
        """What its cursor is kept under: the same in every process that follows it."""
        ...

    @property
    def columns(self) -> Mapping[str, str]:
        """Return field -> key for whoever parses the lines; empty if they have our names."""
        ...

    def look(self, cursor: Cursor, now: datetime) -> "Look":
        """Return what is there since `cursor`; raises SourceError or DatabaseUnreachable."""
        ...


@dataclass(frozen=True)
class Look:
    """One look: its records in their order, and the cursor behind all of them.

    `more` tells that more is there already. `whole` says that everything was read anew.
    """

    records: Iterator[Seen]
    end: Cursor
    more: bool
    whole: bool


def open_tail(
    argument: str,
    *,
    table: str | None = None,
    columns: Mapping[str, str],
    overlap: float = OVERLAP_SECONDS,
    sweep: float = SWEEP_SECONDS,
) -> Tail:
    """Return the log behind a path or a postgresql:// URL; `table` and `columns` as for a backfill.

    Raises SourceError for what is not there, UsageError for what cannot be followed.
    """
    if argument == STANDARD_INPUT or Path(argument).is_fifo():
        raise UsageError("A pipe cannot be followed: `backstory record -` takes its lines.")
    [source] = open_sources([argument], Kind.AUDIT, table=table, columns=columns, spool=Path())
    source.check()
    if isinstance(source, Table):
        return TableTail(source, overlap=overlap, sweep=sweep)
    if isinstance(source, JsonLines):
        return FileTail(source)
    raise UsageError(f"{source.label} is no file of JSON lines: only such a file can be followed.")


# --- a table ---------------------------------------------------------------------------------


class TableTail:
    """A PostgreSQL table: each look reads the rows of the newest times, some also the whole table.

    A row may become visible later than others that are younger: its transaction was longer. So a
    look goes back to the newest row of the last look, or to the beginning of a transaction that was
    still writing then, and `overlap` seconds behind it. What comes with an older time still is
    found by the sweep: the whole table in the order of its ids, every `sweep` seconds.
    """

    def __init__(self, table: Table, *, overlap: float, sweep: float) -> None:
        self._table = table
        self._overlap = overlap
        self._sweep = sweep
        self._seen: set[bytes] = set()

    @property
    def label(self) -> str:
        """How findings name it."""
        return self._table.label

    @property
    def name(self) -> str:
        """The address of the table, without the password."""
        return self._table.fingerprint()

    @property
    def columns(self) -> Mapping[str, str]:
        """Nothing to map: the lines have our names."""
        return self._table.columns

    def look(self, cursor: Cursor, now: datetime) -> Look:
        """Return the rows of the newest times, or all of them when a sweep is due."""
        with in_words(self.label), connected(self._table.url) as connection:
            found = self._table.found(connection)
            with short_transaction(connection):
                high, since = self._window(connection, found, cursor)
        swept = cursor.get("swept_at")
        due = swept is None or (now - datetime.fromisoformat(swept)).total_seconds() >= self._sweep
        whole = due or since is None
        end = {"high": high, "swept_at": now.isoformat() if whole else swept}
        return Look(self._rows(None if whole else since), end, more=False, whole=whole)

    def _window(
        self, connection: Connection, found: FoundTable, cursor: Cursor
    ) -> tuple[str | None, str | None]:
        """Return the newest time there is, and from when on to read; None: no such column."""
        column = found.fields.get("created_at")
        if column is None or column.base not in _TIMES:
            return None, None
        values = {"high": cursor.get("high"), "overlap": self._overlap}
        statement = _WINDOW.format(
            time=sql.Identifier(column.name.replace("%", "%%")),
            table=sql.Identifier(found.schema.replace("%", "%%"), found.name.replace("%", "%%")),
            type=sql.SQL(column.type),
        )
        [(high, since)] = connection.execute(statement, values).fetchall()
        return high, since

    def _rows(self, since: str | None) -> Iterator[Seen]:
        """Yield the rows of a window, or all; of a window none that the last one had too."""
        fresh: set[bytes] = set()
        with in_words(self.label), connected(self._table.url) as connection:
            found = self._table.found(connection)
            only = None
            if since is not None:
                column = found.fields["created_at"]
                only = sql.SQL("{} >= {}::{}").format(
                    sql.Identifier(column.name.replace("%", "%%")),
                    sql.Literal(since),
                    sql.SQL(column.type),
                )
            for number, row in enumerate(Pages(connection, found, only).rows(), 1):
                if since is not None:
                    key = blake2b(row.line, digest_size=16).digest()
                    fresh.add(key)
                    if key in self._seen:
                        continue
                place = self._table.where(number) if since is None else self.label
                yield Seen(row.line, None, place)
        self._seen = fresh


# Up to when all there is was visible: not beyond the start of a transaction that still writes, nor
# beyond now, where a row from the future would hold the window.
_WINDOW = sql.SQL("""
SELECT least(max({time}), now()::{type}, (
           SELECT min(a.xact_start)::{type} FROM pg_stat_activity a
           WHERE a.datname = current_database() AND a.backend_xid IS NOT NULL))::text,
       (%(high)s::{type} - make_interval(secs => %(overlap)s::float8))::text
FROM {table}
""")


# --- a file ----------------------------------------------------------------------------------


class FileTail:
    """A plain file of JSON lines that is appended to; a line counts when its newline is there.

    A file that is shorter than it was, or begins otherwise, is another one: it is read from its
    beginning. Positions are the numbers of the lines, as a backfill of the file has them.
    """

    def __init__(self, source: JsonLines) -> None:
        if source.file.packing is not Packing.PLAIN:
            raise UsageError(f"{source.label} is packed: only a plain file can be followed.")
        self._source = source

    @property
    def label(self) -> str:
        """How findings name it."""
        return self._source.label

    @property
    def name(self) -> str:
        """The path of the file."""
        return str(self._source.file.path.absolute())

    @property
    def columns(self) -> Mapping[str, str]:
        """What the lines call our fields, as `--map` says."""
        return self._source.columns

    def look(self, cursor: Cursor, now: datetime) -> Look:  # noqa: ARG002 - as the protocol has it
        """Return the lines that were ended since; the cursor of each is behind it."""
        try:
            with self._source.file.path.open("rb", buffering=0) as raw:
                start = cursor if self._is_same(raw.fileno(), cursor) else _BEGINNING
                stop, size = _end_of_lines(raw.fileno(), start["offset"])
                head = os.pread(raw.fileno(), min(stop, _HEAD_BYTES), 0)
                lines = sum(chunk.count(b"\n") for chunk in read_range(raw, start["offset"], stop))
        except OSError as cause:
            raise unreadable(self.label, cause) from cause
        end = {
            "offset": stop,
            "line": start["line"] + lines,
            "head": _digest(head),
            "head_bytes": len(head),
        }
        segment = Segment(start=start["offset"], stop=stop, first_line=start["line"])
        records = self._lines(segment) if stop > segment.start else iter(())
        more = stop < size and stop > segment.start
        return Look(records, end, more=more, whole=segment.start == 0)

    def _lines(self, segment: Segment) -> Iterator[Seen]:
        for number, line in self._source.read(segment):
            yield Seen(line, number, self._source.where(number))

    def _is_same(self, descriptor: int, cursor: Cursor) -> bool:
        if not cursor or os.fstat(descriptor).st_size < cursor["offset"]:
            return False
        head = os.pread(descriptor, cursor["head_bytes"], 0)
        return bool(_digest(head) == cursor["head"])


_BEGINNING: Cursor = {"offset": 0, "line": 1}


def _digest(head: bytes) -> str:
    return blake2b(head, digest_size=16).hexdigest()


def _end_of_lines(descriptor: int, start: int) -> tuple[int, int]:
    """Return where a look ends, behind a newline, and how large the file is."""
    size = os.fstat(descriptor).st_size
    for stop in (min(size, start + _LOOK_BYTES), size):
        end = stop
        while end > start:
            begin = max(start, end - _HEAD_BYTES)
            found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1, size
            end = begin
    return start, size
