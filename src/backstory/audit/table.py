"""A PostgreSQL table as a source: read in pages by its id, each in a short transaction."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import orjson
import psycopg
from psycopg import sql
from psycopg.adapt import Buffer, Dumper, Loader

from backstory.audit.catalog import DEFAULT_TABLES, Column, FoundTable, TableName, find_table
from backstory.audit.cells import json_cell
from backstory.audit.connect import (
    Connection,
    connected,
    in_words,
    schema_in,
    short_transaction,
    url_without_password,
)
from backstory.audit.rows import JSON_FIELDS, WHOLE, Kind, Row, Segment, bounded

PAGE_ROWS = 5_000
# Without an index every page sorts the whole table: fewer, larger ones, held back by PAGE_BYTES.
UNINDEXED_PAGE_ROWS = 100_000
PAGE_BYTES = 32 * 1024 * 1024
_STREAMED_ROWS = 200


@dataclass(frozen=True, slots=True)
class Table:
    """A table behind a URL; `table` None means the usual one, `chosen` is field -> column."""

    url: str = field(repr=False)  # it may hold a password
    kind: Kind
    table: str | None = None
    chosen: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How findings name the table."""
        return self.table or DEFAULT_TABLES[self.kind][0]

    @property
    def columns(self) -> Mapping[str, str]:
        """Nothing to map: the lines have our names."""
        return {}

    def check(self) -> None:
        """Raise SourceError when table or columns are missing or may not be read.

        Raises DatabaseUnreachable when the server does not answer.
        """
        with in_words(self.label), connected(self.url) as connection:
            pages = Pages(connection, self.found(connection))
            pages.page(None, rows=0)

    def estimated_bytes(self) -> int:
        """Return the size of the table on disk, or what the planner expects of a view."""
        with in_words(self.label), connected(self.url) as connection:
            found = self.found(connection)
            with short_transaction(connection):
                [(stored,)] = connection.execute(_SIZE.format(found.oid)).fetchall()
                return int(stored) or _expected_bytes(connection, found)

    def segments(self, pieces: int) -> list[Segment]:  # noqa: ARG002 - as the protocol has it
        """Return one segment: the pages follow each other."""
        return [WHOLE]

    def read(self, segment: Segment = WHOLE) -> Iterator[Row]:  # noqa: ARG002 - there is only one
        """Yield each row as JSON, in the order of ids, rows without an id at the end."""
        with in_words(self.label), connected(self.url) as connection:
            pages = Pages(connection, self.found(connection))
            for number, line in enumerate(pages.lines(), 1):
                yield number, bounded(line)

    def where(self, position: int) -> str:
        """Name a row by its place in the order of ids: `Audit row 17`."""
        return f"{self.label} row {position}"

    def fingerprint(self) -> str:
        """Return the table's address, without the password."""
        return f"{url_without_password(self.url)} {self.label}"

    def found(self, connection: Connection) -> FoundTable:
        """Return the table as the database has it; raise SourceError when it has it not."""
        wanted = TableName.parsed(self.table, self.kind, schema_in(self.url))
        place = url_without_password(self.url)
        with short_transaction(connection):
            return find_table(connection, wanted, self.kind, self.chosen, place=place)


class FoundRow(NamedTuple):
    """A row of a page: `rank` is 1 more than the number of rows with a smaller id."""

    rank: int
    key: bytes
    line: bytes


