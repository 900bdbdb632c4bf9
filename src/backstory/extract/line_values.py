"""Finds values in a payload by what their keys mean, whatever way those are written."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

# A key as words: `startsAt`, `starts-at` and `Starts At` are all `starts_at`.
Path = tuple[str, ...]

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\dA-Z_]+|\d+")
# An object with more keys than this is data, not something to read.
MOST_KEYS = 500
_KEY_CHARS = 100
_MOST_CHILDREN = 8


class Found(NamedTuple):
    """A value and the key it stood under."""

    key: str
    value: Any


@lru_cache(maxsize=8192)
def as_words(key: str) -> str:
    """Return a key, or what an action is called, as small words with underscores between."""
    words = _WORDS.findall(key[:_KEY_CHARS])
    return "_".join(words).lower() if words else key[:_KEY_CHARS].strip().lower()


def by_words(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object by the words of its keys, whatever order they stand in.

    Of keys that are the same words the last in order of the alphabet counts: jsonb keeps no other.
    """
    found = {as_words(key): inner for key, inner in value.items()}
    if len(found) < len(value):
        found = {as_words(key): value[key] for key in sorted(value)}
    return found


def is_there(value: Any) -> bool:
    """Tell whether a value says anything: not null, and not empty; zero and false do."""
    if value is None:
        return False
    return bool(value) or not isinstance(value, str | list | dict)


@dataclass(slots=True)
class Payload:
    """A payload as rules look at it; what it costs to look is paid once.

    `seen` has what was found of each value, by the identity of that: many rules look for the same.
    """

    whole: Any
    top: dict[str, Any] = field(init=False)
    seen: dict[int, Found | None] = field(default_factory=dict, init=False)
    _children: list[dict[str, Any]] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.top = by_words(self.whole) if type(self.whole) is dict else {}

    def at(self, path: Path, *, empty: bool = False) -> Found | None:
        """Return what stands at a path; an empty path is the whole payload.

        With `empty` also what says that there is nothing, as an empty list does.
        """
        if not path:
            return Found("", self.whole) if is_there(self.whole) else None
        value: Any = self.top.get(path[0])
        for step in path[1:]:
            if type(value) is dict:
                value = by_words(value).get(step)
            elif type(value) is list and step.isdecimal() and int(step) < len(value):
                value = value[int(step)]
            else:
                return None
        there = value is not None if empty else is_there(value)
        return Found(path[-1], value) if there else None

    @property
    def children(self) -> list[dict[str, Any]]:
        """The objects one level down, in the order of their keys."""
        if self._children is None:
            self._children = list(self._objects())
        return self._children

    def below(self, key: str) -> Found | None:
        """Return what stands under a key one level down, in the first object that has it."""
        for child in self.children:
            if key in child and is_there(child[key]):
                return Found(key, child[key])
        return None

    def _objects(self) -> Iterator[dict[str, Any]]:
        names = [name for name, value in self.top.items() if type(value) is dict]
        for name in sorted(names)[:_MOST_CHILDREN]:
            if 0 < len(self.top[name]) <= MOST_KEYS:
                yield by_words(self.top[name])


@dataclass(frozen=True)
class Value:
    """A value by the paths it may stand at; `deep` ones also one level down.

    `empty`: it is there also where it says that there is nothing.
    """

    paths: tuple[Path, ...]
    form: str = "text"
    deep: bool = False
    empty: bool = False

    @cached_property
    def _first_steps(self) -> frozenset[str]:
        return frozenset(path[0] for path in self.paths if path)

    def find(self, payload: Payload) -> Found | None:
        """Return the value at the first path that is there; looked for once in a payload."""
        seen, key = payload.seen, id(self)
        if key not in seen:
            seen[key] = self._look_in(payload)
        return seen[key]

    def _look_in(self, payload: Payload) -> Found | None:
        # Most values of most rules are missing, which one look tells.
        if () in self.paths or not self._first_steps.isdisjoint(payload.top):
            for path in self.paths:
                if not path or path[0] in payload.top:
                    found = payload.at(path, empty=self.empty)
                    if found is not None:
                        return found
        if self.deep and payload.children:
            for path in self.paths:
                if len(path) == 1:
                    found = payload.below(path[0])
                    if found is not None:
                        return found
        return None


def path_of(text: str) -> Path:
    """Return the path that is written with dots; `.` alone is the whole payload."""
    if text == ".":
        return ()
    return tuple(as_words(step) for step in text.split("."))
