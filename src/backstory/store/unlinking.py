"""Takes back what a run's linking did: its merges and splits, its leads, customers and changes.

Whatever others have come to rely on since is not torn away. A lead that has another run's
conversation, a customer that another run's lead belongs to, become that run's. A column that a
later run changed again keeps its value, and the later run inherits what was there before.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Table, delete, exists, text

from backstory.extract.customers import HUB_LIMIT
from backstory.extract.leads import Key
from backstory.model import IdentityKind
from backstory.store.engine import translated
from backstory.store.leftovers import pointing_at_customers, remove_leftovers
from backstory.store.linking import relink
from backstory.store.merging import fill_profiles, undo
from backstory.store.ownership import MOVED, Step, carry, rows_of
from backstory.store.statements import sql
from backstory.store.tables import Base, Customer

_CUSTOMERS: Table = Base.metadata.tables[Customer.__tablename__]


@dataclass(frozen=True)
class Unlinked:
    """What a rollback removed, and what it had to leave to others."""

    leads_deleted: int
    leads_kept: int
    customers_deleted: int
    customers_kept: int
    merges_undone: int


def unlink_run(connection: Connection, run_id: UUID, *, hub_limit: int = HUB_LIMIT) -> Unlinked:
    """Take back what `run_id` linked, in the open transaction of `connection`.

    The run's own messages and conversations must be gone. As long as nothing else was linked
    since, the tables are exactly as they were before the run.
    """
    parameters = {"run_id": run_id}
    with translated():
        connection.execute(sql("lock_linking"))
        leads_kept = connection.execute(sql("keep_leads"), parameters).rowcount
        settling = _Settling(connection, run_id, needed=leads_kept > 0)
        merges = _undo_merges(connection, run_id)
        _restore_changes(connection, run_id)
        _forget_profiles(connection, run_id)
        leads = connection.execute(sql("forget_leads"), parameters).rowcount
        connection.execute(sql("keep_identities"), parameters)
        connection.execute(sql("forget_identities"), parameters)
        settling.clear()
        customers = connection.execute(_unneeded_customers(run_id)).rowcount
        kept = list(connection.execute(sql("keep_customers"), parameters).scalars())
        connection.execute(sql("forget_changes"), parameters)
        fill_profiles(connection, [each.bytes for each in kept], run_id=None)
        settling.decide_again(hub_limit)
        left_over = settling.remove_leftovers().intersection(kept)
        return Unlinked(
            leads, leads_kept, customers + len(left_over), len(kept) - len(left_over), merges
        )


class _Settling:
    """Looks after what a run's leads had connected, where some stay or others came since."""

    def __init__(self, connection: Connection, run_id: UUID, *, needed: bool) -> None:
        self._connection = connection
        self._run = {"run_id": run_id}
        self._customers: set[UUID] = set()
        self._keys: set[Key] = set()
        self._concerned: set[UUID] = set()
        self._needed = needed or connection.execute(sql("linked_since"), self._run).scalar_one()
        self._note()

    def _note(self) -> None:
        if self._needed:
            rows = self._connection.execute(sql("customers_of_run"), self._run)
            self._customers.update(rows.scalars())
            rows = self._connection.execute(sql("customers_concerned"), self._run)
            self._concerned.update(rows.scalars())
            ids = {"ids": list(self._customers)}
            for kind, value in self._connection.execute(sql("keys_of_customers"), ids):
                self._keys.add((IdentityKind(kind), value))

    def clear(self) -> None:
        """Remove identities whose leads are gone, when all that the run changed is restored."""
        if self._needed:
            self._gather_strays()
            self._note()
            ids = {"ids": list(self._customers)}
            self._connection.execute(sql("drop_uncarried"), ids)

    def _gather_strays(self) -> None:
        """Bring what was linked to a customer that is merged again to the one it is part of."""
        strays = list(self._connection.execute(sql("strays"), self._run).scalars())
        if strays:
            rows = self._connection.execute(sql("root_customers"), {"ids": strays})
            roots = {row.start: row.id for row in rows}
            carry(self._connection, rows_of(self._connection, roots))
            self._customers.update(roots.values())

    def decide_again(self, hub_limit: int) -> None:
        """Link the leads that stay as if the run had never been."""
        if self._needed:
            customers, keys = sorted(self._customers), sorted(self._keys)
            touched = relink(self._connection, customers, keys, hub_limit=hub_limit)
            self._concerned.update(touched)

    def remove_leftovers(self) -> set[UUID]:
        """Delete customers whom nobody belongs to any more; return whom."""
        if not self._needed:
            return set()
        return remove_leftovers(self._connection, self._customers | self._concerned)


def _undo_merges(connection: Connection, run_id: UUID) -> int:
    """Undo a run's merges, those of its last linking first; return how many it had made."""
    records = connection.execute(sql("merges_of_run"), {"run_id": run_id}).all()
    for _, together in groupby(records, lambda record: record.merged_at):
        undo(connection, list(together))
    return connection.execute(sql("forget_merges"), {"run_id": run_id}).rowcount


def _restore_changes(connection: Connection, run_id: UUID) -> None:
    """Give every row back what the run changed in it, or leave that to the next run that did."""
    connection.execute(sql("analyze_changes"))
    changed = set(connection.execute(sql("changed_tables"), {"run_id": run_id}).scalars())
    tables = [table for table in Base.metadata.sorted_tables if table.name in changed]
    if _CUSTOMERS in tables:
        connection.execute(_restoring(_CUSTOMERS), {"run_id": run_id, "table": _CUSTOMERS.name})
        tables.remove(_CUSTOMERS)
    _return_rows(connection, run_id, tables)
    connection.execute(sql("park_addresses"), {"run_id": run_id})
    for table in tables:
        parameters = {"run_id": run_id, "table": table.name}
        connection.execute(_restoring(table), parameters)
        if table.name == "customer_identities":
            connection.execute(_reviving(table), parameters)
    connection.execute(sql("hand_down_changes"), {"run_id": run_id})


