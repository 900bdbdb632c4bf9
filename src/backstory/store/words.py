"""What a customer is known by and has said: what an erasure looks for."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import phonenumbers
from sqlalchemy import Connection

from backstory.store.erasure import Scope
from backstory.store.statements import sql

ERASED = "[erased]"
# A shorter word is looked for as a whole value only: inside others it would be found everywhere.
SHORTEST_WITHIN = 5
_TEXTS = 10
_TEXT_CHARS = range(20, 61)
# What JSON writes as it is.
_PLAIN = re.compile(r"[^\x00-\x1f\x7f\"\\\\]+")


@dataclass(frozen=True)
class Words:
    """`keys` are ids and identities that nobody else has; `texts` a sample of what was said."""

    ids: tuple[str, ...]
    keys: tuple[str, ...]
    names: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def exact(self) -> list[str]:
        """What a whole value may be."""
        return [*self.ids, *self.keys, *self.names, *self.texts]

    @property
    def within(self) -> list[str]:
        """What may stand inside a longer value, as written and as JSON."""
        return _forms(each for each in self.exact if len(each) >= SHORTEST_WITHIN)

    @property
    def spelled(self) -> list[str]:
        """What may name the customer, of any length: finds more than is meant."""
        return _forms(self._whole)

    @property
    def naming(self) -> list[str]:
        """Return the same in lower case."""
        return sorted({each.lower() for each in self.spelled})

    def only_keys(self) -> "Words":
        """Return the part of these words that nobody else has."""
        return replace(self, names=(), texts=())

    # -- in JSON -------------------------------------------------------------------------------

    @cached_property
    def _whole(self) -> frozenset[str]:
        return frozenset((*self.ids, *self.keys, *self.names))

    @cached_property
    def _inside(self) -> re.Pattern[str]:
        long = sorted((e for e in self._whole if len(e) >= SHORTEST_WITHIN), key=len, reverse=True)
        return re.compile(
            rf"(?<!\w)(?:{'|'.join(map(re.escape, long)) or '(?!)'})(?!\w)", re.IGNORECASE
        )

    def name(self, text: str) -> bool:
        """Tell whether a text names the customer."""
        return text in self._whole or self._inside.search(text) is not None

    def redacted(self, value: Any) -> Any:
        """Return JSON in which `[erased]` stands for whatever names the customer."""
        if isinstance(value, str):
            return ERASED if value in self._whole else self._inside.sub(ERASED, value)
        if isinstance(value, list):
            return [self.redacted(each) for each in value]
        if isinstance(value, dict):
            return {self.redacted(key): self.redacted(each) for key, each in value.items()}
        return value

    def without(self, value: Any) -> Any:
        """Return JSON without the entries that name the customer by id or identity."""
        if isinstance(value, list):
            return [self.without(each) for each in value if not self._is_theirs(each)]
        if isinstance(value, dict):
            return {
                key: self.without(each)
                for key, each in value.items()
                if not self._is_theirs(each) and key not in self._keys
            }
        return value

    @cached_property
    def _keys(self) -> frozenset[str]:
        return frozenset((*self.ids, *self.keys))

    def _is_theirs(self, value: Any) -> bool:
        if isinstance(value, dict) and "value" in value:
            value = value["value"]
        return isinstance(value, str) and value in self._keys


def words_of(connection: Connection, scope: Scope) -> Words:
    """Return what to look for when this customer is erased."""
    asked = {"customers": list(scope.customers)}
    ids = connection.execute(sql("ids_of_erased"), asked).scalars()
    keys = connection.execute(sql("keys_of_erased"), asked).scalars()
    names = connection.execute(sql("names_of_erased"), asked).scalars()
    texts = connection.execute(sql("texts_of_erased"), asked | {"limit": _TEXTS * 4}).scalars()
    return Words(
        ids=tuple(map(str, ids)),
        keys=tuple(dict.fromkeys(form for key in keys for form in (key, *_national(key)))),
        names=tuple(names),
        texts=_sample(texts),
    )


def _national(key: str) -> Iterable[str]:
    """Yield a phone as it is written at home: in digits alone."""
    if key.startswith("+") and key[1:].isdigit():
        yield key[1:]
        yield str(phonenumbers.parse(key).national_number)


def _sample(texts: Iterable[str]) -> tuple[str, ...]:
    """Return some beginnings of texts that are long enough to be nobody else's."""
    found = []
    for each in texts:
        longest = max(_PLAIN.findall(each), key=len, default="").strip()
        if len(longest) >= _TEXT_CHARS.start:
            found.append(longest[: _TEXT_CHARS[-1]].strip())
    return tuple(dict.fromkeys(found))[:_TEXTS]


def _forms(texts: Iterable[str]) -> list[str]:
    return sorted({form for each in texts for form in (each, *_as_json(each))})


def _as_json(text: str) -> Iterable[str]:
    for ascii_only in (False, True):
        written = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        if written != text:
            yield written
