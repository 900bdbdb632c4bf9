"""Renders events as a short line, by rules that are data: `line_rules.toml`, and a user's own.

The line stands beside the compact JSON of an event and never in its place: it is what people and
agents read. The same record always gives the same line under the same rules, whose name is kept
with it.
"""

import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import cache, lru_cache
from hashlib import blake2b
from importlib import resources
from pathlib import Path
from typing import Any

import orjson

from backstory.audit.event import AuditEvent
from backstory.errors import UsageError
from backstory.extract.line_forms import FORMS
from backstory.extract.line_manner import Manner
from backstory.extract.line_templates import (
    BadTemplate,
    Part,
    Seen,
    joined,
    read_template,
    value_of,
)
from backstory.extract.line_values import MOST_KEYS, Payload, Value, as_words, path_of
from backstory.extract.messages import Projection
from backstory.model import MessageKind, Role

# To be raised when the same rules come to render otherwise.
RENDERER = "1"
MAX_CHARS = 300
# A tool's words are told in a line if it is all of them, or if they are JSON.
_WORDS_OF_A_TOOL = 200
_ACTIONS_REMEMBERED = 1024
_OURS = "line_rules.toml"


@dataclass(frozen=True)
class Rule:
    """Which events it is for, and what it makes of them; empty: any."""

    name: str
    actions: tuple[re.Pattern[str], ...]
    roles: frozenset[str]
    needs: tuple[Value, ...]
    where: tuple[tuple[Value, frozenset[str]], ...]
    line: tuple[Part, ...]

    def may_fit(self, action: str, role: str) -> bool:
        """Tell whether it is for such events, whatever their payload."""
        if self.roles and role not in self.roles:
            return False
        return not self.actions or any(each.fullmatch(action) for each in self.actions)

    def told(self, seen: Seen) -> str | None:
        """Return what the rule makes of an event; None if it does not fit."""
        if any(value.find(seen.payload) is None for value in self.needs):
            return None
        for value, words in self.where:
            found = value.find(seen.payload)
            if found is None or str(found.value).strip().lower() not in words:
                return None
        return joined(self.line, seen)


class LineRules:
    """Rules as they are used: of those that may fit, the first that does gives the line.

    `name` stands for the rules and for how they are rendered. Can be pickled.
    """

    def __init__(self, given: Mapping[str, Any], rules: Iterable[Rule], manner: Manner) -> None:
        self._given = dict(given)
        self._rules = tuple(rules)
        self._manner = manner
        self._fitting = lru_cache(_ACTIONS_REMEMBERED)(self._may_fit)
        written = orjson.dumps([RENDERER, self._given], option=orjson.OPT_SORT_KEYS)
        self.name = blake2b(written, digest_size=6).hexdigest()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return read_rules, (self._given,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LineRules) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<LineRules {self.name}>"

    def as_json(self) -> dict[str, Any]:
        """Return the rules as `read_rules` reads them."""
        return self._given

    def line(self, event: AuditEvent, said: Projection) -> str | None:
        """Return the line of a record that became a message; "" where no rule fits.

        None for a message that is read as it is: what people wrote, and a tool's longer prose.
        """
        if said.kind is MessageKind.TEXT and not is_a_tools(said.role, said.content):
            return None
        payload = event.payload
        if isinstance(payload, dict | list) and len(payload) > MOST_KEYS:
            return ""
        seen = Seen(event.action, said.role.value, Payload(payload), self._manner)
        for rule in self._fitting(event.action, said.role.value):
            told = rule.told(seen)
            if told:
                return on_one_line(told)
        return ""

    def _may_fit(self, action: str, role: str) -> tuple[Rule, ...]:
        words = as_words(action)
        return tuple(rule for rule in self._rules if rule.may_fit(words, role))


def is_a_tools(role: Role, content: str) -> bool:
    """Tell whether a text is what a tool gave back, and reads better in a line."""
    return role is Role.TOOL and (len(content) <= _WORDS_OF_A_TOOL or content[:1] in ("{", "["))


# What is seen by nobody, or makes others see something else: controls, bidirectional marks.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
# Without them emoji fall apart and Persian is misspelt.
_JOINERS = frozenset("\u200c\u200d")


