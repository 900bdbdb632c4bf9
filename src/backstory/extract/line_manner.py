"""What keys say of their values: which come first, as what, which are money, which are hidden."""

from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from backstory.extract.line_values import as_words

MINOR = frozenset({"cents", "minor", "pence"})
NUMBERS = ("_number", "_id", "_no")
_KEYS_REMEMBERED = 4096
_SAID_OF_A_KEY = frozenset({"id", "number", "no", "at", "on"})
# A number under a key that ends so may be seconds since 1970.
_TIMED = frozenset({"at", "date", "time", "timestamp", "until"})


class Key(NamedTuple):
    """What a key says of its value: how early it is told, as what, if it is money or a time."""

    rank: int
    label: str
    money: bool
    minor: bool
    timed: bool
    hidden: bool


class Manner:
    """How rules have values told: the currency of amounts, and which keys matter.

    `first` keys are told before others, `hidden` ones never; `money` are words of keys of amounts.
    """

    def __init__(
        self, currency: str, first: Iterable[str], hidden: Iterable[str], money: Iterable[str]
    ) -> None:
        self.currency = currency
        places = reversed(list(enumerate(map(as_words, first))))
        self._rank = {key: place for place, key in places}
        self._hidden = frozenset(map(as_words, hidden))
        self._money = frozenset(map(str.lower, money))
        # The same few keys come again and again.
        self.key = lru_cache(_KEYS_REMEMBERED)(self._look_at)
        self.last = len(self._rank) + len(_Others)

    def _look_at(self, key: str) -> Key:
        words = key.split("_")
        behind = len(self._rank)
        other = behind + _Others.REST
        if key.endswith("_name"):
            other = behind + _Others.NAMES
        elif key.endswith(NUMBERS):
            other = behind + _Others.NUMBERS
        return Key(
            self._rank.get(key, other),
            _label(words),
            self._is_money(words),
            not MINOR.isdisjoint(words),
            words[-1] in _TIMED,
            key in self._hidden,
        )

    def _is_money(self, words: list[str]) -> bool:
        """Tell whether a key names an amount: by its last word, or by that before `per`."""
        last = words.index("per") - 1 if "per" in words[1:] else -1
        return words[last] in self._money or not MINOR.isdisjoint(words)


class _Others(IntEnum):
    """In which order keys come that the rules do not name; yes and no come behind them all."""

    NAMES = 0
    NUMBERS = 1
    REST = 2


def _label(words: list[str]) -> str:
    """Return a key as a word before its value: `order_id` is an order, `total_cents` a total."""
    kept = [word for word in words if word not in MINOR]
    if len(kept) > 1 and kept[-1] in _SAID_OF_A_KEY:
        kept.pop()
    return " ".join(kept or words)
