"""Leads a run to its end, or leaves it where it can go on; takes a run back: whatever runs do."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import Connection

from backstory.errors import AGAIN, BackstoryError, Interrupted, RunError
from backstory.model import PartitionStage, RunMode, RunStatus, RunWish
from backstory.runs import run as runs
from backstory.runs.claim import Claim, advance, claim_next, leading, release, renew
from backstory.runs.progress import Listener, Stopwatch
from backstory.runs.run import Run, short_id
from backstory.store.backfill import add_own_audit
from backstory.store.engine import Database, translated
from backstory.store.statements import sql

T = TypeVar("T")

AFTER_WISH = {RunWish.PAUSE: RunStatus.PAUSED, RunWish.CANCEL: RunStatus.CANCELED}
# A run that reads no log has its parts in one stage.
STAGE = PartitionStage.WRITE
# Does what comes after an id, given the counts so far: returns the ids it went through, and what is
# counted now, `records` among it.
Page = Callable[[UUID, dict[str, Any]], tuple[Sequence[UUID], dict[str, Any]]]
_BEFORE_ALL = UUID(int=0)


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


def add_run(
    connection: Connection,
    home: Path,
    *,
    mode: RunMode,
    options: Mapping[str, Any],
    records: int | None = None,
    parts: int = 0,
) -> UUID:
    """Write down a run that reads no log, and return its id.

    `records` says how many it is to go through, `parts` in how many partitions they are laid out.
    """
    run_id = uuid4()
    directory = home / "runs" / str(run_id)
    runs.add_run(connection, run_id, mode=mode, log="", options=options, spill_dir=directory)
    runs.note(connection, run_id, records_read=records)
    asked = {"run_id": run_id, "stage": STAGE, "count": parts}
    connection.execute(sql("add_partitions"), asked)
    return run_id


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
            _name_way_on(failed, run_id)
            leave(RunStatus.FAILED, str(failed))
            raise


def _name_way_on(failed: BackstoryError, run_id: UUID) -> None:
    """Let an error say `resume` where it says that the command should be run again."""
    message = str(failed).replace(AGAIN, f"`backstory resume {short_id(run_id)}`")
    failed.args = (message, *failed.args[1:])


def do_pages(connection: Connection, run: Run, watch: Stopwatch, page: Page) -> dict[str, Any]:
    """Do a run of one part page by page, and return what it has counted.

    A page and the place it has reached share a transaction; the first without ids is the last.
    Raises Interrupted where something else is wished of the run.
    """
    with connection.begin():
        claim = claim_next(connection, run.id, STAGE)
    if claim is not None:
        watch.go_on_from(claim.counts.get("records", 0))
        while _do_page(connection, claim, page):
            watch.tell(claim.counts["records"])
    with connection.begin():
        asked = {"run_id": run.id, "stage": STAGE}
        counts: dict[str, Any] = connection.execute(sql("partition_counts"), asked).scalar_one()
    return counts


def _do_page(connection: Connection, claim: Claim, page: Page) -> bool:
    after = UUID(bytes=claim.cursor) if claim.cursor else _BEFORE_ALL
    with connection.begin():
        if wanted := renew(connection, claim):
            raise Interrupted(wanted)
        ids, counts = page(after, claim.counts)
        cursor = ids[-1].bytes if ids else claim.cursor
        advance(connection, claim, cursor=cursor, counts=counts, done=not ids)
    claim.cursor, claim.counts = cursor, counts
    return bool(ids)


def end_run(
    connection: Connection, run: Run, action: str, *, report: dict[str, Any], watch: Stopwatch
) -> None:
    """Write down what a run came to, with it and in our own log, and that it is done."""
    add_own_audit(connection, run_id=run.id, action=action, payload=report)
    runs.note(connection, run.id, seconds=watch.seconds, report=report)
    runs.move(connection, run, RunStatus.DONE)


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
    undo: Callable[[Connection, UUID], Mapping[str, int]],
) -> int:
    """Take a run back whose rows are of one table; return how many of them were.

    `undo` returns what it did to how many, which is written down: `removed`, `restored`.
    """
    with database.engine.connect() as connection, translated():
        with connection.begin():
            run = runs.get_run(connection, reference)
        check_mode(run, mode)
        with leading(connection, run.id), connection.begin():
            runs.move(connection, runs.get_run(connection, str(run.id)), RunStatus.ROLLED_BACK)
            done = undo(connection, run.id)
            told = {"run_id": str(run.id)} | {did: {table: rows} for did, rows in done.items()}
            add_own_audit(
                connection, run_id=None, action=f"rollback_{mode}", subject=run.id, payload=told
            )
    return sum(done.values())
