"""What may stand on a run and block its rollback: how that is counted, how force removes it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from backstory.runs.run import short_id
from backstory.store.statements import sql


@dataclass(frozen=True)
class Obstacle:
    """A kind of row that may stand on a run's rows.

    What `counted_by` counts, by the run that made it, is what `removed_by` removes; None: that
    goes with the run anyway. `tables` are those in which the ledger of that run counts the rows,
    `named_by` tells what people know some of the rows by, or their leads.
    """

    name: str
    words: str
    counted_by: str
    removed_by: str | None
    tables: tuple[str, ...] = ()
    named_by: str | None = None


# In the order in which force removes them: what names a row goes before the row.
OBSTACLES: tuple[Obstacle, ...] = (
    Obstacle("confirmations", "confirmations", "blocking_confirmations", "remove_confirmations"),
    Obstacle(
        "notes",
        "memory notes that a person confirmed or rejected, or that are of what else stands here",
        "blocking_notes",
        "remove_notes",
        named_by="names_of_notes",
    ),
    Obstacle(
        "tool_calls",
        "calls of agents' tools that wrote something",
        "blocking_tool_calls",
        "remove_tool_calls",
    ),
    Obstacle(
        "jobs",
        "jobs with their items and events",
        "blocking_jobs",
        "remove_jobs",
        named_by="names_of_jobs",
    ),
    Obstacle(
        "addresses",
        "addresses",
        "blocking_addresses",
        "remove_addresses",
        named_by="names_of_addresses",
    ),
    Obstacle(
        "claims",
        "identities that customers claimed",
        "blocking_claims",
        "remove_claims",
        named_by="names_of_claims",
    ),
    Obstacle(
        "conflicts",
        "records that lost against its own",
        "blocking_conflicts",
        "remove_conflicts_of_others",
        ("conflicts",),
    ),
    Obstacle(
        "messages",
        "messages in its conversations",
        "blocking_messages",
        "remove_messages_of_others",
        ("messages", "audit_log"),
        named_by="names_of_messages",
    ),
    Obstacle(
        "conversations",
        "conversations with its leads",
        "blocking_conversations",
        "remove_conversations_of_others",
        ("conversations",),
        named_by="names_of_conversations",
    ),
    Obstacle("retries", "records it had quarantined", "blocking_retries", None),
)

_NAMED = 5
_NAME_CHARS = 40
_WRITTEN_BY_RUNS = frozenset({"messages", "conversations"})


@dataclass(frozen=True)
class Blocker:
    """Rows in the way; where they are another run's, `run_id` is the one to roll back first.

    `names` are what people know some of them by, or their leads, where they have any.
    """

    name: str
    count: int
    run_id: UUID | None
    sentence: str
    names: tuple[str, ...] = ()


def blockers(connection: Connection, values: Mapping[str, Any]) -> list[Blocker]:
    """Return what stands on a run; `values` name the run and the customers who leave with it."""
    return [
        _blocker(connection, obstacle, row, values)
        for obstacle in OBSTACLES
        for row in connection.execute(sql(obstacle.counted_by), values).all()
        if row.rows
    ]


def _blocker(
    connection: Connection, obstacle: Obstacle, row: Any, values: Mapping[str, Any]
) -> Blocker:
    names: list[str] = []
    if obstacle.named_by:
        asked = {**values, "by": row.run_id, "limit": _NAMED + 1}
        names = [
            _short(name) for name in connection.execute(sql(obstacle.named_by), asked).scalars()
        ]
    sentence = _sentence(obstacle, row.rows, row.run_id, names)
    return Blocker(obstacle.name, row.rows, row.run_id, sentence, tuple(names[:_NAMED]))


def _short(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= _NAME_CHARS else f"{line[: _NAME_CHARS - 1].rstrip()}…"


def _sentence(obstacle: Obstacle, count: int, run_id: UUID | None, names: Sequence[str]) -> str:
    more = ", …" if len(names) > _NAMED else ""
    beside = [", ".join(names[:_NAMED]) + more] if names else []
    words = obstacle.words
    if run_id is not None:
        words += f", of run {short_id(run_id)}"
        beside.append(f"`backstory rollback {short_id(run_id)}` first")
    elif obstacle.name in _WRITTEN_BY_RUNS:
        words = f"live {words}"
    said = f"{words}: {count:,}" + (f" ({'; '.join(beside)})." if beside else ".")
    return said[0].upper() + said[1:]


def forced(standing: Iterable[Blocker]) -> dict[str, int]:
    """Return how many rows of which kind force removes beside the run's own."""
    removable = {obstacle.name for obstacle in OBSTACLES if obstacle.removed_by}
    total: dict[str, int] = {}
    for blocker in standing:
        if blocker.name in removable:
            total[blocker.name] = total.get(blocker.name, 0) + blocker.count
    return total


def remove_obstacles(connection: Connection, values: Mapping[str, Any]) -> dict[str, int]:
    """Delete what stands on the run; return how many rows of which kind.

    Runs that lose rows are told how many: their sums still come out.
    """
    found: dict[str, int] = {}
    for obstacle in OBSTACLES:
        if obstacle.removed_by is None:
            continue
        done = connection.execute(sql(obstacle.removed_by), {**values, "seen": False})
        if obstacle.tables:
            rows = done.all()
            found[obstacle.name] = sum(row.rows for row in rows)
            _note_taken_away(connection, obstacle, rows)
        else:
            found[obstacle.name] = done.rowcount
    return {name: count for name, count in found.items() if count}


def _note_taken_away(connection: Connection, obstacle: Obstacle, rows: Iterable[Any]) -> None:
    for row in rows:
        if row.run_id is not None:
            connection.execute(
                sql("note_taken_away"),
                {"run_id": row.run_id, "tables": list(obstacle.tables), "rows": row.rows},
            )
