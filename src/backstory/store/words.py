"""What a customer is known by and has said: what an erasure looks for."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import phonenumbers
from sqlalchemy import Connection

from backstory import model
from backstory.store.erasure import Scope
from backstory.store.statements import sql
from backstory.store.tables import Base

ERASED = "[erased]"
# A shorter word is looked for as a whole value only: inside others it would be found everywhere.
SHORTEST_WITHIN = 5
_LONGEST_PATTERN = 200
# Of a longer word its beginning is looked for: nobody else's begins so.
_LONGEST_SOUGHT = 1_000
_TEXTS = 10
_TEXT_CHARS = range(20, 61)
# In our own reports nobody else's words stand: so much of what was said is enough there.
_HEAD_CHARS = 20
# Fewer digits are found everywhere.
_SHORTEST_PHONE = 7
# What people write between the digits of a phone.
_BETWEEN_DIGITS = r"[\s().\-/\u2010-\u2015]{0,4}"
# Words of our own reports and ledgers: where nobody's rows hold one, it is us who speak.
OUR_WORDS = frozenset(
    {
        *(word for each in model.Vocabulary.__subclasses__() for word in each),
        *Base.metadata.tables,
        *(name for table in Base.metadata.tables.values() for name in table.c.keys()),  # noqa: SIM118 - a collection of columns, not a dict
        *("agent", "audit", "backstory", "customer", "erased", "live", "staff"),
    }
)
# Under these, numbers stand behind words of others.
_COUNTED_BY = frozenset({"examples", "reasons"})
# What stands under these was chosen by whoever began a run.
_SETTINGS = frozenset({"assume_tz", "log", "made_by", "mode", "region", "unknown_actor"})
# Earlier versions kept with a run what a service said when it refused: it may be what a customer
# wrote, in any form.
_REFUSED = re.compile(r"( refused to \w+ \(\d{3}\)): .*", re.DOTALL)
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
        whole = _not_ours((*self.ids, *self.keys, *self.names))
        return [*(each for each in whole if len(each) <= _LONGEST_SOUGHT), *self.texts]

    @property
    def within(self) -> dict[str, str]:
        """What may stand inside a longer value, as written and as JSON, small, with its pattern.

        An id or a name stands there as a whole word; of what was said it is the beginning. What is
        long is nobody's part of a word, and more than a pattern of PostgreSQL holds.
        """
        # A name is no part of a key of ours, such as `messages_per_second`.
        kinds = ((self.names, "[[:alnum:]_]"), ((*self.ids, *self.keys), "[[:alnum:]]"))
        return dict.fromkeys(_long(self.texts), "") | {
            each: ""
            if len(each) > _LONGEST_PATTERN
            else f"(?<!{letter}){re.escape(each)}(?!{letter})"
            for words, letter in kinds
            for each in _long(_not_ours(words))
        }

    @property
    def within_ours(self) -> dict[str, str]:
        """What may stand inside a report of ours: of what was said, less of its beginning."""
        return self.within | dict.fromkeys(_long(self._heads), "")

    @property
    def spelled(self) -> list[str]:
        """What may name the customer, of any length: finds more than is meant."""
        return _forms((*self.ids, *self.keys, *self.names))

    @property
    def naming(self) -> list[str]:
        """Return the same in lower case, without what are words of ours."""
        return sorted({each.lower() for each in _forms(self._whole)})

    @property
    def told(self) -> list[str]:
        """Return the same with the beginnings of what was said, as reports of ours may hold it."""
        return sorted({*self.naming, *_long(self._heads)})

    @cached_property
    def phones(self) -> list[str]:
        """Return the phones in digits alone, as they are written at home."""
        found = {digits for key in self.keys for digits in list(_national(key))[-1:]}
        return sorted(each for each in found if len(each) >= _SHORTEST_PHONE)

    def only_keys(self) -> "Words":
        """Return the part of these words that nobody else has."""
        return replace(self, names=(), texts=())

    # -- in JSON -------------------------------------------------------------------------------

    @cached_property
    def _whole(self) -> frozenset[str]:
        return frozenset(_not_ours((*self.ids, *self.keys, *self.names)))

    @cached_property
    def _inside(self) -> re.Pattern[str]:
        return _any_of(self._whole)

    @cached_property
    def _heads(self) -> tuple[str, ...]:
        return tuple(" ".join(each.split())[:_HEAD_CHARS].strip() for each in self.texts)

    @cached_property
    def _said(self) -> re.Pattern[str]:
        """Where what was said begins, in whatever case and spacing, to the end of the text."""
        heads = (r"\s+".join(map(re.escape, each.split())) for each in self._heads)
        return re.compile(rf"(?:{'|'.join(heads) or '(?!)'}).*", re.IGNORECASE | re.DOTALL)

    @cached_property
    def _dialled(self) -> re.Pattern[str]:
        spelled = (_BETWEEN_DIGITS.join(each) for each in self.phones)
        return re.compile(rf"(?:{'|'.join(spelled) or '(?!)'})(?!\d)")

    def name(self, text: str) -> bool:
        """Tell whether a text names the customer, in whatever case and spelling of a phone."""
        return (
            text in self._whole
            or self._inside.search(text) is not None
            or self._dialled.search(text) is not None
        )

    def redacted(self, value: Any, *, ours: bool = True) -> Any:
        """Return JSON in which `[erased]` stands for whatever names the customer or was said.

        The names of its fields are ours, but where examples are counted by what they are.
        """
        if isinstance(value, str):
            if value in self._whole:
                return ERASED
            told = self._said.sub(ERASED, _REFUSED.sub(r"\1.", value))
            return self._inside.sub(ERASED, told)
        if isinstance(value, list):
            return [self.redacted(each) for each in value]
        if isinstance(value, dict):
            return {
                key if ours else self.redacted(key): self._redacted_under(key, each)
                for key, each in value.items()
            }
        return value

    def _redacted_under(self, key: str, value: Any) -> Any:
        return value if key in _SETTINGS else self.redacted(value, ours=key not in _COUNTED_BY)

    def without(self, value: Any) -> Any:
        """Return JSON without the entries that name the customer by id or identity.

        The same within a text, as in a summary of somebody else's talk, is such a name too.
        """
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

    @cached_property
    def _by_keys(self) -> re.Pattern[str]:
        return _any_of(_not_ours((*self.ids, *self.keys)))

    def _is_theirs(self, value: Any) -> bool:
        if isinstance(value, dict) and "value" in value:
            value = value["value"]
        return isinstance(value, str) and (
            value in self._keys or self._by_keys.search(value) is not None
        )


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


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern of the words that are long enough to be looked for within others."""
    long = sorted((each for each in words if len(each) >= SHORTEST_WITHIN), key=len, reverse=True)
    return re.compile(
        rf"(?<![^\W_])(?:{'|'.join(map(re.escape, long)) or '(?!)'})(?![^\W_])", re.IGNORECASE
    )


def _not_ours(words: Iterable[str]) -> Iterable[str]:
    return (each for each in words if each.lower() not in OUR_WORDS)


def _long(words: Iterable[str]) -> Iterable[str]:
    return (each.lower() for each in _forms(each for each in words if len(each) >= SHORTEST_WITHIN))


def _forms(texts: Iterable[str]) -> list[str]:
    sought = {each[:_LONGEST_SOUGHT] for each in texts}
    return sorted({form for each in sought for form in (each, *_as_json(each))})


def _as_json(text: str) -> Iterable[str]:
    for ascii_only in (False, True):
        written = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        if written != text:
            yield written
