"""How worker processes are started: forked from a clean process that has imported what they do."""

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

# What they do, by the names of modules: who prepares for it need not have imported it.
BACKFILL = "backstory.backfill.work"
TOOLS = "backstory.tools.workers"


def prepare(work: str) -> None:
    """Let the imports of worker processes begin now, beside whatever is done before they start."""
    worker_context(work)
    forkserver.ensure_running()


def worker_context(work: str) -> ForkServerContext:
    """Return what makes processes for this work."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload([work])
    return made
