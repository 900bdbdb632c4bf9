"""Reads a model's arguments into a tool's input, or refuses them in words a model can act on."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from typing import Any

import orjson
from pydantic import ValidationError

from backstory.errors import Refused
from backstory.tools.canonical import Schema, input_schema
from backstory.tools.rules import rule_of
from backstory.tools.tool import Input, Tool

REFUSED = "invalid_arguments"
_PROBLEMS_TOLD = 5
_SHOWN = 60
# Far beyond any tool: whoever sends more is not describing a call.
_FIELDS_READ = 50
_DIGITS_SHOWN = 20
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where (nowhere: with the whole call), what, and what would do."""

    place: str
    what: str
    node: Schema = field(default_factory=dict)

    def __str__(self) -> str:
        rule = f" It must be {rule_of(self.node)}" if self.node else ""
        examples = self.node.get("examples", [])
        example = f", for example {orjson.dumps(examples[0]).decode()}" if examples else ""
        said = f"`{self.place}` {self.what}." if self.place else f"The call {self.what}."
        return f"{said}{rule}{example}{'.' if rule else ''}"


def read_arguments(tool: Tool, arguments: Mapping[str, Any] | str) -> Input:
    """Return `arguments`, or the JSON of them, as the tool's input; null means not given.

    Raises Refused with the outcome `invalid_arguments` and, for up to five fields, what is wrong,
    the rule, and an example.
    """
    if isinstance(arguments, str):
        arguments = _parsed(tool, arguments)
    if not isinstance(arguments, Mapping):
        raise _refused(tool, [Problem("", f"has {shown(arguments)} where arguments belong")])
    if len(arguments) > _FIELDS_READ:
        most = len(tool.takes.model_fields)
        raise _refused(tool, [Problem("", f"has {len(arguments):,} fields, and takes {most}")])
    problems = {each.place: each for each in _misfits(tool, arguments)}
    try:
        read = tool.takes.model_validate(dict(arguments))
    except ValidationError as wrong:
        # Not raised from it: its text holds what was sent, whole.
        problems = {each.place: each for each in _told(tool, wrong)} | problems
    if problems:
        raise _refused(tool, list(problems.values()))
    return read


def _parsed(tool: Tool, text: str) -> Any:
    """Return what a model wrote as JSON; nothing at all is no arguments."""
    try:
        return orjson.loads(text) if text.strip() else {}
    except orjson.JSONDecodeError:
        raise _refused(tool, [Problem("", f"has {shown(text)}, which is not JSON")]) from None


def _refused(tool: Tool, problems: list[Problem]) -> Refused:
    told = [str(problem) for problem in problems[:_PROBLEMS_TOLD]]
    if len(problems) > len(told):
        told.append(f"And {len(problems) - len(told)} more.")
    return Refused(
        REFUSED,
        " ".join(told),
        next_step=f"Nothing was changed: call {tool.name} again with this put right.",
    )


# --- what Pydantic would take, and a model should not have sent ------------------------------


def _misfits(tool: Tool, arguments: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what would be read as something that was not meant, or could not be stored."""
    fields = _fields(tool)
    for name, value in arguments.items():
        node = fields.get(name, {}) if isinstance(name, str) else {}
        if what := _misread(node, value) or _unstorable(value):
            yield Problem(_name(name), what, node)


def _misread(node: Schema, value: object) -> str:
    """Say how Pydantic would misread a value: true as 1, "no" as false, 7 as seconds since 1970."""
    if value is None:
        return ""
    kind, is_moment = node.get("type"), node.get("format") == "date-time"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    misread = (
        (kind in {"integer", "number"} and not is_number)
        or (kind == "boolean" and not isinstance(value, bool))
        or (is_moment and not (isinstance(value, str) and _MOMENT.match(value.strip())))
    )
    return f"is {shown(value)}" if misread else ""


def _unstorable(value: object) -> str:
    """Say if a text, or one in a list, has a character that no database keeps."""
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, str) and "\0" in each:
            return "has a NUL character (\\u0000), which cannot be stored"
    return ""


# --- what Pydantic refuses, in our words -----------------------------------------------------


def _told(tool: Tool, wrong: ValidationError) -> Iterator[Problem]:
    for error in wrong.errors(include_url=False):
        place, kind = error["loc"], error["type"]
        if kind in {"extra_forbidden", "invalid_key"}:
            yield _unknown(tool, place[-1])
        else:
            yield Problem(_path(place), _what(kind, error), _node_at(tool, place))


def _what(kind: str, error: Mapping[str, Any]) -> str:
    """Say what is wrong with a value; the rule says the rest."""
    value = error["input"]
    if kind == "missing":
        return "is missing"
    if kind == "value_error":  # a rule of ours, in its own words
        return f"is not taken: {error['ctx']['error']}".rstrip(".")
    if kind == "timezone_aware":
        return f"is {shown(value)}, without a time zone"
    if kind in {"string_too_long", "too_long"}:
        unit = "characters" if isinstance(value, str) else "entries"
        return f"is too long: {len(value):,} {unit}"
    return f"is {shown(value)}"


def _unknown(tool: Tool, name: object) -> Problem:
    known = list(tool.takes.model_fields)
    near = get_close_matches(str(name)[:_SHOWN].lower(), known, n=1)
    meant = f"perhaps `{near[0]}` was meant" if near else f"it takes {', '.join(known)}"
    return Problem(_name(name), f"is no field of {tool.name}: {meant}")


def _path(place: tuple[int | str, ...]) -> str:
    """Return where something is: `candidate_ids[2]`; every name on the way is a field of ours."""
    path = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in place)
    return path.removeprefix(".")


def _node_at(tool: Tool, place: tuple[int | str, ...]) -> Schema:
    """Return the schema of what is at `place`; an entry has its list's example."""
    node: Schema = _fields(tool).get(str(place[0]), {}) if place else {}
    for each in place[1:]:
        inner = node.get("items", {}) if isinstance(each, int) else {}
        node = inner | ({"examples": node["examples"][0]} if inner and "examples" in node else {})
    return node


@cache
def _fields(tool: Tool) -> dict[str, Schema]:
    """Return the schemas of a tool's fields; not to be changed."""
    properties: dict[str, Schema] = input_schema(tool)["properties"]
    return properties


# --- what was sent, fit to be shown ----------------------------------------------------------


def shown(value: object) -> str:
    """Return a value as a short word or two: cut, with control characters made visible."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool) or value is None:
        return orjson.dumps(value).decode()
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return "an object" if isinstance(value, Mapping) else f"a {type(value).__name__}"


def _quoted(text: str) -> str:
    return f'"{_name(text)}"' if text.strip() else "empty"


def _name(text: object) -> str:
    """Return a text of a stranger's, at most 60 characters of it, with nothing hidden in it."""
    written = text if isinstance(text, str) else shown(text)
    visible = "".join(map(_visible, written[:_SHOWN]))
    return f"{visible}…" if len(written) > _SHOWN else visible


def _visible(character: str) -> str:
    hidden = unicodedata.category(character)[0] == "C" or character in "\u2028\u2029`"
    return f"\\u{ord(character):04x}" if hidden else character


def _number(value: float) -> str:
    # Python refuses to write an int of more than 4,300 digits.
    if isinstance(value, int) and abs(value) >= 10**_DIGITS_SHOWN:
        return f"a number of more than {_DIGITS_SHOWN} digits"
    return str(value)
