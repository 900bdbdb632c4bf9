"""Claims on a run's partitions: a lease, and a fencing token that a late writer cannot forge.

A claim ends when its lease expires or when the database session that made it is gone, whichever
comes first. Whoever claims next raises the fence, and every write names the fence it was made
under, so a worker that was thought dead writes nothing any more.
"""

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection

from backstory.errors import LeaseLost, RunError
from backstory.model import PartitionStage, PartitionStatus, RunStatus, RunWish
from backstory.runs.run import Run
from backstory.store.statements import sql

LEASE = "30 seconds"


@dataclass
class Claim:
    """A partition held by this worker; `counts` are what is committed of it so far."""

    run_id: uuid.UUID
    stage: PartitionStage
    number: int
    fence: int
    cursor: bytes
    counts: dict[str, Any] = field(default_factory=dict)

    @property
    def _key(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "stage": self.stage,
            "number": self.number,
            "fence": self.fence,
            "lease": LEASE,
        }


@contextmanager
def leading(connection: Connection, run_id: uuid.UUID) -> Iterator[None]:
    """Lead a run over this session; raise RunError if a living process leads it already."""
    with connection.begin():
        held = connection.execute(sql("hold_run"), {"run_id": str(run_id)}).scalar_one()
    if not held:
        raise RunError(f"Run {str(run_id)[:8]} is being worked on by another process.")
    try:
        yield
    finally:
        # A session that is gone has let go already.
        if not connection.closed and not connection.invalidated:
            connection.rollback()
            with connection.begin():
                connection.execute(sql("let_run_go"), {"run_id": str(run_id)})


def is_led(connection: Connection, run_id: uuid.UUID) -> bool:
    """Return whether a living process leads the run."""
    led: bool = connection.execute(sql("is_run_led"), {"run_id": str(run_id)}).scalar_one()
    return led


def is_interrupted(connection: Connection, run: Run) -> bool:
    """Return whether a run is said to be running and nobody leads it: its process was killed."""
    return run.status is RunStatus.RUNNING and not is_led(connection, run.id)


def claim_next(connection: Connection, run_id: uuid.UUID, stage: PartitionStage) -> Claim | None:
    """Claim a partition that nobody works on; None if there is none now."""
    row = connection.execute(
        sql("claim_partition"),
        {
            "run_id": run_id,
            "stage": stage,
            "lease": LEASE,
            "worker": f"{socket.gethostname()}:{os.getpid()}",
        },
    ).one_or_none()
    if row is None:
        return None
    return Claim(run_id, stage, row.number, row.fence, bytes(row.cursor), dict(row.counts))


def advance(
    connection: Connection, claim: Claim, *, cursor: bytes, counts: dict[str, Any], done: bool
) -> None:
    """Move a claim on, in the transaction of the rows that `counts` includes.

    Raises LeaseLost if somebody else holds the partition by now: the transaction must not commit.
    """
    moved = connection.execute(
        sql("advance_partition"),
        {
            **claim._key,  # noqa: SLF001 - same module
            "cursor": cursor,
            "counts": orjson.dumps(counts).decode(),
            "status": PartitionStatus.DONE if done else PartitionStatus.CLAIMED,
        },
    )
    if moved.rowcount != 1:
        raise LeaseLost(f"Partition {claim.number} was taken over by another worker.")


def renew(connection: Connection, claim: Claim) -> RunWish | None:
    """Keep a claim alive and return what is wished of the run.

    Raises LeaseLost if somebody else holds the partition by now, RunError if the run has ended.
    """
    row = connection.execute(sql("renew_lease"), claim._key).one_or_none()  # noqa: SLF001 - same module
    if row is None:
        raise LeaseLost(f"Partition {claim.number} was taken over by another worker.")
    if row.status != RunStatus.RUNNING:
        raise RunError(f"Run {str(claim.run_id)[:8]} is {row.status} by now.")
    return RunWish(row.wish) if row.wish else None


def release(connection: Connection, run_id: uuid.UUID) -> None:
    """Give back every partition of the run that this connection holds."""
    connection.execute(sql("release_partitions"), {"run_id": run_id})
