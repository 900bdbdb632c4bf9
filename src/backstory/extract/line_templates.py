"""Templates of lines: words of a rule's own, values in braces, in brackets what may be left out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from backstory.extract.line_forms import FORMS, Form, Telling, in_words
from backstory.extract.line_manner import Manner
from backstory.extract.line_values import Payload, Value, path_of

_TOKEN = re.compile(r"\{\{|\}\}|\[\[|\]\]|[{}\[\]]")
_SPOKEN = re.compile(r"[\w.|: -]+")


class BadTemplate(Exception):
    """What is wrong with a template, in a sentence without a place."""


class Seen(NamedTuple):
    """An event as a template looks at it."""

    action: str
    role: str
    payload: Payload
    manner: Manner


@dataclass(frozen=True)
class Words:
    """Words that are always the same."""

    words: str

    def told(self, seen: Seen) -> str:
        """Return them."""
        del seen
        return self.words


@dataclass(frozen=True)
class Action:
    """What happened, in words."""

    def told(self, seen: Seen) -> str:
        """Return what happened, as a sentence begins."""
        return in_words(seen.action)


@dataclass(frozen=True)
class Role:
    """Who did it."""

    def told(self, seen: Seen) -> str:
        """Return the role, in our word."""
        return seen.role


@dataclass(frozen=True)
class Told:
    """A value in a form."""

    value: Value
    form: Form
    word: str = ""
    end: Value | None = None

    def told(self, seen: Seen) -> str | None:
        """Return the value in words; None where it is missing or says nothing."""
        found = self.value.find(seen.payload)
        if found is None:
            return None
        return self.form(found, Telling(seen.payload, seen.manner, self.word, self.end)) or None


@dataclass(frozen=True)
class Optional:
    """A part that is left out where one of its values is missing."""

    parts: "tuple[Part, ...]"

    def told(self, seen: Seen) -> str:
        """Return the part, or nothing."""
        return joined(self.parts, seen) or ""


Part = Words | Action | Role | Told | Optional


def joined(parts: "Sequence[Part]", seen: Seen) -> str | None:
    """Return what the parts say; None where a value is missing that must be there."""
    said = []
    for part in parts:
        told = part.told(seen)
        if told is None:
            return None
        said.append(told)
    return "".join(said)


# --- reading ---------------------------------------------------------------------------------


def read_template(text: str, values: Mapping[str, Value]) -> tuple[Part, ...]:
    """Return the parts of a template; `values` are those that rules know by name.

    Raises BadTemplate.
    """
    reader = _Reader(text, values)
    parts = reader.parts(optional=False)
    if not any(isinstance(part, Told | Action) for part in _flat(parts)):
        raise BadTemplate("it tells no value: put one in braces, as {total}")
    return parts


def _flat(parts: Sequence[Part]) -> list[Part]:
    return [
        inner
        for part in parts
        for inner in (_flat(part.parts) if isinstance(part, Optional) else [part])
    ]


@dataclass
class _Reader:
    text: str
    values: Mapping[str, Value]
    place: int = field(default=0, init=False)

    def parts(self, *, optional: bool) -> tuple[Part, ...]:
        """Read to the end of the template, or of the part in brackets."""
        found: list[Part] = []
        words = ""
        while (token := _TOKEN.search(self.text, self.place)) is not None:
            words += self.text[self.place : token.start()]
            self.place = token.end()
            sign = token.group()
            if len(sign) == 2:  # noqa: PLR2004 - a sign twice is the sign itself
                words += sign[0]
                continue
            if sign in "}]" and not (sign == "]" and optional):
                raise BadTemplate(f"{sign} closes nothing; write {sign * 2} for the sign itself")
            if words:
                found.append(Words(words))
                words = ""
            if sign == "]":
                return tuple(found)
            found.append(self._value() if sign == "{" else self._optional())
        if optional:
            raise BadTemplate("[ is not closed; write [[ for the sign itself")
        words += self.text[self.place :]
        self.place = len(self.text)
        return (*found, Words(words)) if words else tuple(found)

    def _optional(self) -> Part:
        parts = self.parts(optional=True)
        if not any(isinstance(part, Told) for part in _flat(parts)):
            raise BadTemplate("a part in brackets tells no value, so nothing could leave it out")
        return Optional(parts)

    def _value(self) -> Part:
        end = self.text.find("}", self.place)
        if end < 0:
            raise BadTemplate("{ is not closed; write {{ for the sign itself")
        spoken = self.text[self.place : end].strip()
        self.place = end + 1
        if spoken in ("action", "role"):
            return Action() if spoken == "action" else Role()
        paths, _, form = spoken.partition(":")
        name, _, word = form.strip().partition(" ")
        value = value_of(paths, self.values)
        name = name or value.form
        if name not in FORMS:
            raise BadTemplate(f"there is no form {name!r}: {', '.join(FORMS)}")
        return Told(value, FORMS[name], word.strip(), self._end(name, word.strip()))

    def _end(self, form: str, word: str) -> Value | None:
        if form != "span" or not word:
            return None
        return value_of(word, self.values)


def value_of(text: str, values: Mapping[str, Value]) -> Value:
    """Return the value that `a|b.c` names: by name, or at the first path that is there.

    Raises BadTemplate.
    """
    spoken = [each.strip() for each in text.split("|")]
    if not all(each == "." or _SPOKEN.fullmatch(each) for each in spoken):
        raise BadTemplate(f"{{{text}}} is no path: write a key, a.b for one inside, a|b for either")
    known = [values.get(each) for each in spoken]
    if len(spoken) == 1 and known[0] is not None:
        return known[0]
    paths = [
        path
        for each, named in zip(spoken, known, strict=True)
        for path in (named.paths if named else (path_of(each),))
    ]
    whole = next((named for named in known if named), Value(()))
    return replace(whole, paths=tuple(dict.fromkeys(paths)))
