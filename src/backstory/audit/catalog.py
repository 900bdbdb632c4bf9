"""Finds a table and its columns in a database, and names what is like it when it is not there."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from backstory.audit.connect import Connection
from backstory.audit.rows import Kind, resolve_columns
from backstory.errors import SourceError, UsageError

# Prisma names the tables after its models; most others write them in lower case.
DEFAULT_TABLES: Mapping[Kind, tuple[str, ...]] = {
    Kind.AUDIT: ("Audit", "audit"),
    Kind.LEAD: ("Lead", "lead"),
}
_NAME = r'"(?:[^"]|"")+"|[^".]+'
_QUALIFIED = re.compile(rf"(?:(?P<schema>{_NAME})\.)?(?P<table>{_NAME})")
_SHOWN_TABLES = 20
_OWN_TABLES = frozenset({"alembic_version", "backfill_runs", "run_partitions"})

_TABLES = """
SELECT c.oid, n.nspname, c.relname, pg_table_is_visible(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname
"""
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, -1), coalesce(b.typname, t.typname),
       t.typcategory = 'S', a.attnotnull,
       EXISTS (SELECT FROM pg_index i
               WHERE i.indrelid = a.attrelid AND i.indisvalid AND i.indpred IS NULL
                 AND i.indkey[0] = a.attnum)
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type b ON b.oid = t.typbasetype
WHERE a.attrelid = %s::oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `type` as a cast is written, `base` its bare type, `text` if it holds text."""

    name: str
    type: str
    base: str
    text: bool
    not_null: bool
    indexed: bool


@dataclass(frozen=True, slots=True)
class FoundTable:
    """A table that exists, and the column of each of our fields that it has."""

    oid: int
    schema: str
    name: str
    fields: Mapping[str, Column]


@dataclass(frozen=True, slots=True)
class TableName:
    """What to look for: names in order of preference; no schemas means the search path."""

    tables: tuple[str, ...]
    schemas: tuple[str, ...] = ()

    @classmethod
    def parsed(cls, table: str | None, kind: Kind, schema: str | None) -> "TableName":
        """Read `table`, `schema.table`, or either in quotes; None means the usual names."""
        schemas: tuple[str, ...] = (schema,) if schema else ()
        if table is None:
            return cls(DEFAULT_TABLES[kind], schemas)
        parts = _QUALIFIED.fullmatch(table)
        if parts is None:
            raise UsageError(f'{table!r} is no table name: write table, schema.table or "Table".')
        if parts["schema"]:
            schemas = _spellings(parts["schema"])
        return cls(_spellings(parts["table"]), schemas)


def _spellings(name: str) -> tuple[str, ...]:
    """Return the names that `name` may mean: a shell takes the quotes away that SQL needs."""
    if name.startswith('"'):
        return (name[1:-1].replace('""', '"'),)
    return tuple(dict.fromkeys((name, name.lower())))


def find_table(
    connection: Connection, wanted: TableName, kind: Kind, chosen: Mapping[str, str], *, place: str
) -> FoundTable:
    """Return the table; SourceError names the tables or columns there are when it is not so."""
    known = connection.execute(_TABLES).fetchall()
    for table in wanted.tables:
        for oid, schema, name, visible in known:
            if name == table and (schema in wanted.schemas if wanted.schemas else visible):
                fields = _fields(connection, oid, kind, chosen, where=f"{schema}.{name}")
                return FoundTable(oid, schema, name, fields)
    own = _own_schemas(known)
    names = [
        name if visible else f"{schema}.{name}"
        for _, schema, name, visible in known
        if schema not in own or schema in wanted.schemas
    ]
    raise _not_found(wanted, names, kind, place)


def _own_schemas(known: Iterable[tuple[int, str, str, bool]]) -> set[str]:
    """Return the schemas that Backstory made: nobody looks for a log among its tables."""
    tables: dict[str, set[str]] = {}
    for _, schema, name, _ in known:
        tables.setdefault(schema, set()).add(name)
    return {schema for schema, names in tables.items() if names >= _OWN_TABLES}


def _fields(
    connection: Connection, oid: int, kind: Kind, chosen: Mapping[str, str], *, where: str
) -> dict[str, Column]:
    columns = {row[0]: Column(*row) for row in connection.execute(_COLUMNS, (oid,))}
    found = resolve_columns(kind, list(columns), chosen, where=where)
    if "id" not in found:
        raise SourceError(f"{where} is read in the order of its ids: --map {kind}.id=COLUMN.")
    return {field: columns[column] for field, column in found.items()}


def _not_found(wanted: TableName, names: list[str], kind: Kind, place: str) -> SourceError:
    tried = " or ".join(f'"{name}"' for name in wanted.tables)
    inside = f" in schema {' or '.join(wanted.schemas)}" if wanted.schemas else ""
    if not names:
        return SourceError(
            f"{place} has no table {tried}{inside}: there are no tables to read from."
        )
    similar = _similar(wanted.tables[0], names)
    said = "Similar are" if similar else "There are"
    shown = ", ".join((similar or names)[:_SHOWN_TABLES])
    return SourceError(
        f"{place} has no table {tried}{inside}. {said}: {shown}. Name one with "
        f"--{kind}-table TABLE (or SCHEMA.TABLE)."
    )


def _similar(wanted: str, names: list[str]) -> list[str]:
    word = wanted.lower()
    bare = [name.rpartition(".")[2].lower() for name in names]
    close = get_close_matches(word, bare, n=len(bare) or 1, cutoff=0.6)
    return [full for full, name in zip(names, bare, strict=True) if word in name or name in close]
