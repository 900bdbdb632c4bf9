"""What a recall reads of one customer: how much there is, its turns as columns, the best texts."""

import sys
import uuid
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntFlag
from typing import Any, NamedTuple

from sqlalchemy import Connection

from backstory.store.embeddings import as_halfvec
from backstory.store.engine import translated
from backstory.store.pipeline import Step, pipelined
from backstory.store.statements import sql

# The database counts microseconds from 2000 on.
_MICRO = 1_000_000
_SINCE = 946_684_800 * _MICRO


class Author(NamedTuple):
    """Who wrote some of a customer's messages: how many, their words, the name in index words."""

    name: str | None
    messages: int
    length: int
    words: list[str]


class TurnFlag(IntFlag):
    """What is known of a turn without its text.

    `OPENS` a conversation; `APART`: the turn before it in the conversation is not the one listed
    before it; `ASKS` somewhere; `ENDS_ASKING`; `SPEAKS`: it is by the speaker asked for; `EVENT`:
    nobody said it; `TALK`: it is of the talk that is going on.
    """

    OPENS = 1
    APART = 2
    ASKS = 4
    ENDS_ASKING = 8
    SPEAKS = 16
    EVENT = 32
    TALK = 64


class Talk(NamedTuple):
    """The talk that is going on: what was said in a conversation since a moment."""

    conversation_id: uuid.UUID
    since: datetime


@dataclass(frozen=True)
class Columns:
    """Turns, conversation by conversation, in order; the lists but the last are equally long.

    `ids` has 16 bytes for each, `moments` are seconds since 1970, `lengths` count index words,
    `authors` are None where nobody is named, `postings` are (turn, word) by number.
    """

    ids: bytes
    moments: list[float]
    lengths: list[int]
    flags: list[int]
    authors: list[str | None]
    roles: list[str]
    postings: list[tuple[int, int]]

    def key(self, number: int) -> bytes:
        """Return the bytes of a turn's id."""
        return self.ids[16 * number : 16 * number + 16]

    def id(self, number: int) -> uuid.UUID:
        """Return the id of a turn."""
        return uuid.UUID(bytes=self.key(number))

    def asked_for(self, listed: Sequence[str], words: Sequence[str]) -> "Columns":
        """Return the turns with postings by number in `words`, not in the list that was read."""
        places = {word: place for place, word in enumerate(words)}
        postings = [
            (turn, places[listed[word]]) for turn, word in self.postings if listed[word] in places
        ]
        return replace(self, postings=postings)

    def heard(self, speaker: str | None) -> "Columns":
        """Return the turns with those marked that are by an author or a role of this name."""
        if speaker is None:
            return self
        marked = int(TurnFlag.SPEAKS)
        flags = [
            flag | marked if speaker in (author, role) else flag
            for flag, author, role in zip(self.flags, self.authors, self.roles, strict=True)
        ]
        return replace(self, flags=flags)


class Story(NamedTuple):
    """What a question is read by, and all that it is asked of, if that is not too much.

    `asked` are the words of the question as the index has them, the longest first, `beside` those
    of other texts, `names` those of each author's name. `turns` has the postings of the words in
    `asked`, by their number there. It is None, and `names` and `cosines` are empty, if the customer
    has more messages than were wanted.
    """

    asked: list[str]
    beside: list[list[str]]
    names: dict[str, list[str]]
    turns: Columns | None
    cosines: dict[bytes, float]


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
    talk: Talk | None = None

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that the statements share."""
        return {
            "customer_id": self.customer_id,
            "words": [_query(word) for word in self.words],
            "stems": [word.rstrip("i") for word in self.words],
            "any_word": " | ".join(_query(word) for word in self.words),
            "speaker": self.speaker,
            **_talk(self.talk),
        }


def authors(connection: Connection, customer_id: uuid.UUID) -> list[Author]:
    """Return who wrote a customer's messages, and how much; None for those without an author."""
    with translated():
        rows = connection.execute(sql("recall_extent"), {"customer_id": customer_id})
        return [Author(*row) for row in rows]


