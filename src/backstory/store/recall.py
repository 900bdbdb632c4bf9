"""What a recall reads of one customer: how much there is, every turn, the texts of the best."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from backstory.store.engine import translated
from backstory.store.statements import sql


class Extent(NamedTuple):
    """How many messages a customer has, their mean length in words, and who wrote them."""

    messages: int
    mean_length: float
    authors: list[str]


class TurnRow(NamedTuple):
    """A message without its text; `counts` tells how often each word asked for is in it."""

    id: uuid.UUID
    conversation_id: uuid.UUID
    created_at: datetime
    author: str | None
    role: str
    length: int
    asks: bool
    ends_asking: bool
    counts: Mapping[str, int]


class Said(NamedTuple):
    """What a message says."""

    content: str
    attachment_text: str | None


def extent(connection: Connection, customer_id: uuid.UUID) -> Extent:
    """Return how much there is of a customer."""
    with translated():
        row = connection.execute(sql("recall_scope"), {"customer_id": customer_id}).one()
    return Extent(row.messages, row.length, row.authors or [])


def words(connection: Connection, texts: Sequence[str]) -> list[dict[str, int]]:
    """Return the words of each text as the index reads them, with how often they occur."""
    found: list[dict[str, int]] = [{} for _ in texts]
    with translated():
        for row in connection.execute(sql("recall_words"), {"texts": list(texts)}):
            found[row.number][row.lexeme] = row.count
    return found


def turns(
    connection: Connection, customer_id: uuid.UUID, wanted: Sequence[str]
) -> Iterator[TurnRow]:
    """Return every message of a customer, conversation by conversation, in order."""
    asked = {"customer_id": customer_id, "words": list(wanted), "any_word": _any_of(wanted)}
    with translated():
        for row in connection.execute(sql("recall_all_turns"), asked):
            yield TurnRow._make((*row[:8], _counts(row.counts, wanted)))


def texts(
    connection: Connection, customer_id: uuid.UUID, ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, Said]:
    """Return what some messages of a customer say, by id."""
    asked = {"customer_id": customer_id, "ids": list(ids)}
    with translated():
        rows = connection.execute(sql("recall_texts"), asked)
        return {row.id: Said(row.content, row.attachment_text) for row in rows}


def _any_of(wanted: Sequence[str]) -> str:
    """Return a tsquery that matches any of these words of an index."""
    return " | ".join("'" + word.replace("\\", "\\\\").replace("'", "''") + "'" for word in wanted)


def _counts(packed: str | None, wanted: Sequence[str]) -> dict[str, int]:
    """Read `2:4 5:1`: the second word four times, the fifth once."""
    pairs = (each.partition(":") for each in (packed.split() if packed else ()))
    return {wanted[int(number) - 1]: int(count) for number, _, count in pairs}