def _return_rows(connection: Connection, run_id: UUID, tables: Iterable[Table]) -> None:
    """Give rows back to the customers they belonged to; all at once, for they hang together."""
    rows = {}
    for table in tables:
        if table in MOVED:
            parameters = {"run_id": run_id, "table": table.name}
            found = connection.execute(_returning(table), parameters)
            rows[table.name] = [Step(*row) for row in found]
    carry(connection, rows)


# The oldest value of each column, unless a later run changed it too, or it names what is no more.
_OLDEST = """
WITH ours AS MATERIALIZED (
    SELECT DISTINCT ON (c.row_id, b.key) c.id, c.row_id, b.key, b.value
    FROM run_changes c CROSS JOIN LATERAL jsonb_each(c.before) b
    WHERE c.run_id = CAST(:run_id AS uuid) AND c.table_name = CAST(:table AS text)
    ORDER BY c.row_id, b.key, c.id
), oldest AS MATERIALIZED (
    SELECT o.row_id, jsonb_object_agg(o.key, o.value) AS columns
    FROM ours o
    WHERE NOT EXISTS (
        SELECT FROM run_changes l
        WHERE l.table_name = CAST(:table AS text) AND l.row_id = o.row_id AND l.id > o.id
          AND l.run_id <> CAST(:run_id AS uuid) AND jsonb_exists(l.before, o.key))
      AND CASE
          WHEN o.key = 'undone_at' THEN NOT EXISTS (
              SELECT FROM customer_merges me
              JOIN customer_merges m ON m.absorbed_id = me.absorbed_id AND m.undone_at IS NULL
              WHERE me.id = o.row_id)
          WHEN o.value = 'null' THEN true
          WHEN o.key = 'merged_into_id' THEN EXISTS (
              SELECT FROM customer_merges m JOIN customers me ON me.id = m.absorbed_id
              WHERE m.absorbed_id = o.row_id AND m.survivor_id = CAST(o.value #>> '{}' AS uuid)
                AND me.merged_into_id IS NULL)
          WHEN o.key = 'customer_id' THEN EXISTS (
              SELECT FROM customers c
              WHERE c.id = CAST(o.value #>> '{}' AS uuid) AND c.merged_into_id IS NULL)
          WHEN o.key = 'address_id' THEN EXISTS (
              SELECT FROM customer_addresses a JOIN memory_notes n ON n.customer_id = a.customer_id
              WHERE a.id = CAST(o.value #>> '{}' AS uuid) AND n.id = o.row_id)
          WHEN o.key = 'normalized_key' THEN NOT EXISTS (
              SELECT FROM customer_addresses a JOIN customer_addresses me ON me.id = o.row_id
              WHERE a.customer_id = me.customer_id AND a.normalized_key = o.value #>> '{}')
          WHEN o.key = 'is_primary' THEN o.value = 'false' OR NOT EXISTS (
              SELECT FROM customer_addresses a JOIN customer_addresses me ON me.id = o.row_id
              WHERE a.customer_id = me.customer_id AND a.is_primary)
          ELSE true END
    GROUP BY o.row_id
)"""


def _returning(table: Table) -> Any:
    return text(
        f"{_OLDEST} SELECT t.id, t.customer_id, CAST(o.columns ->> 'customer_id' AS uuid) "
        f'FROM oldest o JOIN "{table.name}" t ON t.id = o.row_id '
        "WHERE t.customer_id <> CAST(o.columns ->> 'customer_id' AS uuid)"
    )


def _columns(table: Table) -> list[str]:
    """Return the columns of a table that can be set, quoted; whose a row is, is another matter."""
    return [
        f'"{column.name}"'
        for column in table.c
        if column.computed is None and column.name != "customer_id"
    ]


def _restoring(table: Table) -> Any:
    names = _columns(table)
    return text(
        f'{_OLDEST} UPDATE "{table.name}" t SET ({", ".join(names)}) = ('
        f"SELECT {', '.join(f'r.{name}' for name in names)} "
        "FROM jsonb_populate_record(t, o.columns) r) FROM oldest o WHERE t.id = o.row_id"
    )


def _reviving(table: Table) -> Any:
    return text(
        f'{_OLDEST} INSERT INTO "{table.name}" '
        f'SELECT (jsonb_populate_record(CAST(NULL AS "{table.name}"), o.columns)).* FROM oldest o '
        "WHERE jsonb_exists_all(o.columns, ARRAY['id', 'customer_id']) ON CONFLICT DO NOTHING"
    )


def _forget_profiles(connection: Connection, run_id: UUID) -> None:
    """Take from customers who stay what only leads said that go."""
    going = connection.execute(sql("profiles_of_run"), {"run_id": run_id}).all()
    if going:
        customers, leads = map(list, zip(*going, strict=True))
        parameters = {"customers": customers, "leads": leads, "run_id": None}
        connection.execute(sql("unfill_customers"), parameters)


def _unneeded_customers(run_id: UUID) -> Any:
    """Return the statement that deletes the customers of a run whom no row needs."""
    needed = []
    for column in pointing_at_customers():
        other = column.table.alias()
        needed.append(exists().where(other.c[column.name] == _CUSTOMERS.c.id))
    return delete(_CUSTOMERS).where(_CUSTOMERS.c.run_id == run_id, *(~each for each in needed))
