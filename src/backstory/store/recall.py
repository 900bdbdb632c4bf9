"""What a recall reads of one customer: how much there is, its turns as columns, the best texts."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntFlag
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping

from backstory.store.embeddings import as_halfvec
from backstory.store.engine import translated
from backstory.store.statements import sql


class Author(NamedTuple):
    """Who wrote some of a customer's messages: how many, their words, the name in index words."""

    name: str | None
    messages: int
    length: int
    words: list[str]


class TurnFlag(IntFlag):
    """What is known of a turn without its text.

    `OPENS` a conversation; `APART`: the turn before it in the conversation is not the one listed
    before it; `ASKS` somewhere; `ENDS_ASKING`; `SPEAKS`: it is by the speaker asked for.
    """

    OPENS = 1
    APART = 2
    ASKS = 4
    ENDS_ASKING = 8
    SPEAKS = 16


@dataclass(frozen=True)
class Columns:
    """Turns, conversation by conversation, in order; the lists but the last are equally long.

    `ids` has 16 bytes for each, `moments` are seconds since 1970, `lengths` count index words,
    `postings` are (turn, word) by number.
    """

    ids: bytes
    moments: list[float]
    lengths: list[int]
    flags: list[int]
    postings: list[tuple[int, int]]

    def id(self, number: int) -> uuid.UUID:
        """Return the id of a turn."""
        return uuid.UUID(bytes=self.ids[16 * number : 16 * number + 16])


class Best(NamedTuple):
    """The best messages by words alone, and how many messages have each word."""

    ids: list[uuid.UUID]
    frequency: dict[str, int]


class Meaning(NamedTuple):
    """A question as a vector of a model whose vectors are stored."""

    model: str
    vector: Sequence[float]


class Nearest(NamedTuple):
    """The messages nearest in meaning; the mean cosine of all messages, and its deviation."""

    ids: list[uuid.UUID]
    mean: float
    deviation: float


class Said(NamedTuple):
    """What a message says, and where."""

    conversation_id: uuid.UUID
    created_at: datetime
    content: str
    attachment_text: str | None


@dataclass(frozen=True)
class Wanted:
    """What is looked for in whom: `words` as the index has them, `speaker` an author or a role."""

    customer_id: uuid.UUID
    words: tuple[str, ...]
    speaker: str | None

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that the statements share."""
        return {
            "customer_id": self.customer_id,
            "words": [_query(word) for word in self.words],
            "any_word": " | ".join(_query(word) for word in self.words),
            "speaker": self.speaker,
        }


def authors(connection: Connection, customer_id: uuid.UUID) -> list[Author]:
    """Return who wrote a customer's messages, and how much; None for those without an author."""
    with translated():
        rows = connection.execute(sql("recall_extent"), {"customer_id": customer_id})
        return [Author(*row) for row in rows]


def words(connection: Connection, texts: Sequence[str]) -> list[list[str]]:
    """Return the words of each text as the index reads them."""
    with translated():
        return list(connection.execute(sql("recall_words"), {"texts": list(texts)}).scalars())


def all_turns(connection: Connection, wanted: Wanted) -> Columns:
    """Return every turn of a customer."""
    with translated():
        row = connection.execute(sql("recall_all_turns"), wanted.parameters()).mappings().one()
    return _columns(row)


def best_by_words(
    connection: Connection, wanted: Wanted, *, limit: int, **statistics: float
) -> Best:
    """Return the best messages by BM25; `statistics` are messages, mean_length, k1 and b."""
    asked = wanted.parameters() | statistics | {"limit": limit}
    with translated():
        row = connection.execute(sql("recall_best_by_words"), asked).one()
    found = zip(row.words, row.frequencies, strict=True)
    return Best(row.ids, {wanted.words[number]: messages for number, messages in found})


def latest(
    connection: Connection,
    wanted: Wanted,
    *,
    limit: int,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[uuid.UUID]:
    """Return the latest messages of the speaker, or of anyone if there is none."""
    asked = wanted.parameters() | {"since": since, "until": until, "limit": limit}
    with translated():
        return list(connection.execute(sql("recall_latest"), asked).scalars())


def turns_around(
    connection: Connection, wanted: Wanted, ids: Iterable[uuid.UUID], *, reach: int
) -> Columns:
    """Return some turns with up to `reach` neighbours on either side."""
    asked = wanted.parameters() | {"ids": list(ids), "reach": reach}
    with translated():
        row = connection.execute(sql("recall_turns_around"), asked).mappings().one()
    return _columns(row)


def cosines(
    connection: Connection,
    wanted: Wanted,
    meaning: Meaning,
    ids: Iterable[uuid.UUID] | None = None,
) -> dict[bytes, float]:
    """Return how near messages are in meaning, by the bytes of their ids; None: all of them."""
    asked = _meaning(wanted, meaning) | {"ids": None if ids is None else list(ids)}
    with translated():
        row = connection.execute(sql("recall_meanings"), asked).one()
    packed, found = bytes(row.ids or b""), row.cosines or []
    return {packed[16 * place : 16 * place + 16]: near for place, near in enumerate(found)}


def best_by_meaning(
    connection: Connection, wanted: Wanted, meaning: Meaning, *, limit: int
) -> Nearest:
    """Return the messages nearest in meaning, exactly."""
    asked = _meaning(wanted, meaning) | {"limit": limit}
    with translated():
        row = connection.execute(sql("recall_best_by_meaning"), asked).one()
    return Nearest(row.ids, row.mean or 0.0, row.deviation or 0.0)


def _meaning(wanted: Wanted, meaning: Meaning) -> dict[str, Any]:
    vector = as_halfvec(meaning.vector)
    return {"customer_id": wanted.customer_id, "model": meaning.model, "vector": vector}


def texts(
    connection: Connection, customer_id: uuid.UUID, ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, Said]:
    """Return what some messages of a customer say, by id."""
    asked = {"customer_id": customer_id, "ids": list(ids)}
    with translated():
        return {row[0]: Said(*row[1:]) for row in connection.execute(sql("recall_texts"), asked)}


def _columns(row: RowMapping) -> Columns:
    return Columns(
        bytes(row["ids"] or b""),
        row["moments"] or [],
        row["lengths"] or [],
        row["flags"] or [],
        list(zip(row["turns"] or [], row["words"] or [], strict=True)),
    )


def _query(word: str) -> str:
    """Return the tsquery that a word of the index matches."""
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"
