"""Leads a run to its end, or leaves it where it can go on; takes a run back: whatever runs do."""

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar
from uuid import UUID

from sqlalchemy import Connection

from backstory.errors import BackstoryError, Interrupted, RunError
from backstory.model import RunMode, RunStatus, RunWish
from backstory.runs import run as runs
from backstory.runs.claim import leading, release
from backstory.runs.progress import Listener, Stopwatch
from backstory.runs.run import Run, short_id
from backstory.store.backfill import add_own_audit
from backstory.store.engine import Database, translated

T = TypeVar("T")

AFTER_WISH = {RunWish.PAUSE: RunStatus.PAUSED, RunWish.CANCEL: RunStatus.CANCELED}


class Settle(Protocol):
    """Moves a run that stands still, with what its kind of run needs besides."""

    def __call__(
        self, connection: Connection, run: Run, status: RunStatus, *, error: str | None = None
    ) -> None:
        """Leave the run in this state, in transactions of its own."""


def settle(
    connection: Connection, run: Run, status: RunStatus, *, error: str | None = None
) -> None:
    """Move a run that stands still, and give back what this connection holds of it."""
    with connection.begin():
        release(connection, run.id)
        runs.move(connection, run, status, error=error)


def lead_run(
    database: Database,
    run_id: UUID,
    steps: Callable[[Connection, Run, Stopwatch], T],
    listener: Listener | None = None,
    *,
    settle: Settle = settle,
) -> T:
    """Be the one process that leads a run through its steps, and return what they do.

    A run that is asked to pause or cancel, that is interrupted or fails, is left by `settle` in the
    state that says so. Raises Interrupted, or what the steps raise; nothing that is committed goes.
    """
    with database.engine.connect() as connection, translated(), leading(connection, run_id):
        with connection.begin():
            run = runs.get_run(connection, str(run_id))
            runs.move(connection, run, RunStatus.RUNNING)
        watch = Stopwatch(listener, dict(run.seconds_by_step))

        def leave(status: RunStatus, error: str | None = None) -> None:
            watch.end()
            # The first error is the one to tell; `resume` takes a run that nobody leads.
            with suppress(BackstoryError), translated():
                connection.rollback()
                with connection.begin():
                    runs.note(connection, run.id, seconds=watch.seconds)
                settle(connection, run, status, error=error)

        try:
            with translated():
                return steps(connection, run, watch)
        except Interrupted as stopped:
            leave(AFTER_WISH[RunWish(stopped.wish)])
            raise Interrupted(stopped.wish, str(run_id)) from stopped
        except KeyboardInterrupt:
            leave(RunStatus.PAUSED)
            raise Interrupted(RunWish.PAUSE, str(run_id)) from None
        except BackstoryError as failed:
            leave(RunStatus.FAILED, str(failed))
            raise


def resumable(database: Database, reference: str, mode: RunMode) -> Run:
    """Return the run if it may go on; raise RunError if it may not, or is of another kind."""
    with translated(), database.engine.begin() as connection:
        run = runs.get_run(connection, reference)
        check_mode(run, mode)
        runs.check_way(run, RunStatus.RUNNING)
    return run


def check_mode(run: Run, *modes: RunMode) -> None:
    """Raise RunError for a run of another kind: each kind knows how to go on, and back."""
    if run.mode not in modes:
        raise RunError(f"Run {short_id(run.id)} is a run of {run.mode}, not of {modes[0]}.")


def take_back(
    database: Database,
    reference: str,
    mode: RunMode,
    *,
    table: str,
    remove: Callable[[Connection, UUID], int],
    did: str = "removed",
) -> int:
    """Take a run back whose rows `remove` deletes from one table; return how many went.

    `did` is what is written down of them: that they were removed, or restored.
    """
    with database.engine.connect() as connection, translated():
        with connection.begin():
            run = runs.get_run(connection, reference)
        check_mode(run, mode)
        with leading(connection, run.id), connection.begin():
            runs.move(connection, runs.get_run(connection, str(run.id)), RunStatus.ROLLED_BACK)
            removed = remove(connection, run.id)
            told = {"run_id": str(run.id), did: {table: removed}}
            add_own_audit(
                connection, run_id=None, action=f"rollback_{mode}", subject=run.id, payload=told
            )
    return removed
