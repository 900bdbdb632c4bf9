"""Checks of what the schemas say and how: names, descriptions, the plain canonical form, size."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from backstory.memory.tokens import upper_bound
from backstory.tools.canonical import input_schema, nodes
from backstory.tools.schemas import Format, projection, read_by_model, text_of
from backstory.tools.tool import Tool

Tools = Sequence[Tool]

MOST_TOKENS = 3_500
_SHORTEST, _LONGEST = 40, 1_024
_LEVELS, _PROPERTIES, _WORDS = 3, 12, 30
_TOOL_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_VERBS = {
    *("add", "cancel", "confirm", "create", "fetch", "find", "get", "list", "record", "search"),
    *("trace", "upsert"),
}
# What, when, when not, and what comes back; each has its words, so that their absence shows.
_TOLD = {
    "what it does": re.compile(r"^[A-Z][a-z]+ "),
    "when to call it": re.compile(r"\bCall it\b"),
    "when not to": re.compile(r"\b([Nn]ot|never|only)\b"),
    "what comes back": re.compile(r"\bComes back with\b"),
}
_UNIT = re.compile(
    r"\b(cents|units|candidates|customers|messages|time zone|date|hours|minutes|days|percent)\b"
)
_COUNTED = {"integer", "number"}
_KEYWORDS = {
    *("type", "description", "enum", "format", "pattern", "minLength", "maxLength", "examples"),
    *("minimum", "maximum", "items", "minItems", "maxItems"),
    *("properties", "required", "additionalProperties"),
}
_FORMATS = {"date", "date-time", "email", "uuid"}
_LOOK_AROUND = re.compile(r"\(\?<?[=!]")
_WHO = re.compile(r"(^|_)(customer|lead|tenant|business|account|conversation)(_|$)")
_EMAIL = re.compile(r"[\w.+-]+@(?!example\.(?:com|org|net)\b)[\w-]+\.\w+")
# Seven digits or more, written as phones are; 555-0100 to 555-0199 are nobody's.
_PHONE = re.compile(r"(?<![\w,.-])\+?\d[\d ().-]{5,}\d(?![\w,-])")
_NOBODYS = re.compile(r"555[ .-]?01\d\d$")
_ID_OR_TIME = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:]+([+-]\d\d:\d\d|Z)"
)


def fields(tools: Tools) -> Iterator[tuple[Tool, str, Mapping[str, Any]]]:
    """Yield every field of every tool's input."""
    for tool in tools:
        for name, node in input_schema(tool)["properties"].items():
            yield tool, name, node


# --- names and descriptions ------------------------------------------------------------------


def tool_names(tools: Tools) -> Iterator[str]:
    """Yield names that are taken, not plain, or without a verb."""
    names = [tool.name for tool in tools]
    for name in names:
        if not _TOOL_NAME.fullmatch(name):
            yield f"{name!r} is not {_TOOL_NAME.pattern}"
        if names.count(name) > 1:
            yield f"{name} is the name of {names.count(name)} tools"
        if "_" not in name or not _VERBS & set(name.split("_")[:2]):
            yield f"{name} does not begin with a verb and a noun"


def field_names(tools: Tools) -> Iterator[str]:
    """Yield fields whose names are not plain."""
    for tool, name, _ in fields(tools):
        if not _FIELD_NAME.fullmatch(name):
            yield f"{tool.name}.{name} is not {_FIELD_NAME.pattern}"


def descriptions(tools: Tools) -> Iterator[str]:
    """Yield descriptions that are too short, too long, or silent on something."""
    for tool in tools:
        length = len(tool.description)
        if not _SHORTEST <= length <= _LONGEST:
            yield f"{tool.name}: {length} characters"
        for what, words in _TOLD.items():
            if not words.search(tool.description):
                yield f"{tool.name} does not say {what}"


def field_descriptions(tools: Tools) -> Iterator[str]:
    """Yield fields without a sentence, an example, or the unit of a number or a time."""
    for tool, name, node in fields(tools):
        said = node.get("description", "")
        if not re.match(r"[A-Za-z].+\.$", said):
            yield f"{tool.name}.{name} has no sentence"
        if not node.get("examples"):
            yield f"{tool.name}.{name} has no example"
        measured = node.get("type") in _COUNTED or node.get("format") == "date-time"
        if measured and not _UNIT.search(said):
            yield f"{tool.name}.{name} names no unit"


