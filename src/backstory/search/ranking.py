"""Decides how a search ranks: all matches, or the newest ones when all would take too long.

Ranking needs each match's row, and rows lie scattered: at a million messages 47,000 matches cost
110 ms however the text index is used. Reading the newest messages one by one until a few hundred
of them match costs 10 ms when the words are that common. The costs below are multiples of the
former: fetching one match that the text index found (about 2 microseconds).
"""

from dataclasses import dataclass
from math import ceil, sqrt

SMALL = 1_000  # messages: a scope up to here is read as a whole, whatever the words
_POSTING = 0.05  # an entry of a word in the text index, or of a customer in theirs
_ROW = 0.9  # a message read without the text index
_AFFORDABLE = 5_000  # below this, all matches are ranked even if fewer would be faster


@dataclass(frozen=True)
class Way:
    """`walk` reads the scope beside the text index; `window` bounds it to its newest messages."""

    walk: bool
    window: int | None = None


def choose(*, matches: float, population: float, total: float, rank_limit: int | None) -> Way:
    """Return the way to rank a scope of `population` out of `total` messages, by estimates."""
    matches, population = max(matches, 1.0), max(population, matches, 1.0)
    # The rarest word of two has about this many entries if the words know nothing of each other.
    postings = total * sqrt(matches / population)
    by_index = matches + _POSTING * (postings + (population if population < total else 0))
    exact = min(by_index, _ROW * population)
    window = ceil((rank_limit or population) * population / matches)
    if exact > _AFFORDABLE and rank_limit is not None and _ROW * window < exact:
        return Way(walk=True, window=window)
    return Way(walk=exact < by_index)
