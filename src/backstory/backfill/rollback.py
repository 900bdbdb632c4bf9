"""Takes back exactly what a run created, or says what that takes away and what stands in its way.

Rows the run created go; rows it changed become what they were, and where a later run changed them
again, that run inherits what was there before. What was derived from the run's rows goes with them,
and so does what an agent was merely shown of them, with the calls that showed it. What people,
agents, live events or other runs have put on top blocks the rollback, named; with `force` it goes
too.

A record that a later run met again was a duplicate there and has no second row: when the first is
removed, running the later log again brings it back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from backstory.backfill.obstacles import Blocker, blockers, forced, remove_obstacles
from backstory.backfill.spill import Spill
from backstory.errors import RecordRefused, RunError
from backstory.extract.customers import HUB_LIMIT
from backstory.model import PartitionStage, RunMode, RunStatus
from backstory.runs import run as runs
from backstory.runs.claim import is_led, leading
from backstory.runs.journey import check_mode
from backstory.runs.progress import Listener, Stopwatch
from backstory.runs.run import Run, short_id
from backstory.store.backfill import add_own_audit, lock_leads
from backstory.store.bulk import uuid_array
from backstory.store.engine import Database, translated
from backstory.store.statements import sql
from backstory.store.unlinking import unlink_run

AUDIT_ACTION = "rollback"
_ANALYZE_ROWS = 1000


# What was only looked at goes with what was seen, before anything of that does.
_SEEN = {"confirmations": "remove_confirmations", "tool_calls": "remove_tool_calls"}
# What a run's own rows are removed by, in order: what names a row goes before the row.
_OWN = {
    "memory_notes": "remove_derived_notes",
    "conversation_summaries": "remove_summaries",
    "messages": "remove_messages",
    "audit_log": "remove_records",
    "conversations": "remove_conversations",
    "skips": "remove_skips",
    "quarantine": "remove_quarantine",
    "conflicts": "remove_conflicts",
}


@dataclass(frozen=True)
class RollbackPlan:
    """What a rollback would do, in the words of its report, and what blocks it."""

    run: Run
    removed: dict[str, int]
    restored: dict[str, int]
    forced: dict[str, int]
    kept: dict[str, int]
    blockers: list[Blocker]

    def as_json(self) -> dict[str, Any]:
        """Return the plan as JSON."""
        return {
            "run_id": str(self.run.id),
            "removed": self.removed,
            "restored": self.restored,
            "forced": self.forced,
            "kept": self.kept,
            "blockers": [asdict(blocker) for blocker in self.blockers],
        }


@dataclass(frozen=True)
class RollbackReport:
    """What a rollback did: rows by table, what force removed by name, and what others kept."""

    run_id: str
    removed: dict[str, int]
    restored: dict[str, int]
    forced: dict[str, int]
    kept: dict[str, int]
    seconds_by_step: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return asdict(self)


# --- the plan --------------------------------------------------------------------------------


def plan_rollback(connection: Connection, run: Run) -> RollbackPlan:
    """Return what a rollback of `run` would do, and what stands in its way; writes nothing.

    `removed`, `restored` and `kept` are the report's; so is `forced`, which is what `force` adds.
    Raises RunError while the run is worked on, and when it was rolled back already.
    """
    with translated():
        _refuse_busy(connection, run)
        values = _values(connection, run)
        removed = connection.execute(sql("rows_leaving"), values).one()._asdict()
        rows = connection.execute(sql("rows_of_run"), {"run_id": run.id}).one()
        standing = blockers(connection, values)
        return RollbackPlan(
            run=run,
            removed=_some(removed),
            restored=_restored(connection, values),
            forced=forced(standing),
            kept=_some({n: getattr(rows, n) - removed[n] for n in ("leads", "customers")}),
            blockers=standing,
        )


def _values(connection: Connection, run: Run) -> dict[str, Any]:
    keys = connection.execute(sql("customers_leaving"), {"run_id": run.id}).scalars()
    return {"run_id": run.id, "customers": uuid_array(map(bytes, keys))}


def _restored(connection: Connection, values: Mapping[str, Any]) -> dict[str, int]:
    return {row.table_name: row.rows for row in connection.execute(sql("rows_restored"), values)}


def _some(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


# --- the rollback ----------------------------------------------------------------------------


def rollback(
    database: Database, reference: str, *, force: bool = False, listener: Listener | None = None
) -> RollbackReport:
    """Take back the run that `reference` names, in one transaction, and write that down.

    Raises RunError while the run is worked on, when it was rolled back already, and when something
    stands in the way and `force` is not given; the database is then as it was.
    """
    watch = Stopwatch(listener)
    try:
        with translated(), database.engine.connect() as connection:
            run = _look_up(connection, reference)
            with leading(connection, run.id), connection.begin():
                report = _roll_back(connection, run, watch, force=force)
    except RecordRefused as refused:
        raise RunError(
            f"Something was written on top of the run meanwhile ({refused}): nothing was "
            "changed, look at the plan again."
        ) from refused
    Spill(Path(run.spill_dir), 1).remove()
    return report


def _look_up(connection: Connection, reference: str) -> Run:
    """Return a run that nobody works on; raise RunError otherwise."""
    with connection.begin():
        run = runs.get_run(connection, reference)
        _refuse_busy(connection, run)
    return run


def _refuse_busy(connection: Connection, run: Run) -> None:
    # Other kinds of run are taken back by `runs.journey.take_back`.
    check_mode(run, RunMode.BACKFILL, RunMode.RETRY, RunMode.NOTES)
    name = short_id(run.id)
    if run.status is RunStatus.ROLLED_BACK:
        raise RunError(f"Run {name} was rolled back already.")
    if is_led(connection, run.id) or _has_workers(connection, run):
        raise RunError(f"Run {name} is at work: `backstory cancel {name}` first.")


def _has_workers(connection: Connection, run: Run) -> bool:
    """Tell whether workers of a process that died are still writing."""
    return any(
        connection.execute(sql("stage_progress"), {"run_id": run.id, "stage": stage}).one().held
        for stage in PartitionStage
    )


def _roll_back(
    connection: Connection, run: Run, watch: Stopwatch, *, force: bool
) -> RollbackReport:
    watch.begin("look")
    # Linking locks before writing does: so do we. Whoever writes leads waits until we are done.
    connection.execute(sql("lock_linking"))
    lock_leads(connection, (every.to_bytes(2) for every in range(1 << 16)))
    values = _values(connection, run)
    standing = blockers(connection, values)
    if standing and not force:
        raise _blocked(run, standing)
    restored = _restored(connection, values)
    removed = _remove(connection, _SEEN, values | {"seen": True}, watch)
    taken_away = remove_obstacles(connection, values) if standing else {}
    values |= _moved_on(connection, run)
    removed |= _remove(connection, _OWN, values, watch)
    watch.begin("restore")
    kept = _restore(connection, run, values, removed)
    watch.end()
    report = RollbackReport(
        run_id=str(run.id),
        removed=_some(removed),
        restored=restored,
        forced=taken_away,
        kept=_some(kept),
        seconds_by_step={step: round(spent, 3) for step, spent in watch.seconds.items()},
    )
    add_own_audit(connection, run_id=run.id, action=AUDIT_ACTION, payload=report.as_json())
    if runs.get_run(connection, str(run.id)).status is RunStatus.RUNNING:
        # Nobody is left to run it, and the table of transitions has no shorter way.
        runs.move(connection, run, RunStatus.CANCELED)
    runs.move(connection, run, RunStatus.ROLLED_BACK)
    return report


def _blocked(run: Run, standing: Iterable[Blocker]) -> RunError:
    return RunError(
        f"Run {short_id(run.id)} cannot be rolled back; nothing was changed. On it stand: "
        + " ".join(blocker.sentence for blocker in standing)
        + " --force removes all that too."
    )


def _remove(
    connection: Connection, by: Mapping[str, str], values: Mapping[str, Any], watch: Stopwatch
) -> dict[str, int]:
    removed = {}
    for table, statement in by.items():
        watch.begin(table)
        removed[table] = connection.execute(sql(statement), values).rowcount
    return removed


def _moved_on(connection: Connection, run: Run) -> dict[str, Any]:
    rows = connection.execute(sql("conversations_moved_on"), {"run_id": run.id}).all()
    return {
        "ids": uuid_array(bytes(row.key) for row in rows),
        "remembered": [row.remembered for row in rows],
    }


def _restore(
    connection: Connection,
    run: Run,
    values: Mapping[str, Any],
    removed: dict[str, int],
) -> dict[str, int]:
    """Restore what the run changed and undo its links; note what went and return what stays."""
    limit = run.options.get("hub_limit", HUB_LIMIT)
    customers = connection.execute(sql("customers_of_run_or_none"), values).all()
    unlinked = unlink_run(connection, run.id, hub_limit=limit)
    whose = {
        "own": uuid_array(bytes(row.key) for row in customers if row.own),
        "of_none": uuid_array(bytes(row.key) for row in customers if not row.own),
    }
    connection.execute(sql("hand_over_customers"), whose)
    connection.execute(sql("settle_conversations"), values)
    connection.execute(sql("forget_lost_changes"))
    # A first load that did not end has left none.
    connection.execute(sql("ensure_search_index"))
    if removed["messages"] > _ANALYZE_ROWS:
        connection.execute(sql("analyze_loaded"))
    removed["leads"] = unlinked.leads_deleted
    removed["customers"] = unlinked.customers_deleted
    removed["customer_merges"] = unlinked.merges_undone
    return {"leads": unlinked.leads_kept, "customers": unlinked.customers_kept}
