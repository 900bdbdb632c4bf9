"""What conversations come to, in the database: which are to be summed up, and the summaries."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

import orjson
from sqlalchemy import Connection

from backstory.model import MessageKind, Role
from backstory.store.engine import translated
from backstory.store.statements import sql

# Of a longer conversation so many of the last messages are read.
MOST_MESSAGES = 2_000


class Extent(NamedTuple):
    """How many conversations say something, and how many wait for a summary or lose theirs."""

    conversations: int
    pending: int


class Pending(NamedTuple):
    """A conversation to be summed up; `covered` if the summary it has is of all it says now."""

    conversation_id: uuid.UUID
    messages: int
    covered: bool
    made_by: str | None


class Message(NamedTuple):
    """A message as it is summed up: its text, up to 1,000 characters of it."""

    id: uuid.UUID
    role: Role
    kind: MessageKind
    content: str
    attachment_text: str | None
    created_at: datetime


@dataclass(frozen=True)
class Summary:
    """A summary with the stretch of messages that it covers; `left_out` counts those before it."""

    conversation_id: uuid.UUID
    text: str
    made_by: str
    messages: int
    left_out: int
    first_message_id: uuid.UUID
    last_message_id: uuid.UUID
    last_at: datetime


class OfRun(NamedTuple):
    """How many of a run's summaries go, and how many become what they were before it."""

    removed: int
    restored: int


class Covers(NamedTuple):
    """Where a summary comes from."""

    made_by: str
    messages: int
    left_out: int
    first_message_id: uuid.UUID
    last_message_id: uuid.UUID
    last_at: datetime
    run_id: uuid.UUID | None
    created_at: datetime


def extent(connection: Connection, made_by: str, *, only: uuid.UUID | None = None) -> Extent:
    """Return how much there is to sum up, by a version, in all or in one conversation."""
    asked = {"made_by": made_by, "only": only}
    with translated():
        return Extent(*connection.execute(sql("summaries_extent"), asked).one())


def pending(
    connection: Connection,
    made_by: str,
    *,
    after: uuid.UUID,
    limit: int,
    only: uuid.UUID | None = None,
) -> list[Pending]:
    """Return the next conversations to sum up whose ids lie behind `after`."""
    asked = {"made_by": made_by, "only": only, "after": after, "limit": limit}
    with translated():
        return [Pending(*row) for row in connection.execute(sql("next_to_summarize"), asked)]


def messages(connection: Connection, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, list[Message]]:
    """Return the last messages of some conversations, in order, by conversation."""
    asked = {"ids": list(ids), "most": MOST_MESSAGES}
    with translated():
        rows = connection.execute(sql("messages_to_summarize"), asked)
        return {
            conversation: [
                Message(
                    row.id,
                    Role(row.role),
                    MessageKind(row.kind),
                    row.content,
                    row.attachment_text,
                    row.created_at,
                )
                for row in some
            ]
            for conversation, some in groupby(rows, key=lambda row: row.conversation_id)
        }


def save(connection: Connection, made: Sequence[Summary], *, run_id: uuid.UUID) -> int:
    """Keep summaries, and remember those of other runs that they replace; return how many.

    One whose messages went meanwhile, or whose conversation another writer is changing at this
    moment, is left out: it is still pending.
    """
    written = orjson.dumps([asdict(each) for each in made]).decode()
    with translated():
        saved = connection.execute(sql("save_summaries"), {"rows": written, "run_id": run_id})
    return saved.rowcount


def forget(connection: Connection, ids: Sequence[uuid.UUID]) -> int:
    """Let the summaries of conversations go that say nothing any more; return how many went."""
    with translated():
        return connection.execute(sql("forget_summaries"), {"ids": list(ids)}).rowcount


def covers(connection: Connection, conversation_id: uuid.UUID) -> Covers | None:
    """Return what a conversation's summary covers, None if it has none."""
    asked = {"conversation_id": conversation_id}
    with translated():
        row = connection.execute(sql("summary_of"), asked).one_or_none()
    return Covers(*row) if row else None


def of_run(connection: Connection, run_id: uuid.UUID) -> OfRun:
    """Return what taking a run back would do to the summaries that it has left."""
    with translated():
        left: int = connection.execute(sql("summaries_of_run"), {"run_id": run_id}).scalar_one()
        restored = len(_replaced(connection, run_id))
    return OfRun(left - restored, restored)


def remove_run(connection: Connection, run_id: uuid.UUID) -> OfRun:
    """Take a run's summaries away, and give back those it replaced that are still true.

    Where another run replaced a summary of this one since, that run inherits what was there before.
    """
    asked = {"run_id": run_id}
    with translated():
        ids = _replaced(connection, run_id)
        connection.execute(sql("hand_down_summaries"), asked)
        connection.execute(sql("restore_summaries"), asked | {"ids": ids})
        removed = connection.execute(sql("remove_summaries_of_run"), asked).rowcount
        connection.execute(sql("forget_changes"), asked)
    return OfRun(removed, len(ids))


def _replaced(connection: Connection, run_id: uuid.UUID) -> list[uuid.UUID]:
    return list(connection.execute(sql("replaced_by_run"), {"run_id": run_id}).scalars())
