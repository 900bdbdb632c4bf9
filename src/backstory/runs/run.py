"""A run and its states: what it was asked, where it stands, what it may do next.

from          to           by
(new)         running      start
running       paused       pause, or an interrupt
running       failed       an error that a retry does not mend
running       canceled     cancel
running       done         its last step
paused        running      resume
failed        running      resume
running       running      resume, when no worker of it is alive
paused        canceled     cancel
failed        canceled     cancel
done          rolled_back  rollback
canceled      rolled_back  rollback
paused        rolled_back  rollback
failed        rolled_back  rollback
"""

import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection

from backstory.errors import RunError, UsageError
from backstory.extract.parse import clean_text
from backstory.model import RunMode, RunStatus, RunWish
from backstory.store.statements import sql

_S = RunStatus
TRANSITIONS: dict[RunStatus, frozenset[RunStatus]] = {
    _S.RUNNING: frozenset({_S.RUNNING, _S.PAUSED, _S.FAILED, _S.CANCELED, _S.DONE}),
    _S.PAUSED: frozenset({_S.RUNNING, _S.CANCELED, _S.ROLLED_BACK}),
    _S.FAILED: frozenset({_S.RUNNING, _S.CANCELED, _S.ROLLED_BACK}),
    _S.CANCELED: frozenset({_S.ROLLED_BACK}),
    _S.DONE: frozenset({_S.ROLLED_BACK}),
    _S.ROLLED_BACK: frozenset(),
}
_ENDED = frozenset({_S.CANCELED, _S.DONE, _S.ROLLED_BACK})


@dataclass(frozen=True)
class Run:
    """A run as the database has it; `report` is there once it is done."""

    id: uuid.UUID
    mode: RunMode
    log: str
    status: RunStatus
    wish: RunWish | None
    options: dict[str, Any]
    host: str
    spill_dir: str
    records_read: int | None
    first_load: bool
    seconds_by_step: dict[str, float]
    findings: dict[str, Any]
    report: dict[str, Any] | None
    error: str | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


def add_run(
    connection: Connection,
    run_id: uuid.UUID,
    *,
    mode: RunMode,
    log: str,
    options: Mapping[str, Any],
    spill_dir: Path,
) -> Run:
    """Write a new, running run down, before anything is done for it, and return it."""
    connection.execute(
        sql("add_run"),
        {
            "id": run_id,
            "mode": mode,
            "log": log,
            "options": orjson.dumps(options).decode(),
            "host": socket.gethostname(),
            "spill_dir": str(spill_dir),
        },
    )
    return get_run(connection, str(run_id))


def list_runs(connection: Connection, *, limit: int = 50) -> list[Run]:
    """Return the newest runs, newest first."""
    rows = connection.execute(sql("get_runs"), {"prefix": None, "limit": limit})
    return [_run(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it


def get_run(connection: Connection, reference: str) -> Run:
    """Return the run whose id begins with `reference`, or the newest for `last`."""
    prefix = None if reference == "last" else clean_text(reference)[0].strip().lower()
    rows = connection.execute(sql("get_runs"), {"prefix": prefix, "limit": 2}).all()
    if not rows:
        raise UsageError(f"There is no run {reference!r}: `backstory runs` lists them.")
    if len(rows) > 1 and prefix is not None:
        raise UsageError(f"Several runs begin with {reference!r}: give more of the id.")
    return _run(rows[0]._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


def _run(row: Any) -> Run:
    values = dict(row)
    values["mode"] = RunMode(values["mode"])
    values["status"] = RunStatus(values["status"])
    values["wish"] = RunWish(values["wish"]) if values["wish"] else None
    return Run(**values)


# How a run stands, and what cannot be done with it where the table above has no way.
_STANDS = {
    _S.RUNNING: "is running",
    _S.PAUSED: "is paused",
    _S.FAILED: "has failed",
    _S.CANCELED: "was canceled",
    _S.DONE: "is done",
    _S.ROLLED_BACK: "was rolled back",
}
_DONE_TO_IT = {
    _S.RUNNING: "resumed",
    _S.PAUSED: "paused",
    _S.FAILED: "given up",
    _S.CANCELED: "canceled",
    _S.DONE: "ended",
    _S.ROLLED_BACK: "rolled back",
}
_INSTEAD = {
    _S.DONE: " The same backfill again takes what has come since.",
    _S.CANCELED: " Start the same backfill anew: what it wrote is not written twice.",
    _S.ROLLED_BACK: " Start the same backfill anew.",
}


def check_way(run: Run, to: RunStatus) -> None:
    """Raise RunError, with the way out, where the table above has no way from where it stands."""
    if to not in TRANSITIONS[run.status]:
        instead = _INSTEAD.get(run.status, "") if to is RunStatus.RUNNING else ""
        stands = f"Run {short_id(run.id)} {_STANDS[run.status]}"
        raise RunError(f"{stands}: it cannot be {_DONE_TO_IT[to]}.{instead}")


def move(connection: Connection, run: Run, to: RunStatus, *, error: str | None = None) -> None:
    """Move a run along the table above; raise RunError where the table has no such way."""
    allowed = [status.value for status, ways in TRANSITIONS.items() if to in ways]
    moved = connection.execute(
        sql("set_status"),
        {
            "run_id": run.id,
            "status": to,
            "error": error,
            "ended": to in _ENDED,
            "allowed": allowed,
        },
    )
    if moved.rowcount != 1:
        check_way(get_run(connection, str(run.id)), to)
        raise RunError(f"Run {short_id(run.id)} was moved by another process: look at it again.")


def wish(connection: Connection, run: Run, wanted: RunWish) -> None:
    """Ask a running run to pause or cancel; its workers obey between two batches."""
    asked = connection.execute(sql("set_wish"), {"run_id": run.id, "wish": wanted})
    if asked.rowcount != 1:
        raise RunError(f"Run {short_id(run.id)} is {run.status}, not running.")


def note(connection: Connection, run_id: uuid.UUID, **learnt: Any) -> None:
    """Keep what a run has learnt: records_read, first_load, findings, seconds, report."""
    values: dict[str, Any] = {
        "records_read": None,
        "first_load": None,
        "findings": None,
        "seconds": None,
        "report": None,
    }
    values |= {
        name: orjson.dumps(value).decode() if isinstance(value, dict) else value
        for name, value in learnt.items()
    }
    connection.execute(sql("note_run"), {"run_id": run_id, **values})


def short_id(run_id: uuid.UUID) -> str:
    """Return the beginning of a run's id: enough to name it on a command line."""
    return str(run_id)[:8]
