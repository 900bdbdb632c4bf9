"""Recall inside one customer: all of the customer's messages are ranked together for a question.

Exact and deterministic: no index is asked for candidates, every message is scored, ties are settled
by time and id. Each hit tells the parts of its score. Only rows of the one customer are read.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from backstory.errors import UsageError
from backstory.extract.parse import clean_text
from backstory.search.recall_question import Question, read_question
from backstory.search.recall_score import (
    Corpus,
    Scored,
    Turn,
    in_context,
    in_itself,
    weighted,
)
from backstory.store import recall as store

MAX_QUERY_CHARS = 4_000
MAX_K = 100
# Only so many of the best by words and place are read as texts.
SHORTLIST = 120


@dataclass(frozen=True)
class RecallHit:
    """A message that matters for the question; `parts` add up to `score`, the largest first."""

    message_id: uuid.UUID
    conversation_id: uuid.UUID
    created_at: datetime
    score: float
    parts: Mapping[str, float]
    words: tuple[str, ...]
    content: str
    attachment_text: str | None

    @property
    def why(self) -> str:
        """The parts in words, as `words 6.21 (adopt, agenc), nearby 3.10, speaker 1.80`."""
        told = []
        for name, value in self.parts.items():
            held = f" ({', '.join(self.words)})" if name == "words" else ""
            told.append(f"{name} {value:.2f}{held}")
        return ", ".join(told)


@dataclass(frozen=True)
class Recalled:
    """The hits, best first, and how many messages were ranked for them."""

    hits: tuple[RecallHit, ...]
    ranked: int


def recall(
    connection: Connection,
    customer_id: uuid.UUID,
    query: str,
    *,
    k: int = 10,
    now: datetime | None = None,
) -> Recalled:
    """Return the `k` messages of one customer that matter most for a question or a remark.

    `now` is what "yesterday" in the question is counted from. Raises UsageError for a `k` or a
    query that cannot be; a customer of whom nothing matches has no hits.
    """
    asked = _checked(query, k)
    extent = store.extent(connection, customer_id)
    question = _read(connection, asked, extent, now or datetime.now(UTC))
    turns = _turns(connection, customer_id, question)
    corpus = _corpus(turns, extent)
    best = _shortlist(turns, in_context(turns, question, corpus), question)
    texts = store.texts(connection, customer_id, [each.turn.id for each in best])
    # What was taken away between two statements is nobody's any more.
    best = [each for each in best if each.turn.id in texts]
    for each in best:
        content = texts[each.turn.id].content
        each.parts |= weighted(in_itself(content, each.turn, question))
    best.sort(key=_order)
    hits = tuple(_hit(each, texts[each.turn.id]) for each in best[:k])
    return Recalled(hits, ranked=len(turns))


def _checked(query: str, k: int) -> str:
    text = clean_text(query)[0].strip()
    if not text:
        raise UsageError("There is nothing to recall by: give the question or the latest words.")
    if not 1 <= k <= MAX_K:
        raise UsageError(f"k goes from 1 to {MAX_K}.")
    return text[:MAX_QUERY_CHARS]


def _read(connection: Connection, asked: str, extent: store.Extent, now: datetime) -> Question:
    words, *names = store.words(connection, [asked, *extent.authors])
    authors = dict(zip(extent.authors, names, strict=True))
    return read_question(asked, words, authors=authors, now=now)


def _turns(connection: Connection, customer_id: uuid.UUID, question: Question) -> list[Turn]:
    return [
        Turn(
            id=row.id,
            conversation_id=row.conversation_id,
            created_at=row.created_at,
            speaker=frozenset(filter(None, (row.author, row.role))),
            length=row.length,
            asks=row.asks,
            ends_asking=row.ends_asking,
            counts=row.counts,
        )
        for row in store.turns(connection, customer_id, list(question.words))
    ]


def _corpus(turns: Sequence[Turn], extent: store.Extent) -> Corpus:
    frequency: dict[str, int] = {}
    for turn in turns:
        for word in turn.counts:
            frequency[word] = frequency.get(word, 0) + 1
    return Corpus(len(turns), extent.mean_length, frequency)


def _shortlist(
    turns: Sequence[Turn], values: Sequence[dict[str, float]], question: Question
) -> list[Scored]:
    """Return the best by words and place, of those that have anything to do with the question."""
    grounds = ("nearby", "date") if question.words else ("date", "speaker")
    scored = [
        Scored(turn, weighted(value))
        for turn, value in zip(turns, values, strict=True)
        if any(value[name] for name in grounds)
    ]
    scored.sort(key=_order)
    return scored[:SHORTLIST]


def _order(scored: Scored) -> tuple[float, float, uuid.UUID]:
    """Return the place in an answer: the best first, of equals the latest."""
    return -scored.score, -scored.turn.created_at.timestamp(), scored.turn.id


def _hit(scored: Scored, said: store.Said) -> RecallHit:
    parts = sorted(scored.parts.items(), key=lambda part: (-abs(part[1]), part[0]))
    return RecallHit(
        message_id=scored.turn.id,
        conversation_id=scored.turn.conversation_id,
        created_at=scored.turn.created_at,
        score=scored.score,
        parts=dict(parts),
        words=tuple(scored.turn.counts),
        content=said.content,
        attachment_text=said.attachment_text,
    )
