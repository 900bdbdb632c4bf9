"""What a source of audit records or leads is, and how a command's arguments become sources."""

import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from backstory.audit.connect import is_url, url_without_password
from backstory.audit.files import InputFile, first_bytes
from backstory.audit.jsonl import JsonLines
from backstory.audit.parquet import MAGIC as PARQUET_MAGIC
from backstory.audit.parquet import ParquetFile
from backstory.audit.rows import (
    HEAD_BYTES,
    MAX_LINE_BYTES,
    WHOLE,
    Kind,
    Oversized,
    Row,
    Segment,
    mapping_for,
)
from backstory.audit.spool import spool_pipe, spool_standard_input
from backstory.audit.table import Table
from backstory.audit.tabular import CsvFile, looks_like_csv
from backstory.errors import UsageError

__all__ = [
    "HEAD_BYTES",
    "MAX_LINE_BYTES",
    "WHOLE",
    "Kind",
    "Oversized",
    "Row",
    "Segment",
    "Source",
    "mapping_for",
    "open_sources",
    "segment_sources",
]

STANDARD_INPUT = "-"
_CSV_SUFFIXES = frozenset({".csv", ".tsv"})
_JSON_SUFFIXES = frozenset({".jsonl", ".ndjson", ".json"})


class Source(Protocol):
    """Something that yields records as lines of JSON; it is only ever read, and can be pickled."""

    @property
    def label(self) -> str:
        """How findings name it: a file or a table."""
        ...

    @property
    def columns(self) -> Mapping[str, str]:
        """Return field -> key for whoever parses the lines; empty if they have our names."""
        ...

    def check(self) -> None:
        """Raise SourceError early, in words, when it cannot be read as what it is said to be."""
        ...

    def estimated_bytes(self) -> int:
        """Return roughly how many bytes of lines it will yield."""
        ...

    def segments(self, pieces: int) -> list[Segment]:
        """Cut it into at most `pieces`; only plain JSON lines make more than one."""
        ...

    def read(self, segment: Segment = WHOLE) -> Iterator[Row]:
        """Yield (position, line); blank lines are no records, but count as lines."""
        ...

    def where(self, position: int) -> str:
        """Name a position for people: `audit.jsonl:17`, `Audit row 17`."""
        ...

    def fingerprint(self) -> str:
        """Return a text that is another one when the source has changed."""
        ...


def open_sources(
    arguments: Sequence[str],
    kind: Kind,
    *,
    table: str | None,
    columns: Mapping[str, str],
    spool: Path,
) -> list[Source]:
    """Return a source for each argument: a path, `-` for standard input, or a postgresql:// URL.

    `columns` is field -> column as `--map` gives it; `table` names the table behind a URL, None
    means the usual one. Standard input and pipes are copied into the directory `spool` first.
    Raises SourceError or UsageError.
    """
    chosen = mapping_for(kind, columns)
    if arguments.count(STANDARD_INPUT) > 1:
        raise UsageError("`-` means standard input and can be given once.")
    names = Counter(Path(argument).name for argument in arguments)
    sources: list[Source] = []
    for argument in arguments:
        if is_url(argument):
            url_without_password(argument)  # a URL that cannot be read is a usage error, now
            sources.append(Table(argument, kind, table, chosen))
        elif not argument:
            raise UsageError("A source has no name: name a file, `-` or postgresql://…")
        elif scheme := re.match(r"(\w[\w+.-]*)://", argument):
            raise UsageError(f"{scheme[1]}:// cannot be read: name a file, `-` or postgresql://…")
        else:
            path = _as_file(argument, kind, spool)
            label = str(path) if names[path.name] > 1 else _label(path)
            sources.append(_open(path, label, kind, chosen))
    return sources


def segment_sources(sources: Sequence[Source], pieces: int) -> list[Segment]:
    """Cut all sources into about `pieces` segments by their size, numbered in source order."""
    sizes = [source.estimated_bytes() for source in sources]
    total = max(sum(sizes), 1)
    segments: list[Segment] = []
    for index, (source, size) in enumerate(zip(sources, sizes, strict=True)):
        for segment in source.segments(max(1, round(pieces * size / total))):
            segments.append(replace(segment, source=index, number=len(segments)))
    return segments


def _as_file(argument: str, kind: Kind, spool: Path) -> Path:
    if argument == STANDARD_INPUT:
        return spool_standard_input(kind, spool)
    if stat.S_ISFIFO(_mode(Path(argument))):
        return spool_pipe(Path(argument), kind, spool)
    return Path(argument)


def _open(path: Path, label: str, kind: Kind, chosen: Mapping[str, str]) -> Source:
    """Choose the form by the name, and by the first bytes where the name does not tell it."""
    magic = first_bytes(path)
    file = InputFile.found(path, label, magic)
    if magic.startswith(PARQUET_MAGIC):
        return ParquetFile(file, kind, chosen)
    suffix = Path(path.name.removesuffix(".gz").removesuffix(".zst")).suffix
    if suffix in _CSV_SUFFIXES:
        return CsvFile(file, kind, chosen)
    if suffix not in _JSON_SUFFIXES and looks_like_csv(file.head(), kind, chosen):
        return CsvFile(file, kind, chosen)
    return JsonLines(file, chosen)


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0  # the source says in words what is wrong with it


def _label(path: Path) -> str:
    """Return the file's name; a spooled input keeps its name when a run is resumed from it."""
    spooled = re.fullmatch(r"(stdin|pipe)-(audit|lead)(-\d+)?", path.name)
    return spooled[1] if spooled else path.name