# --- the canonical form ----------------------------------------------------------------------


def plain_roots(tools: Tools) -> Iterator[str]:
    """Yield tools whose arguments are anything but a plain object."""
    for tool in tools:
        schema = input_schema(tool)
        if schema.get("type") != "object" or not {"properties"} <= set(schema):
            yield tool.name


def closed_objects(tools: Tools) -> Iterator[str]:
    """Yield objects that take fields nobody has described."""
    for tool in tools:
        for path, node in nodes(input_schema(tool)):
            if node.get("type") == "object" and node.get("additionalProperties") is not False:
                yield f"{tool.name}.{path}".rstrip(".")


def keywords(tools: Tools) -> Iterator[str]:
    """Yield what not every provider reads: other keywords, formats, and look-around."""
    for tool in tools:
        for path, node in nodes(input_schema(tool)):
            where = f"{tool.name}.{path}".rstrip(".")
            yield from (f"{where}: {each}" for each in sorted(set(node) - _KEYWORDS))
            if node.get("format", "date") not in _FORMATS:
                yield f"{where}: format {node['format']}"
            if _LOOK_AROUND.search(node.get("pattern", "")):
                yield f"{where}: look-around in {node['pattern']}"


def sizes(tools: Tools) -> Iterator[str]:
    """Yield what is too deep, too wide, or too long a list of words."""
    for tool in tools:
        schema = input_schema(tool)
        if levels(schema) > _LEVELS:
            yield f"{tool.name}: {levels(schema)} levels"
        for path, node in nodes(schema):
            where = f"{tool.name}.{path}".rstrip(".")
            if len(node.get("properties", ())) > _PROPERTIES:
                yield f"{where}: {len(node['properties'])} properties"
            if len(node.get("enum", ())) > _WORDS:
                yield f"{where}: {len(node['enum'])} words"


def levels(node: Mapping[str, Any]) -> int:
    """Return how many objects and lists are inside one another."""
    below = [*node.get("properties", {}).values(), *([node["items"]] if "items" in node else [])]
    is_container = node.get("type") in {"object", "array"}
    return is_container + max(map(levels, below), default=0)


# --- what the text gives away, and what it costs ---------------------------------------------


def identities(tools: Tools) -> Iterator[str]:
    """Yield fields that would let a model say whose data it wants."""
    return (f"{tool.name}.{name}" for tool, name, _ in fields(tools) if _WHO.search(name))


def personal_data(tools: Tools) -> Iterator[str]:
    """Yield addresses and numbers that may be somebody's."""
    for said in sorted(set(_texts(projection(tools, Format.CANONICAL)))):
        rest = _ID_OR_TIME.sub("", said)
        yield from (each[0] for each in _EMAIL.finditer(rest))
        for each in _PHONE.finditer(rest):
            if not _NOBODYS.search(each[0]):
                yield each[0]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from chain.from_iterable(map(_texts, value.values()))
    elif isinstance(value, Sequence):
        yield from chain.from_iterable(map(_texts, value))


def tokens(tools: Tools, shape: Format) -> int:
    """Return how many tokens a model at most reads of the tools in this shape."""
    return upper_bound(text_of(read_by_model(tools, shape)))


def too_many_tokens(tools: Tools) -> Iterator[str]:
    """Yield the shapes in which the tools take too much of a prompt."""
    for shape in Format:
        if (count := tokens(tools, shape)) > MOST_TOKENS:
            yield f"{shape}: up to {count:,} tokens"


def token_counts(tools: Tools) -> Iterator[str]:
    """Yield what the tools cost at most in each shape."""
    yield ", ".join(f"{shape} {tokens(tools, shape):,}" for shape in Format)
    whole = upper_bound(text_of(projection(tools, Format.MCP)))
    yield f"tools/list of MCP with the schemas of the answers, which clients keep: {whole:,}"


Find = Callable[[Tools], Iterator[str]]
