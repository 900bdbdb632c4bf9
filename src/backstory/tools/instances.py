"""Draws values that a schema allows, for the suite: from the small part of JSON Schema we use."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any
from uuid import UUID

_LETTERS = "aeiou bcd XYZ 0129 .,;:!?'\"\\/&<>{}[]()$%\n\té漢🙂"
_EDGES = "azAZ09é漢🙂"  # what stripping leaves alone
_LONGEST = 24
_SMALLEST, _LARGEST = -1_000_000, 1_000_000
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_YEAR_OF_MINUTES = 525_600
_HOURS_WEST, _HOURS_EAST = -12, 14
_MOST_ENTRIES = 4

Node = Mapping[str, Any]


def draw(node: Node, random: Random) -> Any:
    """Return a value of `node`; a pattern is served by the node's examples.

    Raises KeyError for a keyword or a type that the suite forbids.
    """
    if "anyOf" in node:
        return draw(random.choice(node["anyOf"]), random)
    if "enum" in node:
        return random.choice(node["enum"])
    kind = node["type"]
    if isinstance(kind, list):
        kind = random.choice(kind)
    return _DRAWS[kind](node, random)


def _object(node: Node, random: Random) -> dict[str, Any]:
    required = node.get("required", ())
    return {
        name: draw(each, random)
        for name, each in node["properties"].items()
        if name in required or random.random() < 0.5  # noqa: PLR2004 - every other one
    }


def _array(node: Node, random: Random) -> list[Any]:
    least = node.get("minItems", 0)
    most = min(node.get("maxItems", _MOST_ENTRIES), least + _MOST_ENTRIES)
    return [draw(node["items"], random) for _ in range(random.randint(least, most))]


def _string(node: Node, random: Random) -> str:
    if "pattern" in node:
        return str(random.choice(node["examples"]))
    if "format" in node:
        return _FORMATS[node["format"]](random)
    least = node.get("minLength", 0)
    most = min(node.get("maxLength", _LONGEST), least + _LONGEST)
    length = random.choice([least, most, random.randint(least, most)])
    text = "".join(random.choices(_LETTERS, k=length))
    return _with_edges(text, random) if text else text


def _with_edges(text: str, random: Random) -> str:
    edges = random.choice(_EDGES), random.choice(_EDGES)
    return edges[0] if len(text) == 1 else f"{edges[0]}{text[1:-1]}{edges[1]}"


def _integer(node: Node, random: Random) -> int:
    least: int = node.get("minimum", _SMALLEST)
    most: int = node.get("maximum", _LARGEST)
    return random.choice([least, most, random.randint(least, most)])


def _number(node: Node, random: Random) -> float:
    least: float = node.get("minimum", _SMALLEST)
    most: float = node.get("maximum", _LARGEST)
    return random.choice([least, most, random.uniform(least, most)])


def _moment(random: Random) -> str:
    zone = timezone(timedelta(hours=random.randint(_HOURS_WEST, _HOURS_EAST)))
    minutes = random.randint(-_YEAR_OF_MINUTES, _YEAR_OF_MINUTES)
    written = (_EPOCH + timedelta(minutes=minutes)).astimezone(zone).isoformat()
    return written.replace("+00:00", random.choice(["Z", "+00:00"]))


_DRAWS: dict[str, Callable[[Node, Random], Any]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": lambda _node, random: random.random() < 0.5,  # noqa: PLR2004 - a coin
    "null": lambda _node, _random: None,
}
_FORMATS: dict[str, Callable[[Random], str]] = {
    "date-time": _moment,
    "date": lambda random: _moment(random)[:10],
    "email": lambda random: f"name{random.randint(0, 999)}@example.com",
    "uuid": lambda random: str(UUID(int=random.getrandbits(128), version=4)),
}
