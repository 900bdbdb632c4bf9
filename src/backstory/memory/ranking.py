"""How well what is kept fits what was said: an interface, and a ranking by words."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from backstory.store import memory as store
from backstory.store.binding import Bound

# Of messages that hold the words, so many are weighed against the rest.
MOST_MESSAGES = 40
# A word said again counts for less each time.
_SATURATION = 0.6
_TOKEN = re.compile(r"\w+")
# Words of the index are stems; so many letters tell which word was said.
_STEM = 3


@dataclass(frozen=True)
class Match:
    """`fit` goes from 0, nothing in common, to 1; `words` are those of the question it has."""

    fit: float = 0.0
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ranked:
    """A match for each text that was given, in their order, and the messages that match."""

    texts: tuple[Match, ...]
    messages: Mapping[UUID, Match]


class Ranking(Protocol):
    """Ranks short texts and the bound customer's messages together, so that fits compare."""

    def __call__(
        self, bound: Bound, query: str, texts: Sequence[str], *, talk_since: datetime
    ) -> Ranked:
        """Return the fits; messages of this conversation since `talk_since` are left out."""


def by_words(bound: Bound, query: str, texts: Sequence[str], *, talk_since: datetime) -> Ranked:
    """Rank by the words in common, the rarer the better, as the search index reads them."""
    asked, *held = store.words(bound, [query, *texts])
    if not asked:
        return Ranked(tuple(Match() for _ in texts), {})
    said = store.messages_matching(bound, asked, talk_since=talk_since, limit=MOST_MESSAGES)
    held += store.words(bound, [each.content for each in said])
    rarity = _rarity(asked, held)
    known = spoken(query, asked)
    matches = [_match(counts, rarity, known) for counts in held]
    found = zip(said, matches[len(texts) :], strict=True)
    return Ranked(tuple(matches[: len(texts)]), {each.id: match for each, match in found})


def spoken(query: str, words: Iterable[str]) -> dict[str, str]:
    """Return words of the index as they were said, where that can be told."""
    tokens = _TOKEN.findall(query.lower())
    return {word: next((t for t in tokens if t[:_STEM] == word[:_STEM]), word) for word in words}


def _rarity(asked: Iterable[str], held: Sequence[Mapping[str, int]]) -> dict[str, float]:
    """Return what each word is worth, of those that are found at all; they come to 1 together."""
    counts = {word: sum(word in counts for counts in held) for word in sorted(asked)}
    worth = {
        word: math.log(1 + (len(held) - count + 0.5) / (count + 0.5))
        for word, count in counts.items()
        if count
    }
    total = math.fsum(worth.values())
    return {word: value / total for word, value in worth.items()}


def _match(
    counts: Mapping[str, int], rarity: Mapping[str, float], known: Mapping[str, str]
) -> Match:
    common = sorted((w for w in rarity if w in counts), key=lambda w: (-rarity[w], w))
    fit = math.fsum(
        rarity[word] * counts[word] * (1 + _SATURATION) / (counts[word] + _SATURATION)
        for word in common
    )
    return Match(min(fit, 1.0), tuple(known[word] for word in common))
