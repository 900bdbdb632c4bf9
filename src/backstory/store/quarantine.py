"""Reads the ledgers of records that made no message, for people and for a retry."""

import uuid
from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    Connection,
    Numeric,
    RowMapping,
    Select,
    Text,
    Uuid,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from backstory.errors import UsageError
from backstory.model import QuarantineStatus
from backstory.store.tables import AuditLog, BackfillRun, Conflict, Quarantine, RunChange


def list_quarantine(
    connection: Connection, run_id: uuid.UUID | None = None, *, limit: int = 50
) -> list[RowMapping]:
    """Return open quarantined records, of one run or of all, without their bytes.

    Those of the newest run come first, each run's as they stand in its source.
    """
    columns = [column for column in Quarantine.__table__.c if column.name != "raw"]
    query = (
        select(*columns)
        .where(Quarantine.status == QuarantineStatus.OPEN)
        .outerjoin(BackfillRun, BackfillRun.id == Quarantine.run_id)
        .order_by(*_as_they_stand(Quarantine))
        .limit(limit)
    )
    if run_id is not None:
        query = query.where(Quarantine.run_id == run_id)
    return list(connection.execute(query).mappings())


def _as_they_stand(table: type[Quarantine | Conflict]) -> list[Any]:
    """Return what orders a ledger: the run, then file and line, `audit.jsonl:9` before `:10`."""
    line = func.substring(table.position, "[0-9]+$")
    return [
        func.coalesce(BackfillRun.created_at, table.created_at).desc(),
        func.regexp_replace(table.position, "[0-9]+$", ""),
        cast(line, Numeric),
        table.id,
    ]


def get_quarantined(connection: Connection, reference: str) -> RowMapping:
    """Return the one quarantined record whose id begins with `reference`, its bytes included."""
    query = (
        select(Quarantine.__table__)
        .where(cast(Quarantine.id, Text).startswith(reference.strip().lower(), autoescape=True))
        .limit(2)
    )
    found = connection.execute(query).mappings().all()
    if len(found) != 1:
        raise UsageError(
            f"{'Several' if found else 'No'} quarantined records begin with {reference!r}: "
            "`backstory quarantine list` shows them."
        )
    return found[0]


def retry_groups(connection: Connection, run_id: uuid.UUID | None) -> list[RowMapping]:
    """Return (log, options) of open records that could be read again, each once."""
    query = select(Quarantine.log, Quarantine.options).where(*_retriable(run_id)).distinct()
    return list(connection.execute(query).mappings())


def raw_records(
    connection: Connection, run_id: uuid.UUID | None, group: RowMapping
) -> Iterator[tuple[uuid.UUID, bytes]]:
    """Yield (id, bytes) of a group's open records, in order."""
    query = (
        select(Quarantine.id, Quarantine.raw)
        .where(*_retriable(run_id), *_in_group(group))
        .order_by(Quarantine.created_at, Quarantine.id)
        .execution_options(yield_per=1000)
    )
    for row in connection.execute(query):
        yield row.id, row.raw


def resolve(
    connection: Connection,
    *,
    of_run: uuid.UUID | None,
    group: RowMapping,
    by: uuid.UUID,
) -> None:
    """Mark a group's open records as taken by the run `by`, which its rollback takes back.

    What fails again is opened again.
    """
    taken = [*_retriable(of_run), *_in_group(group)]
    connection.execute(insert(RunChange).from_select(_REMEMBERED, _images(by).where(*taken)))
    connection.execute(
        update(Quarantine)
        .where(*taken)
        .values(status=QuarantineStatus.RESOLVED, resolved_run_id=by)
    )


_REMEMBERED = ["run_id", "table_name", "row_id", "before"]


def _images(run_id: uuid.UUID) -> Select[Any]:
    """Return what a run that takes records out of quarantine found there."""
    before = func.jsonb_build_object(
        *("status", Quarantine.status, "resolved_run_id", Quarantine.resolved_run_id)
    )
    name = literal(Quarantine.__tablename__)
    return select(literal(run_id, Uuid), name, Quarantine.id, before)


def reopen_untaken(connection: Connection, run_id: uuid.UUID) -> None:
    """Open again what a retry was to read and has not written: it ended before its time."""
    written = select(AuditLog.id).where(
        AuditLog.log == Quarantine.log,
        AuditLog.audit_id == Quarantine.audit_id,
        AuditLog.run_id == run_id,
    )
    untaken = [Quarantine.resolved_run_id == run_id, ~written.exists()]
    connection.execute(
        delete(RunChange).where(
            RunChange.run_id == run_id,
            RunChange.table_name == Quarantine.__tablename__,
            RunChange.row_id.in_(select(Quarantine.id).where(*untaken)),
        )
    )
    connection.execute(
        update(Quarantine)
        .where(*untaken)
        .values(status=QuarantineStatus.OPEN, resolved_run_id=None)
    )


def _retriable(run_id: uuid.UUID | None) -> list[Any]:
    # Of an oversized record only the beginning is kept: its source must be read again.
    conditions: list[Any] = [
        Quarantine.status == QuarantineStatus.OPEN,
        Quarantine.code != "too_large",
    ]
    if run_id is not None:
        conditions.append(Quarantine.run_id == run_id)
    return conditions


def _in_group(group: RowMapping) -> list[Any]:
    return [Quarantine.log == group["log"], Quarantine.options == group["options"]]


def list_conflicts(
    connection: Connection, run_id: uuid.UUID | None = None, *, limit: int = 50
) -> list[RowMapping]:
    """Return conflicts, of one run or of all: what lost, and to which record.

    Those of the newest run come first, each run's as they stand in its source.
    """
    query = (
        select(Conflict.__table__)
        .outerjoin(BackfillRun, BackfillRun.id == Conflict.run_id)
        .order_by(*_as_they_stand(Conflict))
        .limit(limit)
    )
    if run_id is not None:
        query = query.where(Conflict.run_id == run_id)
    return list(connection.execute(query).mappings())
