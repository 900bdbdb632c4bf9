"""How worker processes are started: forked from a clean process that has imported what they do."""

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

# What they do, by the names of modules: who prepares for it need not have imported them.
BACKFILL = ("backstory.backfill.work",)
TOOLS = ("backstory.app", "backstory.tools.workers")


def prepare(*work: str) -> None:
    """Let the imports of worker processes begin now, beside whatever is done before they start."""
    worker_context(*work)
    forkserver.ensure_running()


def worker_context(*work: str) -> ForkServerContext:
    """Return what makes processes for this work."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(list(work))
    return made


@contextmanager
def out_of_reach() -> Iterator[None]:
    """Let what is started within not end by a SIGTERM that goes to all processes of a service.

    Who started it ends it; and who forks from it is told how those end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
