"""Workers: processes that claim a run's partitions one after another until none is left.

With one worker the work is done here; with more, each is a process of its own with its own
connection, and this process watches them. A worker that dies leaves its claim to the others.
"""

import multiprocessing
import signal
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from ctypes import Array, c_bool, c_longlong
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection

from backstory.audit.source import Segment
from backstory.backfill.counts import Counts
from backstory.backfill.execute import Writer, heed
from backstory.backfill.order import later_records
from backstory.backfill.read import ReadTask, read_segment
from backstory.backfill.spill import Spill
from backstory.errors import BackstoryError, Interrupted, LeaseLost, RunError
from backstory.model import PartitionStage, RunWish
from backstory.processes import BACKFILL, worker_context
from backstory.runs.claim import Claim, advance, claim_next, release
from backstory.runs.progress import Stopwatch
from backstory.store.engine import open_engine, translated
from backstory.store.statements import sql

_HEED_SECONDS = 0.3
_WATCH_SECONDS = 0.1


@dataclass(frozen=True)
class Work:
    """All a worker process needs for one stage of a run; picklable."""

    url: str
    schema: str
    run_id: uuid.UUID
    stage: PartitionStage
    task: ReadTask
    segments: Sequence[Segment]
    listed: bool
    retry_options: Mapping[str, Any]
    first_load: bool


Told = Callable[[int], None]


def do_work(work: Work, told: Told) -> None:
    """Claim and do partitions of one stage until nobody has any left to claim.

    `told` gets the number of records read or committed since the last time. Raises Interrupted,
    or whatever stops a partition.
    """
    engine = open_engine(work.url, work.schema, pool_size=1)
    try:
        with translated(), engine.connect() as connection:
            try:
                while claim := _claim(connection, work):
                    # A worker that was thought dead leaves the partition to who has it now.
                    with suppress(LeaseLost):
                        _do_partition(connection, work, claim, told)
            finally:
                _let_go(connection, work.run_id)
    finally:
        engine.dispose()


def _claim(connection: Connection, work: Work) -> Claim | None:
    with connection.begin():
        return claim_next(connection, work.run_id, work.stage)


def _let_go(connection: Connection, run_id: uuid.UUID) -> None:
    """Give claims back, as far as the connection still lives; their lease ends otherwise."""
    if connection.closed or connection.invalidated:
        return
    connection.rollback()
    with connection.begin():
        release(connection, run_id)


def _do_partition(connection: Connection, work: Work, claim: Claim, told: Told) -> None:
    if work.stage is PartitionStage.READ:
        _read(connection, work, claim, told)
        return
    spill = Spill(work.task.spill, work.task.partitions)
    writer = Writer(
        connection=connection,
        run_id=work.run_id,
        log=work.task.log,
        sources=work.task.sources,
        listed=work.listed,
        retry_options=work.retry_options,
        line_rules=work.task.lines.name,
        first_load=work.first_load,
        committed=lambda counts: told(counts["records"]),
        begin=connection.begin,
    )
    writer.write_partition(
        claim,
        lambda: spill.taken(claim.number),
        later_records(spill, claim.number),
        spill.left(claim.number),
    )


def _read(connection: Connection, work: Work, claim: Claim, told: Told) -> None:
    before = 0
    heeded = time.monotonic()

    def tick(count: int) -> None:
        nonlocal before, heeded
        told(count - before)
        before = count
        if time.monotonic() - heeded > _HEED_SECONDS:
            with connection.begin():
                heed(connection, claim)
            heeded = time.monotonic()

    segment = work.segments[claim.number]
    found = read_segment(work.task, segment, fence=claim.fence, tick=tick)
    counts: Counts = asdict(found) | {"records": found.records_read}
    told(found.records_read - before)
    with connection.begin():
        advance(connection, claim, cursor=b"", counts=counts, done=True)


# --- processes -------------------------------------------------------------------------------


def share_out(work: Work, workers: int, told: Told) -> None:
    """Do one stage with so many workers; `told` gets the total of records done so far.

    Raises Interrupted when the run was asked to stop, RunError when workers died and left work.
    """
    if workers == 1:
        total = 0

        def add(more: int) -> None:
            nonlocal total
            total += more
            told(total)

        do_work(work, add)
        return
    _watch(work, workers, told)


def _watch(work: Work, workers: int, told: Told) -> None:
    context = worker_context(*BACKFILL)
    # Without a lock, which a worker could take with it when it is killed: each has its own place.
    done = context.RawArray(c_longlong, workers)
    stopping = context.RawValue(c_bool)
    errors = context.SimpleQueue()
    processes = [
        context.Process(
            target=_worker,
            args=(work, number, done, errors, stopping),
            name=f"backstory-{work.stage}-{number}",
        )
        for number in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        while any(process.is_alive() for process in processes):
            told(sum(done[:]))
            time.sleep(_WATCH_SECONDS)
    finally:
        # After an interrupt here; otherwise nobody is alive to hear it.
        stopping.value = True
        for process in processes:
            process.join()
    told(sum(done[:]))
    while not errors.empty():
        raise errors.get()


def _worker(
    work: Work,
    number: int,
    done: "Array[c_longlong]",
    errors: Any,
    stopping: c_bool,
) -> None:
    """Run in a process of its own; a keyboard interrupt is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Not the process that forked this one: that is the server, which lives on with its children.
    parent = multiprocessing.parent_process()

    def told(more: int) -> None:
        if parent is not None and not parent.is_alive():
            raise RunError("The process that started this worker is gone.")
        if stopping.value:
            raise Interrupted(RunWish.PAUSE)
        done[number] += more

    try:
        do_work(work, told)
    except BackstoryError as stopped:
        errors.put(stopped)


def finish_stage(connection: Connection, work: Work, workers: int, watch: Stopwatch) -> None:
    """Do a stage to its end, whoever dies on the way; raise RunError if no progress is made."""
    after = _progress(connection, work)
    watch.go_on_from(after.records)
    while after.done < after.partitions:
        before = after
        share_out(work, workers, lambda more, there=before.records: watch.tell(there + more))  # type: ignore[misc]  # bound early on purpose
        after = _progress(connection, work)
        if (after.done, after.records) == (before.done, before.records) and not after.held:
            raise RunError(
                "The workers of this run died without finishing anything: "
                f"look at their output, then `backstory resume {str(work.run_id)[:8]}`."
            )
        if after.held:
            time.sleep(_WATCH_SECONDS)


def _progress(connection: Connection, work: Work) -> Any:
    with connection.begin():
        values = {"run_id": work.run_id, "stage": work.stage}
        return connection.execute(sql("stage_progress"), values).one()