class _AsBytes(Loader):
    """Text as the server sent it: decoding and encoding it again would cost time."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class _AsText(Dumper):
    """Bytes as a text parameter: the way back for a key, whatever its type."""

    oid = 0

    def dump(self, obj: Any) -> Buffer:
        return bytes(obj)


class Pages:
    """Reads a table page by page; `_limit` rows a page, fewer when the rows are large.

    A page that was cut short may end inside a group of rows with one id; the group is left to the
    next page, and if there is nothing else in the page, the group is streamed as a whole. `only` is
    a condition on the columns that rows must fulfill.
    """

    def __init__(
        self, connection: Connection, found: FoundTable, only: sql.Composable | None = None
    ) -> None:
        self._connection = connection
        self._found = found
        self._only = only or sql.SQL("true")
        self._most = PAGE_ROWS if found.fields["id"].indexed else UNINDEXED_PAGE_ROWS
        self._limit = self._most
        self._spliced = _spliced(found)
        self._chunk = _STREAMED_ROWS if psycopg.capabilities.has_stream_chunked() else 1

    def lines(self) -> Iterator[bytes]:
        """Yield every row of the table once."""
        return (row.line for row in self.rows())

    def rows(self) -> Iterator[FoundRow]:
        """Yield every row of the table once, with its id."""
        after: bytes | None = None
        while True:
            rows, complete = self.page(after, rows=self._limit)
            whole = rows if complete else rows[: rows[-1].rank - 1]
            yield from whole
            if complete:
                break
            if whole:
                after = whole[-1].key
            else:
                after = rows[-1].key
                yield from self._streamed(_SAME, after)
        if not self._found.fields["id"].not_null:
            yield from self._streamed(_NULL)

    def page(self, after: bytes | None, *, rows: int) -> tuple[list[FoundRow], bool]:
        """Return up to `rows` rows behind the id `after`, and whether these are the last ones."""
        condition = _NOT_NULL if after is None else _BEHIND
        held = 0
        page: list[FoundRow] = []
        with closing(self._select(condition, after, rows)) as found:
            for row in found:
                page.append(row)
                held += len(row.line)
                if held > PAGE_BYTES:
                    self._limit = max(1, len(page))
                    return page, False
        if held * 2 < PAGE_BYTES:
            self._limit = min(self._most, max(rows, 1) * 2)
        return page, len(page) < rows

    def _streamed(self, condition: sql.SQL, key: bytes | None = None) -> Iterator[FoundRow]:
        """Yield rows that share an id or have none: nothing orders them, so no page can end."""
        with closing(self._select(condition, key, None)) as found:
            yield from found

    def _select(
        self, condition: sql.SQL, key: bytes | None, rows: int | None
    ) -> Generator[FoundRow, None, None]:
        """Yield rows as the server sends them; a statement that pages is short."""
        statement = _statement(self._found, condition, self._spliced, self._only)
        values = {"key": key, "rows": rows}
        with (
            short_transaction(self._connection, timed=rows is not None, raw=True),
            self._connection.cursor() as cursor,
        ):
            cursor.adapters.register_loader("text", _AsBytes)
            cursor.adapters.register_dumper(bytes, _AsText)
            stream = cursor.stream(statement, values, size=self._chunk)
            with closing(cast("Generator[Any, None, None]", stream)) as found:
                for rank, at, line, *texts in found:
                    yield FoundRow(rank, at, _splice(line, self._spliced, texts))


_NOT_NULL = sql.SQL("{id} IS NOT NULL")
_BEHIND = sql.SQL("{id} > %(key)s::{type}")
_SAME = sql.SQL("{id} = %(key)s::{type}")
_NULL = sql.SQL("{id} IS NULL")
# The page is cut before the rank is counted, so that a table without an index is sorted by id only
# as far as the page goes; row_to_json keeps json and jsonb as they are and puts no space at keys.
_PAGE = sql.SQL("""
SELECT rank() OVER (ORDER BY page.{id}), page.{id}::text, row_to_json(fields)::text {texts}
FROM (SELECT {columns} FROM {table}
      WHERE {condition} AND {only} ORDER BY {id} LIMIT %(rows)s) AS page
CROSS JOIN LATERAL (SELECT {fields}) AS fields
ORDER BY page.{id}
""")
_SIZE = sql.SQL("SELECT coalesce(sum(pg_table_size(relid)), 0) FROM pg_partition_tree({})")


def _statement(
    found: FoundTable, condition: sql.SQL, spliced: Sequence[str], only: sql.Composable
) -> sql.Composed:
    key = found.fields["id"]
    names = dict.fromkeys(column.name for column in found.fields.values())
    fields = [
        sql.SQL("{} AS {}").format(_value(name, column), sql.Identifier(name))
        for name, column in found.fields.items()
        if name not in spliced
    ]
    texts = [sql.SQL(", page.{}::text").format(_name(found.fields[name].name)) for name in spliced]
    cast_to = sql.SQL(key.type)  # as PostgreSQL itself has written it
    return _PAGE.format(
        id=_name(key.name),
        texts=sql.SQL("").join(texts),
        columns=sql.SQL(", ").join(map(_name, names)),
        table=_name(found.schema, found.name),
        condition=condition.format(id=_name(key.name), type=cast_to),
        only=only,
        fields=sql.SQL(", ").join(fields),
    )


def _value(field: str, column: Column) -> sql.Composed:
    if field not in JSON_FIELDS:
        return sql.SQL("page.{}::text").format(_name(column.name))
    if column.base in {"json", "jsonb"}:
        return sql.SQL("page.{}").format(_name(column.name))
    return sql.SQL("to_json(page.{})").format(_name(column.name))


def _name(*parts: str) -> sql.Identifier:
    return sql.Identifier(*(part.replace("%", "%%") for part in parts))  # it has parameters


def _spliced(found: FoundTable) -> tuple[str, ...]:
    """Return the fields whose JSON is in a column of text: an older server cannot check it."""
    return tuple(
        name for name, column in found.fields.items() if name in JSON_FIELDS and column.text
    )


def _splice(line: bytes, names: Sequence[str], texts: Sequence[bytes | None]) -> bytes:
    """Put JSON that came as text into the line, and break no line where JSON breaks its own."""
    line = line.replace(b"\n", b" ")
    for name, text in zip(names, texts, strict=True):
        cell = json_cell(name, (text or b"").decode("utf-8", "surrogateescape"))
        line = line[:-1] + b"," + orjson.dumps(dict([cell]))[1:]
    return line


def _expected_bytes(connection: Connection, found: FoundTable) -> int:
    table = sql.Identifier(found.schema, found.name)
    plan = sql.SQL("EXPLAIN (FORMAT JSON) SELECT * FROM {}").format(table)
    [(explained,)] = connection.execute(plan).fetchall()
    top = explained[0]["Plan"]
    return int(top["Plan Rows"]) * int(top["Plan Width"])
