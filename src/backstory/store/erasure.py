"""Whose a row is, table by table: what an export of one customer holds and an erasure removes.

One rule a table serves both, and the count before it. Tables that carry `customer_id` need none of
their own, so that a new one is included; a table with neither is a ledger of nobody's words.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Table,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import TSVECTOR

from backstory.errors import UsageError
from backstory.model import NoteStatus
from backstory.store.ownership import OWNED
from backstory.store.statements import sql
from backstory.store.tables import Base

TABLES: Mapping[str, Table] = Base.metadata.tables
# These look at rows of other tables to tell whose theirs are: they go before them.
_FIRST = ("run_changes", "confirmations", "memory_notes", "conflicts")


@dataclass(frozen=True)
class Scope:
    """One customer, all that were merged into it, and their leads."""

    customer_id: UUID
    customers: tuple[UUID, ...]
    leads: tuple[UUID, ...]
    external_ids: tuple[str, ...]
    quarantined: tuple[UUID, ...] = ()


def scope_of(connection: Connection, customer_id: UUID) -> Scope:
    """Return whom a customer's id stands for; raise UsageError if nobody has it."""
    asked = {"customer_id": customer_id}
    found = connection.execute(sql("customers_of_one"), asked).scalars().all()
    if not found:
        raise UsageError(f"There is no customer {customer_id}: `backstory customers` lists them.")
    leads = connection.execute(sql("leads_of_erased"), {"customers": list(found)}).all()
    return Scope(
        found[0],
        tuple(found),
        tuple(row.id for row in leads),
        tuple(row.external_id for row in leads),
    )


# --- whose a row is --------------------------------------------------------------------------


def _among(column: ColumnElement[Any], ids: tuple[UUID, ...]) -> ColumnElement[bool]:
    return column == any_(cast(bindparam(None, list(ids), ARRAY(Uuid)), ARRAY(Uuid)))


def _named(table: FromClause, scope: Scope) -> ColumnElement[bool]:
    names = cast(bindparam(None, list(scope.external_ids), ARRAY(Text)), ARRAY(Text))
    return table.c.lead_external_id == any_(names)


def _of_customer(table: Table, scope: Scope) -> ColumnElement[bool]:
    return _among(table.c.customer_id, scope.customers)


def _calls(table: Table, scope: Scope) -> ColumnElement[bool]:
    threads = TABLES["conversations"]
    within = table.c.conversation_id.in_(select(threads.c.id).where(_of_customer(threads, scope)))
    return or_(_of_customer(table, scope), _among(table.c.lead_id, scope.leads), within)


def _notes(table: Table, scope: Scope) -> ColumnElement[bool]:
    """Return the customer's notes, and others' that were taken from the customer's words."""
    messages = TABLES["messages"]
    source = func.unnest(table.c.source_message_ids).column_valued("source")
    said = select(source).where(
        exists().where(messages.c.id == source, _of_customer(messages, scope))
    )
    lead = _among(table.c.source_lead_id, scope.leads)
    return or_(_of_customer(table, scope), lead, said.exists())


def _confirmations(table: Table, scope: Scope) -> ColumnElement[bool]:
    shown = [
        table.c.source_id.in_(select(other.c.id).where(_of_customer(other, scope)))
        for other in OWNED
        if other is not table and "id" in other.c
    ]
    return or_(_of_customer(table, scope), *shown)


def _conflicts(table: Table, scope: Scope) -> ColumnElement[bool]:
    records = TABLES["audit_log"]
    winners = select(records.c.id).where(_among(records.c.lead_id, scope.leads))
    return or_(_named(table, scope), table.c.winner_id.in_(winners))


def _merges(table: Table, scope: Scope) -> ColumnElement[bool]:
    survivor = _among(table.c.survivor_id, scope.customers)
    return or_(survivor, _among(table.c.absorbed_id, scope.customers))


def _changes(table: Table, scope: Scope) -> ColumnElement[bool]:
    """Images of rows that are the customer's, or were, and are gone."""
    theirs = [
        (table.c.table_name == name)
        & table.c.row_id.in_(select(TABLES[name].c.id).where(whose(TABLES[name], scope)))
        for name in (*(each.name for each in OWNED if "id" in each.c), *_OF_CHANGED)
    ]
    threads = TABLES["conversations"]
    said = select(threads.c.id).where(_of_customer(threads, scope))
    theirs.append((table.c.table_name == "conversation_summaries") & table.c.row_id.in_(said))
    owner = [str(each) for each in scope.customers]
    gone = (table.c.table_name == "customer_identities") & table.c.before["customer_id"].astext.in_(
        owner
    )
    return or_(gone, *theirs)


