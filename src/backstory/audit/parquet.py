"""A Parquet file as a source: its columns become the cells of JSON lines, a batch at a time."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import ModuleType
from typing import Any
from uuid import UUID

import orjson

from backstory.audit.cells import json_cell, line_of
from backstory.audit.files import InputFile
from backstory.audit.rows import (
    JSON_FIELDS,
    WHOLE,
    Kind,
    Oversized,
    Row,
    Segment,
    bounded,
    resolve_columns,
)
from backstory.errors import SourceError

MAGIC = b"PAR1"
_BATCH_BYTES = 8 * 1024 * 1024
_MAX_BATCH_ROWS = 4096
_UUID_BYTES = 16
_Convert = Callable[[Any], Any]


def _arrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional dependency
        import pyarrow.parquet as pq  # noqa: PLC0415 - an extra, loaded by those who read Parquet
    except ImportError as missing:
        raise SourceError(
            "Parquet files need one more package: pip install 'backstory[parquet]'"
        ) from missing
    return pa, pq


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """A Parquet file with one record a row; `chosen` is field -> column from `--map`."""

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
        """Raise SourceError when pyarrow, the file's schema or a column is missing."""
        with self._opened() as parquet:
            self._resolved(parquet)

    def estimated_bytes(self) -> int:
        """Return the size of the decoded columns in bytes."""
        with self._opened() as parquet:
            return _decoded_bytes(parquet)

    def segments(self, pieces: int) -> list[Segment]:  # noqa: ARG002 - as the protocol has it
        """Return one segment."""
        return [WHOLE]

    def read(self, segment: Segment = WHOLE) -> Iterator[Row]:  # noqa: ARG002 - there is only one
        """Yield each row as JSON; SourceError when the file is damaged."""
        pa, _ = _arrow()
        number = 0
        with self._opened() as parquet:
            found = self._resolved(parquet)
            batches = parquet.iter_batches(
                batch_size=_batch_rows(parquet), columns=list(found.values()), use_threads=False
            )
            while True:
                try:
                    batch = next(batches, None)
                except (pa.ArrowException, OSError) as cause:
                    raise self._damaged(number + 1, cause) from cause
                if batch is None:
                    return
                for line in _lines(pa, batch, found):
                    number += 1
                    yield number, line

    def where(self, position: int) -> str:
        """Name a row: `audit.parquet row 17`."""
        return f"{self.label} row {position}"

    def fingerprint(self) -> str:
        """Return what changes when the file does."""
        return self.file.fingerprint()

    def _opened(self) -> Any:
        pa, pq = _arrow()
        try:
            return pq.ParquetFile(self.file.path, buffer_size=1024 * 1024, pre_buffer=False)
        except (pa.ArrowException, OSError) as cause:
            raise self._damaged(1, cause) from cause

    def _resolved(self, parquet: Any) -> dict[str, str]:
        names = list(parquet.schema_arrow.names)
        return resolve_columns(self.kind, names, self.chosen, where=self.label)

    def _damaged(self, row: int, cause: Exception) -> SourceError:
        reason = " ".join(str(cause).split())[:200]
        return SourceError(
            f"{self.where(row)}: the file is missing, damaged or cut short ({reason}). "
            "Write or fetch it again."
        )


def _decoded_bytes(parquet: Any) -> int:
    footer = parquet.metadata
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    return sum(int(group.total_byte_size) for group in groups)


def _batch_rows(parquet: Any) -> int:
    """Return how many rows make about _BATCH_BYTES."""
    average = _decoded_bytes(parquet) // max(int(parquet.metadata.num_rows), 1)
    return min(_MAX_BATCH_ROWS, max(1, _BATCH_BYTES // max(average, 1)))


def _lines(pa: Any, batch: Any, found: Mapping[str, str]) -> Iterator[bytes | Oversized]:
    """Yield a line a row; where a value cannot be read, only its own row says so."""
    try:
        columns = [_cells(pa, name, batch.column(column)) for name, column in found.items()]
    except (ValueError, OverflowError, pa.ArrowException) as cause:
        if batch.num_rows == 1:
            yield line_of({"row_unreadable": " ".join(str(cause).split())[:200]})
            return
        for row in range(batch.num_rows):
            yield from _lines(pa, batch.slice(row, 1), found)
        return
    for cells in zip(*columns, strict=True):
        yield bounded(orjson.dumps(dict(cells), default=_plain))


def _cells(pa: Any, name: str, column: Any) -> Sequence[tuple[str, object]]:
    """Return (key, value) for each row of a column."""
    kind = _readable(pa, column.type)
    values = (column if kind == column.type else column.cast(kind, safe=False)).to_pylist()
    if name in JSON_FIELDS:
        convert = _converter(pa, kind)
        return [_payload(name, convert(value)) for value in values]
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == _UUID_BYTES:
        return [(name, value and str(UUID(bytes=value))) for value in values]
    if name == "created_at":
        return [(name, _moment(value)) for value in values]
    return [(name, _text(value)) for value in values]


def _payload(name: str, value: Any) -> tuple[str, object]:
    """Return text as the JSON it holds, anything else (a struct, a map, a list) as JSON."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        return json_cell(name, value)
    # One row that orjson cannot write must not spoil the others, so it is tried here.
    return name, value if value is None else orjson.Fragment(_dumped(value))


def _dumped(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError as refused:
        raise ValueError(str(refused)) from refused


def _moment(value: Any) -> Any:
    """Return a time as ISO text, with a zone if the column has one; numbers stay numbers."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return _text(value) if isinstance(value, bytes | Decimal | UUID) else value


def _text(value: Any) -> str | None:
    """Return an id or a word as text; an integer that was widened to a float loses its `.0`."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return None if value != value else f"{value:.0f}" if value.is_integer() else repr(value)  # noqa: PLR0124 - NaN is how pandas writes null
    plain = _plain(value) if isinstance(value, bytes) else value
    return format(plain, "f") if isinstance(plain, Decimal) else str(plain)


def _plain(value: Any) -> Any:
    """Return what orjson can write for a value that it does not know."""
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return str(value)


def _readable(pa: Any, kind: Any) -> Any:
    """Return the type in which Python can hold the values of `kind`: microseconds, and UTC."""
    types = pa.types
    if types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    if types.is_time64(kind):
        return pa.time64("us")
    return pa.duration("us") if types.is_duration(kind) else _readable_inside(pa, kind)


def _readable_inside(pa: Any, kind: Any) -> Any:
    types = pa.types
    if types.is_struct(kind):
        return pa.struct([each.with_type(_readable(pa, each.type)) for each in kind.fields])
    if types.is_list(kind) or types.is_large_list(kind):
        make = pa.list_ if types.is_list(kind) else pa.large_list
        return make(kind.value_field.with_type(_readable(pa, kind.value_type)))
    if types.is_map(kind):
        return pa.map_(kind.key_field, kind.item_field.with_type(_readable(pa, kind.item_type)))
    return kind


def _converter(pa: Any, kind: Any) -> _Convert:
    """Return a function that makes objects of maps, wherever they are inside `kind`."""
    types = pa.types
    if types.is_map(kind):
        item = _converter(pa, kind.item_type)
        return lambda pairs: pairs and {key: item(value) for key, value in pairs}
    if types.is_list(kind) or types.is_large_list(kind):
        each = _converter(pa, kind.value_type)
        return lambda values: values and [each(value) for value in values]
    if types.is_struct(kind):
        inner = {part.name: _converter(pa, part.type) for part in kind.fields}
        return lambda struct: struct and {key: inner[key](struct[key]) for key in struct}
    return lambda value: value
