"""How worker processes are started: forked from a clean process that has imported what they do."""

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

_WORK = "backstory.backfill.work"


def prepare(workers: int) -> None:
    """Let the imports of worker processes begin now, beside whatever is done before they start."""
    if workers > 1:
        worker_context()
        forkserver.ensure_running()


def worker_context() -> ForkServerContext:
    """Return what makes worker processes."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload([_WORK])
    return made
