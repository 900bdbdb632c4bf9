"""Says which notes a lead's state makes, by rules that are data: `note_rules.toml`, or a user's."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from backstory.errors import UsageError
from backstory.memory.extractive import tells_a_code
from backstory.memory.lead_details import in_words, opens_doors, words_of
from backstory.model import NoteKind

# Behind a topic of which a lead can say several things at once.
MANY = "[]"
_NONE = "none"
_TEXT_CHARS = 500
_TOPIC_CHARS = 300
_MOST_NOTES = 100


@dataclass(frozen=True)
class Rule:
    """Keys with one of these words make notes of this kind; None: they make none."""

    kind: NoteKind | None
    words: frozenset[str]


@dataclass(frozen=True)
class Rules:
    """The first rule that knows a word decides; values under `bare` keys are told without them.

    A key of `vague` words alone is told with the key around it.
    """

    rules: tuple[Rule, ...]
    bare: frozenset[str]
    vague: frozenset[str] = frozenset()

    def kind_of(self, path: Iterable[str]) -> NoteKind | None:
        """Return what kind of note a value makes, from its innermost key outwards."""
        for name in reversed(list(path)):
            words = words_of(name)
            for rule in self.rules:
                if words & rule.words:
                    return rule.kind
        return NoteKind.FACT

    def knows(self, name: str) -> bool:
        """Tell whether a rule says by its words what kind of note a key makes."""
        words = words_of(name)
        return any(words & rule.words for rule in self.rules if rule.kind is not None)

    def is_vague(self, name: str) -> bool:
        """Tell whether a key says too little to be told without the key around it."""
        words = words_of(name)
        return bool(words) and words <= self.vague

    def as_json(self) -> dict[str, Any]:
        """Return the rules as `read_rules` would read them from a file."""
        rules = [{"kind": each.kind or _NONE, "words": sorted(each.words)} for each in self.rules]
        return {"bare": sorted(self.bare), "vague": sorted(self.vague), "rule": rules}


@dataclass(frozen=True)
class Noted:
    """What a lead says of a topic.

    `origin` is the path and the text by which it was known when notes were first taken: ids follow
    from these, so that a note is the same note however its topic and text are told since.
    """

    topic: str
    kind: NoteKind
    text: str
    origin: tuple[str, str]

    @property
    def several(self) -> bool:
        """Whether the lead can say other things of this topic beside it."""
        return self.topic.endswith(MANY)


def load_rules(path: Path | None = None) -> Rules:
    """Return the rules of a TOML file, or ours; raise UsageError where it is no such file."""
    try:
        written = (
            resources.files("backstory.memory").joinpath("note_rules.toml")
            if path is None
            else path
        ).read_text(encoding="utf-8")
        return read_rules(tomllib.loads(written))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as bad:
        raise UsageError(f"The rules in {path} cannot be read: {bad}.") from bad


def read_rules(given: Mapping[str, Any]) -> Rules:
    """Return rules from what a file says; raise UsageError with the form they should have."""
    unknown = sorted(given.keys() - {"bare", "rule", "vague"})
    if unknown:
        raise UsageError(
            f"Rules are `bare`, `vague` and [[rule]]: {unknown[0]!r} is none of these."
        )
    try:
        rules = tuple(
            Rule(
                None if each["kind"] == _NONE else NoteKind(each["kind"]),
                _word_list(each["words"]),
            )
            for each in given.get("rule", ())
        )
        bare, vague = (_word_list(given.get(name, [])) for name in ("bare", "vague"))
        return Rules(rules, bare, vague)
    except (AttributeError, KeyError, TypeError, ValueError) as bad:
        kinds = ", ".join([*NoteKind, _NONE])
        raise UsageError(
            f"A rule is [[rule]] with kind = one of {kinds} and words = [...]: {bad!r}."
        ) from bad


def _word_list(given: Any) -> frozenset[str]:
    if not isinstance(given, list) or not all(isinstance(word, str) for word in given):
        raise TypeError(f"{given!r} is no list of words")
    return frozenset(word.lower() for word in given)


def notes_in(state: Any, rules: Rules) -> list[Noted]:
    """Return what a lead's state says, each thing once; what may open a door is never noted.

    An address is none of it: it stands beside the lead and is shown as one.
    """
    found: dict[tuple[str, str], Noted] = {}
    for path, several, opens, value in _values(state, ()):
        # Of a gate its width may be told: what a rule knows opens nothing.
        if opens and (opens_doors(path[-1]) or not rules.knows(path[-1])):
            continue
        kind = rules.kind_of(path)
        text = _told(path, value, rules)
        if kind is not None and text and not tells_a_code(text):
            written = ".".join(path)[:_TOPIC_CHARS] + (MANY if several else "")
            origin = (written, _first_told(path, value, rules))
            topic = topic_of(written)
            found.setdefault((topic, text), Noted(topic, kind, text, origin))
        if len(found) == _MOST_NOTES:
            break
    return list(found.values())


def _values(
    value: Any, path: tuple[str, ...], *, several: bool = False, opens: bool = False
) -> Iterator[tuple[tuple[str, ...], bool, bool, str]]:
    """Yield each plain value with the keys to it, if a list is on the way, or what opens a door."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            tells = opens or opens_doors(name)
            yield from _values(inner, (*path, name), several=several, opens=tells)
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, path, several=True, opens=opens)
    elif path and value is not None:
        written = ("no", "yes")[value] if isinstance(value, bool) else str(value)
        yield path, several, opens, " ".join(written.split())


def topic_of(path: str) -> str:
    """Return what the keys to a value are about: however each is spelled, the same words."""
    return ".".join(in_words(name) or name for name in path.split("."))


def _told(path: tuple[str, ...], value: str, rules: Rules) -> str:
    if not value:
        return ""
    name = "" if words_of(path[-1]) & rules.bare else _name(path, rules)
    return (f"{name}: {value}" if name else value)[:_TEXT_CHARS]


def _name(path: tuple[str, ...], rules: Rules) -> str:
    """Return the words of a key, and of the keys around it without which they say too little.

    A key that a rule knows says enough, unless all its words are vague; any other is told with the
    key around it, and that one, if it is vague, with the next.
    """
    name, outer = in_words(path[-1]), list(path[:-1])
    wanting = rules.is_vague(path[-1]) or not rules.knows(path[-1])
    while wanting and outer and name:
        around = outer.pop()
        said = in_words(around)
        name = name if set(said.split()) <= set(name.split()) else f"{said} {name}"
        wanting = rules.is_vague(around)
    return name


def _first_told(path: tuple[str, ...], value: str, rules: Rules) -> str:
    """Return a value behind its own key alone, as version 1 told it."""
    name = " ".join(path[-1].replace("_", " ").split())
    if not name or words_of(path[-1]) & rules.bare:
        return value[:_TEXT_CHARS]
    return f"{name}: {value}"[:_TEXT_CHARS]
