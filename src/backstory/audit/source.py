"""What a source of audit records or leads is, and how a command's arguments become sources."""

import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from backstory.audit.files import InputFile
from backstory.audit.jsonl import JsonLines
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


class Source(Protocol):
    """Something that yields records as lines of JSON; it is only ever read, and can be pickled."""

    @property
    def label(self) -> str:
        """How findings name it: a file or a table."""
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
    table: str | None,  # noqa: ARG001 - for tables, which come next
    columns: Mapping[str, str],
    spool: Path,
) -> list[Source]:
    """Return a source for each argument: a path, `-` for standard input, or a postgresql:// URL.

    `columns` is field -> column as `--map` gives it; `table` names the table behind a URL, None
    means the usual one. Standard input and pipes are copied into the directory `spool` first.
    Raises SourceError or UsageError.
    """
    mapping_for(kind, columns)
    if arguments.count(STANDARD_INPUT) > 1:
        raise UsageError("`-` means standard input and can be given once.")
    paths = Counter(Path(argument).name for argument in arguments)
    return [
        _open(argument, kind, spool, ambiguous=paths[Path(argument).name] > 1)
        for argument in arguments
    ]


def segment_sources(sources: Sequence[Source], pieces: int) -> list[Segment]:
    """Cut all sources into about `pieces` segments by their size, numbered in source order."""
    sizes = [source.estimated_bytes() for source in sources]
    total = max(sum(sizes), 1)
    segments: list[Segment] = []
    for index, (source, size) in enumerate(zip(sources, sizes, strict=True)):
        for segment in source.segments(max(1, round(pieces * size / total))):
            segments.append(replace(segment, source=index, number=len(segments)))
    return segments


def _open(argument: str, kind: Kind, spool: Path, *, ambiguous: bool) -> Source:
    if argument == STANDARD_INPUT:
        path = spool_standard_input(kind, spool)
    elif stat.S_ISFIFO(_mode(Path(argument))):
        path = spool_pipe(Path(argument), kind, spool)
    else:
        path = Path(argument)
    return JsonLines(InputFile.found(path, str(path) if ambiguous else _label(path)))


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0  # the source says in words what is wrong with it


def _label(path: Path) -> str:
    """Return the file's name; a spooled input keeps its name when a run is resumed from it."""
    spooled = re.fullmatch(r"(stdin|pipe)-(audit|lead)(-\d+)?", path.name)
    return spooled[1] if spooled else path.name
