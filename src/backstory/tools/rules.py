"""Says in words what a schema demands: in descriptions that lose a keyword, and in refusals."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import orjson

Node = Mapping[str, Any]

_FORMATS = {
    "date": "an ISO 8601 date",
    "date-time": "an ISO 8601 date and time with time zone",
    "email": "an e-mail address",
    "uuid": "a UUID as a tool gave it",
}
_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def in_words(node: Node, keywords: Collection[str]) -> list[str]:
    """Return what these keywords of a node demand, a phrase for each: `1 to 200 characters`."""
    told = {key: node[key] for key in keywords if key in node}
    return [phrase for make in _PHRASES if (phrase := make(told))]


def rule_of(node: Node) -> str:
    """Return all that a node demands: `a whole number, 0 to 10`; `one of: sms, web`."""
    if "enum" in node:
        return f"one of: {', '.join(map(str, node['enum']))}"
    kind = _FORMATS.get(node.get("format", "")) or _TYPES.get(node.get("type", ""), "a value")
    phrases = [kind, *in_words({key: node[key] for key in node if key != "format"}, node)]
    if "items" in node:
        phrases.append(f"each {rule_of(node['items'])}")
    return ", ".join(phrases)


def example_of(node: Node) -> str:
    """Return a node's first example as a model may write it, text without quotes; else nothing."""
    if not node.get("examples"):
        return ""
    first = node["examples"][0]
    return first if isinstance(first, str) else orjson.dumps(first).decode()


def _format(told: Node) -> str:
    name: str = told.get("format", "")
    return _FORMATS.get(name, name)


def _pattern(told: Node) -> str:
    return f"matching {told['pattern']}" if "pattern" in told else ""


def _between(least: str, most: str, unit: str) -> Callable[[Node], str]:
    def phrase(told: Node) -> str:
        low, high = told.get(least), told.get(most)
        if low is None and high is None:
            return ""
        if low is None:
            said = f"at most {high:,}"
        elif high is None:
            said = f"at least {low:,}"
        else:
            said = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        return f"{said} {unit}".strip()

    return phrase


_PHRASES: tuple[Callable[[Node], str], ...] = (
    _format,
    _between("minLength", "maxLength", "characters"),
    _pattern,
    _between("minimum", "maximum", ""),
    _between("minItems", "maxItems", "entries"),
)
