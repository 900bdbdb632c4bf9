"""What a database holds, and what a report says: to compare with another, or with a moment ago."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, text

from backstory.backfill.report import Report
from backstory.store.tables import Base

Dump = dict[str, list[str]]

# What a run says of itself, and what is only there to get through it.
LEDGERS = frozenset({"backfill_runs", "line_rules", "run_partitions"})
# Columns that hold a clock or name a run: two runs differ in these and in nothing else.
RUNS = ("run_id", "resolved_run_id")
CLOCKS = {
    "audit_log": ("received_at",),
    "customer_identities": ("created_at",),
    "customer_merges": ("merged_at", "undone_at"),
    "run_changes": ("id",),
    "skips": ("created_at",),
    "quarantine": ("created_at",),
    "conflicts": ("created_at",),
    "tombstones": ("erased_at",),
    "tombstone_keys": ("id", "created_at"),
}
# A customer whose lead has no time is there since the run began.
MOMENTS = {
    "customers": "- CASE WHEN EXISTS (SELECT FROM backfill_runs r"
    " WHERE r.created_at = t.created_at) THEN 'created_at' ELSE '' END"
}

# What a plan and a run, or two runs, say differently of the same.
OF_A_RUN = frozenset({"run_id", "mode", "seconds", "seconds_by_step", "messages_per_second"})


def comparable(report: Report) -> dict[str, Any]:
    """Return what every run over the same input says, a plan of it included."""
    return {key: value for key, value in asdict(report).items() if key not in OF_A_RUN}


def _tables() -> list[str]:
    return [name for name in sorted(Base.metadata.tables) if name not in LEDGERS]


def logical(connection: Connection, *, without: Iterable[str] = ()) -> Dump:
    """Return every row that is not a ledger's or the log `backstory`'s, without clocks and runs.

    `without` names further columns to leave out, as `messages.seq`.
    """
    more = [name.split(".") for name in without]
    found = {}
    for table in _tables():
        hidden = [*RUNS, *CLOCKS.get(table, ()), *(column for t, column in more if t == table)]
        found[table] = list(
            connection.execute(
                text(
                    f"SELECT CAST(to_jsonb(t) - CAST(:hidden AS text[]) {MOMENTS.get(table, '')}"
                    f" AS text) FROM {table} t {_where(table)} ORDER BY 1"
                ),
                {"hidden": hidden},
            ).scalars()
        )
    return found


def physical(connection: Connection) -> Dump:
    """Return the same rows with all their columns and the transactions that last wrote them."""
    return {
        table: list(
            connection.execute(
                text(
                    f"SELECT t.xmin || ' ' || to_jsonb(t) FROM {table} t {_where(table)} ORDER BY 1"
                )
            ).scalars()
        )
        for table in _tables()
    }


def _where(table: str) -> str:
    return "WHERE log <> 'backstory'" if table == "audit_log" else ""


def differences(one: Dump, other: Dump, *, shown: int = 5) -> list[str]:
    """Return the rows that only one of two dumps has, as sentences; empty means equal."""
    found = []
    for table, rows in one.items():
        if rows == other[table]:
            continue
        here, there = set(rows), set(other[table])
        found += [
            f"{table}: only the first has {row[:600]}" for row in sorted(here - there)[:shown]
        ]
        found += [
            f"{table}: only the second has {row[:600]}" for row in sorted(there - here)[:shown]
        ]
        if here == there:
            found.append(f"repeated, {table}: {len(rows)} here, {len(other[table])} there")
    return found
