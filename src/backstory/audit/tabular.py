"""A CSV file as a source: a header, then one record a row, whatever lines its cells spread over."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from backstory.audit.cells import is_text, json_cell, line_of, text_cell
from backstory.audit.files import DAMAGE, InputFile
from backstory.audit.lines import BOM, blocks, without_bom
from backstory.audit.rows import (
    FIELDS,
    JSON_FIELDS,
    MAX_LINE_BYTES,
    WHOLE,
    Kind,
    Oversized,
    Row,
    Segment,
    find_column,
    resolve_columns,
)
from backstory.errors import SourceError

_DELIMITERS = (",", ";", "\t")
# Any text holds a comma somewhere; two columns of ours in the first line make it a header.
_TELLING_COLUMNS = 2


class _TooLong(Exception):
    def __init__(self, line: Oversized) -> None:
        super().__init__()
        self.line = line


class _Lines:
    """The physical lines of a file as text: the `number` of the last, those `taken` by a row."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._blocks = blocks(without_bom(chunks))
        self._block: Iterator[bytes | Oversized] = iter(())
        self.number = 0
        self.taken: list[str] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = next(self._block, None)
        while line is None:
            block = next(self._blocks)
            self._block = iter([block] if isinstance(block, Oversized) else block)
            line = next(self._block, None)
        self.number += 1
        if isinstance(line, Oversized):
            raise _TooLong(line)
        text = line.decode("utf-8", "surrogateescape") + "\n"
        self.taken.append(text)
        return text


@dataclass(frozen=True, slots=True)
class _Layout:
    """The header: a key for each column (None: it has no name), and the delimiter."""

    keys: tuple[str | None, ...]
    delimiter: str


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A file with a header and one record a row; `chosen` is field -> column from `--map`."""

    file: InputFile
    kind: Kind
    chosen: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How findings name the file."""
        return self.file.label

    @property
    def columns(self) -> Mapping[str, str]:
        """Nothing to map: the lines have our names."""
        return {}

    def check(self) -> None:
        """Raise SourceError when the header cannot be read or lacks a column."""
        lines = _Lines(self.file.chunks())
        try:
            self._begin(lines)
        except DAMAGE as cause:
            raise self.file.damaged(lines.number + 1, cause) from cause

    def estimated_bytes(self) -> int:
        """Return the size of the unpacked file in bytes, estimated for an archive."""
        return self.file.unpacked_bytes()

    def segments(self, pieces: int) -> list[Segment]:  # noqa: ARG002 - a quote may span any line
        """Return one segment: a line break may be inside a cell, so nothing can be cut."""
        return [WHOLE]

    def read(self, segment: Segment = WHOLE) -> Iterator[Row]:  # noqa: ARG002 - there is only one
        """Yield each row as JSON at the line where it starts; rows that do not fit say why."""
        lines = _Lines(self.file.chunks())
        try:
            layout, rows = self._begin(lines)
            while True:
                lines.taken.clear()
                start = lines.number + 1
                try:
                    cells = next(rows)
                except StopIteration:
                    return
                except _TooLong as long:
                    yield start, long.line
                except csv.Error as cause:
                    yield start, self._broken(start, lines, cause)
                else:
                    if cells and (len(cells) > 1 or len(layout.keys) == 1 or cells[0].strip()):
                        yield start, _line(layout, cells)
        except DAMAGE as cause:
            raise self.file.damaged(lines.number + 1, cause) from cause

    def where(self, position: int) -> str:
        """Name the line where a row starts: `audit.csv:17`."""
        return self.file.where(position)

    def fingerprint(self) -> str:
        """Return what changes when the file does."""
        return self.file.fingerprint()

    def _begin(self, lines: _Lines) -> tuple[_Layout, Iterator[list[str]]]:
        """Read the header; return what it says and an iterator over the rows after it."""
        csv.field_size_limit(MAX_LINE_BYTES)
        try:
            first = next((line for line in lines if line.strip()), None)
            if first is None:
                raise SourceError(f"{self.label} is empty: CSV begins with a line of column names.")
            delimiter = _delimiter(first)
            rows = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(rows)]
        except (_TooLong, csv.Error, StopIteration) as cause:
            raise SourceError(
                f"{self.label}:1: the first line is no CSV header; it must be the column names."
            ) from cause
        return _Layout(self._keys(header), delimiter), rows

    def _keys(self, header: Sequence[str]) -> tuple[str | None, ...]:
        where = f"The header of {self.label}"
        if not is_text("".join(header)):
            raise SourceError(
                f"{where} is not UTF-8: save the file as UTF-8, or convert it: "
                f"iconv -f WINDOWS-1252 -t UTF-8 {self.file.path.name} > utf8.csv"
            )
        found = resolve_columns(self.kind, header, self.chosen, where=where)
        fields = {column: name for name, column in found.items()}
        return tuple(
            fields.get(name, name if name and name not in FIELDS[self.kind] else None)
            for name in header
        )

    def _broken(self, start: int, lines: _Lines, cause: csv.Error) -> bytes | Oversized:
        """Return a line that says why a row has no cells; an open quote ends everything."""
        if "unexpected end" in str(cause) or "field limit" in str(cause):
            raise SourceError(
                f"{self.where(start)}: a quote opens in this row and is never closed, so that the "
                'rest of the file is one cell. Close it; inside a cell, a quote is written "".'
            ) from cause
        reason = f'the quotes are not balanced ({cause}); inside a cell, a quote is written ""'
        return line_of({"row_unreadable": reason, "row": text_cell("".join(lines.taken))})


def looks_like_csv(head: bytes, kind: Kind, chosen: Mapping[str, str]) -> bool:
    """Tell whether the first bytes of a file of unknown form are a header with our columns."""
    first = head.removeprefix(BOM).lstrip().partition(b"\n")[0].decode("utf-8", "replace")
    if not first or first[0] in "{[":
        return False
    header = _split(first, _delimiter(first))
    found = [chosen.get(name) in header or find_column(name, header) for name in FIELDS[kind]]
    return sum(map(bool, found)) >= _TELLING_COLUMNS


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error:
        return []


def _delimiter(line: str) -> str:
    return max(_DELIMITERS, key=lambda each: len(_split(line, each)))


def _line(layout: _Layout, cells: Sequence[str]) -> bytes | Oversized:
    """Return a row as JSON: empty cells are null, JSON cells are spliced in as they are."""
    keys = layout.keys
    if len(cells) != len(keys):
        return _misfit(keys, cells)
    record: dict[str, object] = {}
    for key, cell in zip(keys, cells, strict=True):
        if key is None:
            continue
        if key in JSON_FIELDS:
            name, value = json_cell(key, cell)
            record[name] = value
        else:
            record[key] = text_cell(cell) if cell else None
    return line_of(record)


def _misfit(keys: Sequence[str | None], cells: Sequence[str]) -> bytes | Oversized:
    reason = f"expected {len(keys)} cells, found {len(cells)}"
    record: dict[str, object] = {"row_unreadable": reason}
    record |= {
        key: text_cell(cell) for key, cell in zip(keys, cells, strict=False) if key is not None
    }
    if len(cells) > len(keys):
        record["more_cells"] = [text_cell(cell) for cell in cells[len(keys) :]]
    return line_of(record)
