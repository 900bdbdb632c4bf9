"""Hears what is wished of a run where no partition is claimed: between the steps of a long work."""

import time
from collections.abc import Callable
from uuid import UUID

from sqlalchemy import Connection

from backstory.errors import Interrupted, RunError
from backstory.model import RunStatus
from backstory.runs import run as runs

_HEED_SECONDS = 0.3


def heed(connection: Connection, run_id: UUID) -> None:
    """Raise Interrupted if the run is asked to pause or to stop, RunError if it has ended.

    Inside a transaction too: what another session has wished since it began is seen.
    """
    run = runs.get_run(connection, str(run_id))
    if run.status is not RunStatus.RUNNING:
        raise RunError(f"Run {runs.short_id(run_id)} is {run.status} by now.")
    if run.wish is not None:
        raise Interrupted(run.wish)


def heeding(connection: Connection, run_id: UUID) -> Callable[[], None]:
    """Return what does the same in the open transaction, and is cheap to call again and again."""
    heeded = time.monotonic()

    def look() -> None:
        nonlocal heeded
        if time.monotonic() - heeded > _HEED_SECONDS:
            heed(connection, run_id)
            heeded = time.monotonic()

    return look
