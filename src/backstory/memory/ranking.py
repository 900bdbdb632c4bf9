"""How well what is kept fits what was said: an interface, and the ranking that fills it."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from backstory.search.recall import MAX_K, RecallHit, rank, recall
from backstory.store.binding import Bound
from backstory.store.recall import words

# The score of a recall that is half-way to a perfect fit.
_HALF = 4.0
_TOKEN = re.compile(r"\w+")
# Words of the index are stems; so many letters tell which word was said.
_STEM = 3


@dataclass(frozen=True)
class Match:
    """`fit` goes from 0, nothing in common, to 1; `words` are those of the question it has.

    `hint` is another reason why it may be meant.
    """

    fit: float = 0.0
    words: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True)
class Ranked:
    """A match for each text that was given, in their order, and the messages, with their times."""

    texts: tuple[Match, ...]
    messages: Mapping[UUID, tuple[datetime, Match]]


class Ranking(Protocol):
    """Ranks short texts and the bound customer's messages together, so that fits compare."""

    def __call__(
        self, bound: Bound, query: str, texts: Sequence[str], *, talk_since: datetime
    ) -> Ranked:
        """Return the fits; messages of this conversation since `talk_since` are left out."""


def by_recall(bound: Bound, query: str, texts: Sequence[str], *, talk_since: datetime) -> Ranked:
    """Rank by what recall makes of words, neighbours, speaker and time."""
    if not query.strip():
        return Ranked((Match(),) * len(texts), {})
    asked, *held = words(bound.connection, [query, *texts])
    said = spoken(query, asked)
    found = recall(bound.connection, bound.customer_id, query, k=MAX_K, now=bound.now)
    return Ranked(
        _of_texts(
            bound,
            query,
            texts,
            [[word for word in said if word in has] for has in map(frozenset, held)],
            said,
        ),
        {
            hit.message_id: (
                hit.created_at,
                Match(_fit(hit.score), tuple(said[word] for word in said if word in hit.words)),
            )
            for hit in found.hits
            if not _of_this_talk(hit, bound, talk_since)
        },
    )


def _of_texts(
    bound: Bound,
    query: str,
    texts: Sequence[str],
    common: Sequence[Sequence[str]],
    said: Mapping[str, str],
) -> tuple[Match, ...]:
    """Return a match for each text, of which it is known which words it has in common."""
    if not any(common):
        return (Match(),) * len(texts)
    scores = rank(bound.connection, bound.customer_id, query, texts)
    return tuple(
        Match(_fit(score), tuple(said[word] for word in has)) if has else Match()
        for score, has in zip(scores, common, strict=True)
    )


def _of_this_talk(hit: RecallHit, bound: Bound, since: datetime) -> bool:
    return hit.conversation_id == bound.conversation_id and hit.created_at >= since


def _fit(score: float) -> float:
    return 1 - math.exp2(-max(score, 0.0) / _HALF)


def spoken(query: str, stems: Iterable[str]) -> dict[str, str]:
    """Return words of the index as they were said, where that can be told, in that order."""
    tokens = _TOKEN.findall(query.lower())
    said = {stem: next((t for t in tokens if t[:_STEM] == stem[:_STEM]), stem) for stem in stems}
    places = {token: place for place, token in reversed(list(enumerate(tokens)))}
    order = sorted(said, key=lambda stem: (places.get(said[stem], len(tokens)), stem))
    return {stem: said[stem] for stem in order}