def on_one_line(text: str) -> str:
    """Return a text as a line: bounded, and without what commands, hides or reorders."""
    line = " ".join(text[: 8 * MAX_CHARS].split())
    if not (line.isascii() and line.isprintable()):
        kept = (c for c in line if c in _JOINERS or unicodedata.category(c) not in _UNSEEN)
        line = " ".join("".join(kept).split())
    return line if len(line) <= MAX_CHARS else line[: MAX_CHARS - 1].rstrip() + "…"


# --- reading rules ---------------------------------------------------------------------------

_TOP = frozenset({"currency", "first", "hidden", "money", "value", "rule", "ours"})
_OF_A_RULE = frozenset({"name", "actions", "roles", "needs", "where", "line", "off"})
_OF_A_VALUE = frozenset({"keys", "form"})


@cache
def our_rules() -> LineRules:
    """Return the rules that come with Backstory."""
    return read_rules(_ours())


@cache
def _ours() -> Mapping[str, Any]:
    file = resources.files("backstory.extract").joinpath(_OURS)
    return tomllib.loads(file.read_text(encoding="utf-8"))


def load_rules(path: Path | None = None) -> LineRules:
    """Return our rules with those of a TOML file before them; ours alone without one.

    Raises UsageError with the line in the file, the rule, and what to do.
    """
    if path is None:
        return our_rules()
    try:
        written = path.read_text(encoding="utf-8")
        given = tomllib.loads(written)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as bad:
        raise UsageError(f"The rules in {path} cannot be read: {bad}.") from bad
    try:
        # Alone first, so that what is wrong with them is told of them.
        read_rules(given, known=_ours())
        return read_rules(extended(_ours(), given))
    except BadRule as bad:
        raise UsageError(f"{path}{bad.place_in(written)}: {bad}.") from bad


def _off(rule: Any) -> bool:
    return isinstance(rule, dict) and rule.get("off") is True