_OF_CHANGED = ("customers", "customer_merges", "quarantine")
_RULES: dict[str, Callable[[Table, Scope], ColumnElement[bool]]] = {
    "audit_log": lambda table, scope: _among(table.c.lead_id, scope.leads),
    "customers": lambda table, scope: _among(table.c.id, scope.customers),
    "customer_merges": _merges,
    "confirmations": _confirmations,
    "conflicts": _conflicts,
    "memory_notes": _notes,
    "quarantine": lambda table, scope: or_(
        _named(table, scope), _among(table.c.id, scope.quarantined)
    ),
    "run_changes": _changes,
    "skips": _named,
    "tool_calls": _calls,
}
# What no customer owns; where a customer is named there, `store.redaction` takes the name out.
NOBODYS = frozenset(
    {
        *("api_keys", "backfill_runs", "embedding_models", "line_rules", "run_partitions"),
        *("signing_keys", "tombstones", "tombstone_keys"),
    }
)


def whose(table: Table, scope: Scope) -> ColumnElement[bool]:
    """Return the condition that a row of a table is the customer's."""
    return _RULES.get(table.name, _of_customer)(table, scope)


def tables_of_customers() -> list[Table]:
    """Return every table with rows of customers, in an order in which they can be deleted."""
    known = [each for each in OWNED if each.name not in _FIRST]
    known += [TABLES[name] for name in _RULES if name not in _FIRST and TABLES[name] not in known]
    order = {table: place for place, table in enumerate(Base.metadata.sorted_tables)}
    known.sort(key=lambda table: -order[table])
    return [TABLES[name] for name in _FIRST] + known


# --- what is done with them ------------------------------------------------------------------


def count_rows(connection: Connection, scope: Scope) -> dict[str, int]:
    """Return how many rows of each table are the customer's; tables without one are left out."""
    found = {}
    for table in tables_of_customers():
        counting = select(func.count()).select_from(table).where(whose(table, scope))
        found[str(table.name)] = connection.execute(counting).scalar_one()
    return {name: count for name, count in sorted(found.items()) if count}


def rows_of(connection: Connection, table: Table, scope: Scope) -> Iterator[dict[str, Any]]:
    """Yield the customer's rows of a table as JSON, by key; bytes are hex, what is computed left.

    A vector is computed from a message, so it is left out too.
    """
    shown = [column for column in table.c if not _is_computed(column)]
    rows = select(*shown).where(whose(table, scope)).order_by(*table.primary_key).subquery()
    asked = select(func.to_jsonb(rows.table_valued()))
    yield from connection.execute(asked, execution_options={"yield_per": 500}).scalars()


def _is_computed(column: Column[Any]) -> bool:
    return isinstance(column.type, TSVECTOR) or type(column.type).__name__ == "HALFVEC"


def remove_rows(connection: Connection, scope: Scope) -> dict[str, dict[UUID | None, int]]:
    """Delete the customer's rows; return how many of each table went, by the run that wrote them.

    Rows of others that name them, as a job names the lead it came from, stay and name them no
    longer.
    """
    _let_go(connection, scope)
    found: dict[str, dict[UUID | None, int]] = {}
    for table in tables_of_customers():
        gone = delete(table).where(whose(table, scope))
        if "run_id" in table.c and table.name != "run_changes":
            deleted = gone.returning(table.c.run_id).cte("deleted")
            counts = select(deleted.c.run_id, func.count()).group_by(deleted.c.run_id)
            found[str(table.name)] = dict(connection.execute(counts).all())
        else:
            found[str(table.name)] = {None: connection.execute(gone).rowcount}
    return {name: runs for name, runs in found.items() if any(runs.values())}


def _let_go(connection: Connection, scope: Scope) -> None:
    for column, other in _loose_references():
        table = column.table
        values: dict[str, Any] = {column.name: None}
        if column.name == "superseded_by_id":
            values["status"] = NoteStatus.CANDIDATE.value
        gone = select(other.c.id).where(whose(other, scope))
        others = whose(TABLES[table.name], scope).is_not(True)
        connection.execute(update(table).where(column.in_(gone), others).values(values))


def _loose_references() -> Iterator[tuple[Column[Any], Table]]:
    """Yield columns that name a row of the same or another customer, and may name none."""
    for table in OWNED:
        for constraint in table.foreign_key_constraints:
            (column, *more) = constraint.columns
            if not more and column.nullable and constraint.referred_table in OWNED:
                yield column, constraint.referred_table