def story(
    connection: Connection,
    customer_id: uuid.UUID,
    text: str,
    *,
    beside: Sequence[str],
    meaning: Meaning | None,
    talk: Talk | None,
    most: int,
    most_words: int,
) -> Story:
    """Read a question, and every turn of a customer with up to `most` messages, in one round trip.

    With a `meaning` also how near messages are to it, by the bytes of their ids.
    """
    of = {"customer_id": customer_id, "most": most}
    asked = of | {"text": text, "most_words": most_words} | _talk(talk)
    steps: list[Step] = [("recall_story", asked)]
    if beside:
        steps.append(("recall_words", {"texts": list(beside)}))
    if meaning is not None:
        steps.append(("recall_meanings", of | _meaning(meaning)))
    (row,), *others = pipelined(connection, steps, binary=True)
    return Story(
        asked=row.asked or [],
        beside=[each.words for each in others[0]] if beside else [],
        names=row.names or {},
        turns=None if row.messages > most else _columns(row),
        cosines={} if meaning is None else _cosines(others[-1][0]),
    )


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
    [[row]] = pipelined(connection, [("recall_turns_around", asked)], binary=True)
    return _columns(row)


def cosines(
    connection: Connection, wanted: Wanted, meaning: Meaning, ids: Iterable[uuid.UUID]
) -> dict[bytes, float]:
    """Return how near some messages are in meaning, by the bytes of their ids."""
    asked = {"customer_id": wanted.customer_id, "ids": list(ids)} | _meaning(meaning)
    [[row]] = pipelined(connection, [("recall_meanings_of", asked)], binary=True)
    return _cosines(row)


def best_by_meaning(
    connection: Connection, wanted: Wanted, meaning: Meaning, *, limit: int
) -> Nearest:
    """Return the messages nearest in meaning, exactly."""
    asked = {"customer_id": wanted.customer_id, "limit": limit} | _meaning(meaning)
    with translated():
        row = connection.execute(sql("recall_best_by_meaning"), asked).one()
    return Nearest(row.ids, row.mean or 0.0, row.deviation or 0.0)


def texts(
    connection: Connection, customer_id: uuid.UUID, turns: Columns, numbers: Sequence[int]
) -> dict[int, Said]:
    """Return what some turns of a customer say, by number, but for what is gone meanwhile."""
    ids = turns.ids.hex()
    listed = ",".join(ids[32 * number : 32 * number + 32] for number in numbers)
    asked = {"customer_id": customer_id, "ids": f"{{{listed}}}"}
    [rows] = pipelined(connection, [("recall_texts", asked)], binary=True)
    return {numbers[row.place]: Said(*row[1:]) for row in rows}


def _talk(talk: Talk | None) -> dict[str, Any]:
    if talk is None:
        return {"talk": None, "talk_since": None}
    return {"talk": talk.conversation_id, "talk_since": talk.since}


def _meaning(meaning: Meaning) -> dict[str, Any]:
    return {"model": meaning.model, "vector": as_halfvec(meaning.vector)}


def _cosines(row: Any) -> dict[bytes, float]:
    packed, found = row.ids or b"", row.cosines or []
    return {packed[16 * place : 16 * place + 16]: near for place, near in enumerate(found)}


def _columns(row: Any) -> Columns:
    return Columns(
        row.ids or b"",
        _moments(row.moments or b""),
        row.lengths or [],
        row.flags or [],
        row.authors or [],
        row.roles or [],
        list(zip(row.turns or [], row.words or [], strict=True)),
    )


def _moments(packed: bytes) -> list[float]:
    """Return timestamps, as the database sends them, in seconds since 1970."""
    ticks = array("q", packed)
    if sys.byteorder == "little":
        ticks.byteswap()
    return [(tick + _SINCE) / _MICRO for tick in ticks]


def _query(word: str) -> str:
    """Return the tsquery that a word of the index matches."""
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"
