"""Pauses and cancels runs, whether a process leads them or none is left."""

import time

from backstory.backfill.journey import settle
from backstory.model import RunStatus, RunWish
from backstory.runs import run as runs
from backstory.runs.claim import is_led
from backstory.runs.journey import AFTER_WISH
from backstory.runs.run import Run
from backstory.store.engine import Database, translated

_LOOK_SECONDS = 0.05
_PATIENCE_SECONDS = 3.0


def stop(database: Database, reference: str, wanted: RunWish) -> Run:
    """Ask a run to pause or to cancel, and return it as it stands then.

    A run that a process leads hears the wish between two batches; if it is still running after
    some seconds (it builds an index, say) the wish stands and is heard afterwards. A run that
    nobody leads is moved at once. Raises RunError where the run's state allows no such thing.
    """
    with translated(), database.engine.connect() as connection:
        with connection.begin():
            run = runs.get_run(connection, reference)
            runs.check_way(run, AFTER_WISH[wanted])
            if run.status is RunStatus.RUNNING:
                runs.wish(connection, run, wanted)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with connection.begin():
                run = runs.get_run(connection, str(run.id))
                led = is_led(connection, run.id)
            if run.status is AFTER_WISH[wanted]:
                break
            if not led:
                settle(connection, run, AFTER_WISH[wanted])
            time.sleep(_LOOK_SECONDS)
        with connection.begin():
            return runs.get_run(connection, str(run.id))
