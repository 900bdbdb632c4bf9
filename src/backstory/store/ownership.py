"""Moves rows from one customer to another, whatever the table: merging, undoing and splitting do.

The tables come from the models, so none can be forgotten. A table whose rows always hang on another
owned row (messages on a conversation) follows by `ON UPDATE CASCADE`; the others are moved here, a
row with an optional owned parent (a job at an address) only when it has none: else it follows too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    Integer,
    Select,
    Table,
    Uuid,
    any_,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    update,
)

from backstory.store.tables import (
    Base,
    Conversation,
    CustomerAddress,
    Job,
    Lead,
    MemoryNote,
    RunChange,
)

OWNED: tuple[Table, ...] = tuple(
    table for table in Base.metadata.sorted_tables if "customer_id" in table.c
)
LEADS: Table = Base.metadata.tables[Lead.__tablename__]
_ADDRESSES: Table = Base.metadata.tables[CustomerAddress.__tablename__]
_NOTES: Table = Base.metadata.tables[MemoryNote.__tablename__]
_JOBS: Table = Base.metadata.tables[Job.__tablename__]
_CONVERSATIONS: Table = Base.metadata.tables[Conversation.__tablename__]
_CHANGES: Table = Base.metadata.tables[RunChange.__tablename__]
# Columns by which a row says that it came with a lead.
_LEAD_COLUMNS = ("lead_id", "source_lead_id")
# What moving a row, or ending a merge, changes in it.
_REMEMBERED = frozenset(
    {
        *("customer_id", "normalized_key", "is_primary", "address_id"),
        *("merged_into_id", "undone_at", "reason"),
    }
)


class Step(NamedTuple):
    """One row on its way from one customer to another."""

    row: UUID
    origin: UUID
    target: UUID


Rows = Mapping[str, Sequence[Step]]


@dataclass(frozen=True)
class Displaced:
    """What could not stay as it was, because the new customer has the like: by address."""

    keys: dict[UUID, str] = field(default_factory=dict)
    primaries: set[UUID] = field(default_factory=set)


def parents(table: Table) -> list[tuple[Column[Any], ...]]:
    """Return the columns by which rows of a table follow an owned row."""
    return [
        tuple(column for column in key.columns if column.name != "customer_id")
        for key in table.foreign_key_constraints
        if key.onupdate == "CASCADE" and "customer_id" in key.column_keys
    ]


def follows(table: Table) -> bool:
    """Tell whether every row of a table follows another, so that it need not be moved."""
    return any(all(not column.nullable for column in columns) for columns in parents(table))


MOVED: tuple[Table, ...] = tuple(table for table in OWNED if not follows(table))


def among(column: ColumnElement[Any], ids: Iterable[UUID]) -> ColumnElement[bool]:
    """Return the condition that a column is one of these ids, however many they are."""
    return column == any_(_array(ids))


def _array(ids: Iterable[UUID]) -> ColumnElement[Any]:
    return cast(bindparam(None, list(ids), ARRAY(Uuid)), ARRAY(Uuid))


def rows_of(connection: Connection, targets: Mapping[UUID, UUID]) -> dict[str, list[Step]]:
    """Return every row of these customers, on its way to the customer they are mapped to."""
    found = {}
    for table in MOVED:
        query = select(table.c.id, table.c.customer_id).where(among(table.c.customer_id, targets))
        found[table.name] = [
            Step(row, owner, targets[owner]) for row, owner in connection.execute(query)
        ]
    return found


def with_followers(connection: Connection, rows: Rows) -> dict[str, list[Step]]:
    """Return `rows` and what came with their leads and is still at the same customer.

    An address goes along when all jobs at it do; a job at an address that stays, stays.
    """
    found = {name: list(steps) for name, steps in rows.items()}
    leads = {step.row: step for step in found.get(LEADS.name, [])}
    if not leads:
        return found
    for table in MOVED:
        known = {step.row for step in found.get(table.name, [])}
        for query in _follower_queries(table, list(leads)):
            for row, owner, lead in connection.execute(query):
                if row not in known and owner == leads[lead].origin:
                    known.add(row)
                    found.setdefault(table.name, []).append(Step(row, owner, leads[lead].target))
    _add_addresses(connection, found)
    return found


def _follower_queries(table: Table, leads: Sequence[UUID]) -> list[Select[Any]]:
    queries: list[Select[Any]] = []
    for name in _LEAD_COLUMNS:
        if name in table.c:
            column = table.c[name]
            queries.append(
                select(table.c.id, table.c.customer_id, column).where(among(column, leads))
            )
    if "conversation_id" in table.c:
        held = _CONVERSATIONS.c
        queries.append(
            select(table.c.id, table.c.customer_id, held.lead_id)
            .join_from(table, _CONVERSATIONS, held.id == table.c.conversation_id)
            .where(among(held.lead_id, leads))
        )
    return queries


def _add_addresses(connection: Connection, rows: dict[str, list[Step]]) -> None:
    """Add the addresses at which only moving jobs are."""
    jobs = {step.row: step for step in rows.get(_JOBS.name, [])}
    known = {step.row for step in rows.get(_ADDRESSES.name, [])}
    theirs = select(_JOBS.c.service_address_id).where(among(_JOBS.c.id, jobs))
    query = (
        select(_JOBS.c.service_address_id, func.array_agg(_JOBS.c.id))
        .where(_JOBS.c.service_address_id.in_(theirs))
        .group_by(_JOBS.c.service_address_id)
    )
    for address, at_it in connection.execute(query):
        steps = [jobs.get(job) for job in at_it]
        first = steps[0]
        together = first and {step and step.target for step in steps} == {first.target}
        if first and together and address not in known:
            rows.setdefault(_ADDRESSES.name, []).append(first._replace(row=address))


def carry(connection: Connection, rows: Rows, *, run_id: UUID | None = None) -> Displaced:
    """Move rows that are still where they come from; return which addresses had to give way.

    With a `run_id` notes that may lose their address are remembered for the run's rollback.
    """
    detached = _detach_notes(connection, rows, run_id)
    displaced = _carry_addresses(connection, rows.get(_ADDRESSES.name, ()))
    for table in MOVED:
        steps = rows.get(table.name, ())
        if steps and table is not _ADDRESSES:
            connection.execute(_carrying(table, steps))
    _attach_notes(connection, detached)
    return displaced


def _steps(steps: Sequence[Step]) -> Any:
    """Return the steps as a table of the columns row, origin and target."""
    arrays = (_array(column) for column in zip(*steps, strict=True))
    return (
        func.unnest(*arrays)
        .table_valued(
            Column("row", Uuid), Column("origin", Uuid), Column("target", Uuid), name="steps"
        )
        .render_derived()
    )


def _carrying(table: Table, steps: Sequence[Step]) -> Any:
    step = _steps(steps)
    alone = [column.is_(None) for columns in parents(table) for column in columns]
    return (
        update(table)
        .where(table.c.id == step.c.row, table.c.customer_id == step.c.origin, *alone)
        .values(customer_id=step.c.target)
    )


def _carry_addresses(connection: Connection, steps: Sequence[Step]) -> Displaced:
    """Move addresses; one that the new customer has already, or a second primary one, gives way."""
    if not steps:
        return Displaced()
    step = _steps(steps)
    moving = (
        select(
            _ADDRESSES.c.id,
            step.c.target,
            _ADDRESSES.c.normalized_key.label("key"),
            _ADDRESSES.c.is_primary.label("primary"),
            *_clashes(step),
        )
        .where(_ADDRESSES.c.id == step.c.row, _ADDRESSES.c.customer_id == step.c.origin)
        .cte("moving")
    )
    known = or_(moving.c.held, moving.c.turn > 1)
    second = moving.c.primary & or_(moving.c.has_primary, moving.c.primaries > 1)
    moved = connection.execute(
        update(_ADDRESSES)
        .where(_ADDRESSES.c.id == moving.c.id)
        .values(
            customer_id=moving.c.target,
            normalized_key=case((known, func.concat("merged:", moving.c.id)), else_=moving.c.key),
            is_primary=moving.c.primary & not_(second),
        )
        .returning(moving.c.id, moving.c.key, known.label("known"), second.label("second"))
    ).all()
    return Displaced(
        {row.id: row.key for row in moved if row.known}, {row.id for row in moved if row.second}
    )


def _clashes(step: Any) -> tuple[ColumnElement[Any], ...]:
    """Return what tells whether an address has its like at the target, or moves there besides."""
    there = _ADDRESSES.alias("there")
    key, primary = _ADDRESSES.c.normalized_key, _ADDRESSES.c.is_primary
    at_target = there.c.customer_id == step.c.target
    return (
        select(there.c.id).where(at_target, there.c.normalized_key == key).exists().label("held"),
        select(there.c.id).where(at_target, there.c.is_primary).exists().label("has_primary"),
        func.row_number()
        .over(partition_by=(step.c.target, key), order_by=_ADDRESSES.c.id)
        .label("turn"),
        func.sum(cast(primary, Integer))
        .over(partition_by=step.c.target, order_by=_ADDRESSES.c.id)
        .label("primaries"),
    )


def _detach_notes(connection: Connection, rows: Rows, run_id: UUID | None) -> dict[UUID, UUID]:
    """Take notes off their address that are on a job too: they cannot follow both at once."""
    addresses = [step.row for step in rows.get(_ADDRESSES.name, ())]
    jobs = [step.row for step in rows.get(_JOBS.name, ())]
    both = select(_NOTES.c.id, _NOTES.c.address_id).where(
        _NOTES.c.address_id.is_not(None),
        _NOTES.c.job_id.is_not(None),
        or_(among(_NOTES.c.address_id, addresses), among(_NOTES.c.job_id, jobs)),
    )
    found = {row.id: row.address_id for row in connection.execute(both)}
    if found:
        remember(connection, run_id, {_NOTES.name: found})
        connection.execute(update(_NOTES).where(among(_NOTES.c.id, found)).values(address_id=None))
    return found


def _attach_notes(connection: Connection, detached: Mapping[UUID, UUID]) -> None:
    """Put notes back on their address where both are at the same customer still."""
    for note, address in detached.items():
        place = select(_ADDRESSES.c.customer_id).where(_ADDRESSES.c.id == address)
        connection.execute(
            update(_NOTES)
            .where(_NOTES.c.id == note, _NOTES.c.customer_id == place.scalar_subquery())
            .values(address_id=address)
        )


def remember(
    connection: Connection, run_id: UUID | None, rows: Mapping[str, Iterable[UUID]]
) -> None:
    """Keep, for the rollback of a run, whose these rows are; not of rows that the run created."""
    if run_id is None:
        return
    for name, ids in rows.items():
        table = Base.metadata.tables[name]
        columns = [column for column in table.c if column.name in _REMEMBERED]
        image = func.jsonb_build_object(
            *(part for column in columns for part in (literal(column.name), column))
        )
        query = select(literal(run_id, Uuid), literal(name), table.c.id, image).where(
            among(table.c.id, ids)
        )
        if "run_id" in table.c:
            query = query.where(table.c.run_id.is_distinct_from(run_id))
        connection.execute(
            insert(_CHANGES).from_select(["run_id", "table_name", "row_id", "before"], query)
        )