def extended(ours: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return our rules with a user's: a rule of the same name is replaced, others come first.

    A user's keys of a value are looked at before ours, `off = true` takes a rule of ours away, and
    `ours = false` takes all of them.
    """
    if own.get("ours") is False:
        return {name: part for name, part in own.items() if name != "ours"}
    rules = {each["name"]: each for each in own.get("rule", ())}
    named = {each["name"] for each in ours["rule"]}
    for name, each in rules.items():
        if _off(each) and name not in named:
            raise BadRule(f"there is no rule of ours called {name!r} to switch off", rule=name)
    kept = [rules.get(each["name"], each) for each in ours["rule"]]
    new = [each for name, each in rules.items() if name not in named]
    merged = dict(ours) | {
        "rule": [each for each in (*new, *kept) if not _off(each)],
        "value": dict(ours["value"]),
        "currency": own.get("currency", ours["currency"]),
    }
    for name in ("first", "hidden", "money"):
        merged[name] = list(dict.fromkeys([*own.get(name, ()), *ours[name]]))
    for name, each in own.get("value", {}).items():
        before = ours["value"].get(name, {"keys": []})
        keys = list(dict.fromkeys([*each.get("keys", ()), *before["keys"]]))
        merged["value"][name] = before | each | {"keys": keys}
    return merged


class BadRule(UsageError):
    """What is wrong with rules, and in which of them."""

    def __init__(self, sentence: str, *, rule: str | int | None = None, value: str = "") -> None:
        where = f"value {value!r}: " if value else ""
        if rule is not None:
            where = f"rule {rule!r}: " if isinstance(rule, str) else f"rule number {rule + 1}: "
        super().__init__(where + sentence)
        self._rule, self._value = rule, value

    def place_in(self, written: str) -> str:
        """Return `, line 12`: where in a file it is; "" where nobody can tell."""
        header = rf"^\s*\[\s*value\s*\.\s*\"?{re.escape(self._value)}\"?\s*\]"
        if self._rule is not None:
            header = r"^\s*\[\[\s*rule\s*\]\]"
        elif not self._value:
            return ""
        lines = [n for n, line in enumerate(written.splitlines(), 1) if re.match(header, line)]
        number = 0
        if isinstance(self._rule, str):
            names = [each.get("name") for each in tomllib.loads(written).get("rule", ())]
            number = names.index(self._rule) if self._rule in names else len(lines)
        elif self._rule is not None:
            number = self._rule
        return f", line {lines[number]}" if number < len(lines) else ""


def read_rules(given: Mapping[str, Any], *, known: Mapping[str, Any] | None = None) -> LineRules:
    """Return rules from what a file says; `known` has values that they may name besides.

    Raises BadRule, a UsageError.
    """
    _check_keys(given, _TOP)
    values = _read_values({**(known or {}).get("value", {}), **_table(given, "value")})
    rules: list[Rule] = []
    names: set[str] = set()
    entries = given.get("rule", [])
    if not isinstance(entries, list):
        raise BadRule("rules are written as [[rule]], with two brackets")
    for number, entry in enumerate(entries):
        name = _name_of(entry, number)
        if name in names:
            raise BadRule("another rule has this name: give each its own", rule=number)
        names.add(name)
        if not _off(entry):
            rules.append(_read_rule(entry, name, values))
    return LineRules(given, rules, _read_manner(given))


def _read_manner(given: Mapping[str, Any]) -> Manner:
    currency = given.get("currency", "USD")
    if not (isinstance(currency, str) and re.fullmatch("[A-Z]{3}", currency)):
        raise BadRule(f"currency is a code such as USD, EUR or GBP, not {currency!r}")
    first, hidden, money = (_words(given, name) for name in ("first", "hidden", "money"))
    return Manner(currency, first, hidden, money)


def _read_values(tables: Mapping[str, Any]) -> dict[str, Value]:
    found = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or not re.fullmatch(r"\w+", name):
            raise BadRule("a value is [value.NAME] with keys = [...]", value=name)
        _check_keys(table, _OF_A_VALUE, value=name)
        form = table.get("form", "text")
        if form not in FORMS:
            raise BadRule(f"there is no form {form!r}: {', '.join(FORMS)}", value=name)
        paths = tuple(path_of(key) for key in _words(table, "keys", value=name))
        if not paths and "form" not in table:
            raise BadRule("keys = [...] says where it may stand", value=name)
        found[name] = Value(paths, form, deep=True, empty=form == "answer")
    return found


def _name_of(entry: Any, number: int) -> str:
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise BadRule('it needs a name, such as name = "quote sent"', rule=number)
    _check_keys(entry, _OF_A_RULE, rule=name)
    return name


def _read_rule(entry: Mapping[str, Any], name: str, values: Mapping[str, Value]) -> Rule:
    line = entry.get("line")
    if not isinstance(line, str):
        raise BadRule('it needs a line, such as line = "Quote sent: {total}"', rule=name)
    roles = frozenset(_words(entry, "roles", rule=name))
    if not roles <= set(Role):
        raise BadRule(f"roles are some of {', '.join(Role)}", rule=name)
    try:
        return Rule(
            name,
            tuple(_pattern(each) for each in _words(entry, "actions", rule=name)),
            roles,
            tuple(value_of(each, values) for each in _words(entry, "needs", rule=name)),
            _read_where(entry, name, values),
            read_template(line, values),
        )
    except BadTemplate as bad:
        raise BadRule(str(bad), rule=name) from bad


def _pattern(text: str) -> re.Pattern[str]:
    """Return a pattern of actions, in words as they are compared; `*` stands for anything."""
    parts = (as_words(part) if part.strip("_.- ") else "" for part in text.split("*"))
    return re.compile(translate("*".join(parts)))


def _read_where(
    entry: Mapping[str, Any], rule: str, values: Mapping[str, Value]
) -> tuple[tuple[Value, frozenset[str]], ...]:
    where = entry.get("where", {})
    if not isinstance(where, dict):
        raise BadRule('where has paths and words, such as where = {type = ["shipped"]}', rule=rule)
    found = []
    for path, words in where.items():
        allowed = words if isinstance(words, list) else [words]
        found.append((value_of(path, values), frozenset(str(word).lower() for word in allowed)))
    return tuple(found)


def _table(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = given.get(name, {})
    if not isinstance(table, dict):
        raise BadRule(f"{name} is written as [{name}.NAME]")
    return table


def _words(
    given: Mapping[str, Any], name: str, *, rule: str | None = None, value: str = ""
) -> list[str]:
    words = given.get(name, [])
    if not isinstance(words, list) or not all(isinstance(each, str) and each for each in words):
        raise BadRule(
            f'{name} is a list of words, such as {name} = ["one"]', rule=rule, value=value
        )
    return words


def _check_keys(
    given: Mapping[str, Any], known: frozenset[str], *, rule: str | None = None, value: str = ""
) -> None:
    for name in given:
        if name not in known:
            only = ", ".join(sorted(known))
            raise BadRule(f"{name!r} is not known here, only {only}", rule=rule, value=value)
