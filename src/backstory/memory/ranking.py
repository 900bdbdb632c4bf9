"""How well what is kept fits what was said: an interface, and the ranking that fills it."""

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Protocol
from uuid import UUID

from backstory.search.recall import RecallHit, recall
from backstory.store.binding import Bound
from backstory.store.recall import Talk

_log = logging.getLogger("backstory.memory")
# So many more messages than are wanted are ranked: their age may change the order of near ones.
_SPARE = 4
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
        self, bound: Bound, query: str, texts: Sequence[str], *, most: int, talk_since: datetime
    ) -> Ranked:
        """Return the fits of the texts, and of the best `most` messages or some more.

        Messages of this conversation since `talk_since` are left out, and so is what nobody said.
        """


def by_recall(
    bound: Bound, query: str, texts: Sequence[str], *, most: int, talk_since: datetime
) -> Ranked:
    """Rank by what recall makes of words, neighbours, speaker, time, and of meaning where it can.

    Where a model serves and cannot be asked, words have to do, and the log says why.
    """
    if not query.strip():
        return Ranked((Match(),) * len(texts), {})
    here = bound.conversation_id
    found = recall(
        bound.connection,
        bound.customer_id,
        query,
        k=most + _SPARE,
        embedders=bound.embedders,
        now=bound.now,
        beside=texts,
        spoken=True,
        talk=None if here is None else Talk(here, talk_since),
    )
    if found.note:
        _warn(found.note)
    stems = {stem for match in found.beside for stem in match.words}
    said = spoken(query, stems | {stem for hit in found.hits for stem in hit.words})
    return Ranked(
        tuple(_match(each.score, each.words, said) for each in found.beside),
        {
            hit.message_id: (hit.created_at, _match(hit.score, hit.words, said, _hint(hit)))
            for hit in found.hits
        },
    )


@lru_cache(maxsize=16)
def _warn(note: str) -> None:
    """Say once what keeps meaning from counting, not at each call."""
    _log.warning("Recall goes by words alone. %s", note)


def _match(score: float, stems: Sequence[str], said: Mapping[str, str], hint: str = "") -> Match:
    fit = 1 - math.exp2(-max(score, 0.0) / _HALF)
    return Match(fit, tuple(said[stem] for stem in said if stem in stems), hint)


def _hint(hit: RecallHit) -> str:
    """Return what speaks for a message beside the words it has: the largest part comes first."""
    return "near in meaning" if next(iter(hit.parts), "") == "meaning" else ""


def spoken(query: str, stems: Iterable[str]) -> dict[str, str]:
    """Return words of the index as they were said, where that can be told, in that order."""
    tokens = _TOKEN.findall(query.lower())
    said = {stem: next((t for t in tokens if t[:_STEM] == stem[:_STEM]), stem) for stem in stems}
    places = {token: place for place, token in reversed(list(enumerate(tokens)))}
    order = sorted(said, key=lambda stem: (places.get(said[stem], len(tokens)), stem))
    return {stem: said[stem] for stem in order}
