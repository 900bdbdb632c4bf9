"""The one JSON Schema a tool has of its input and of its output, made from its Pydantic models.

What a model adds for its own use is taken out: references, titles, defaults, null beside an
optional field. What is left is where every provider's projection starts, and what refusals quote.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel

from backstory.tools.tool import Tool

Schema = dict[str, Any]

_NULL = {"type": "null"}
_DROPPED = {"$defs", "default", "title"}
# Nothing but the order of keys; a keyword that is not in it comes last.
_ORDER = (
    *("type", "description", "enum", "format", "pattern", "minLength", "maxLength"),
    *("minimum", "maximum", "items", "minItems", "maxItems"),
    *("properties", "required", "additionalProperties", "anyOf", "examples"),
)


def input_schema(tool: Tool) -> Schema:
    """Return the schema of a tool's arguments: optional fields are left out of `required`."""
    schema = deepcopy(_schema_of(tool.takes, "validation"))
    schema.pop("description", None)  # the tool has one
    return schema


def output_schema(tool: Tool) -> Schema:
    """Return the schema of `model_dump(mode="json")` of what a tool gives; every field is there."""
    return deepcopy(_schema_of(tool.gives, "serialization"))


def forget() -> None:
    """Make every schema anew when it is next asked for."""
    _schema_of.cache_clear()


@cache
def _schema_of(model: type[BaseModel], mode: Literal["validation", "serialization"]) -> Schema:
    written = model.model_json_schema(mode=mode)
    return _plain(written, written.get("$defs", {}), nulls=mode == "serialization")


def _plain(node: Mapping[str, Any], defs: Mapping[str, Schema], *, nulls: bool) -> Schema:
    """Return a node with its references followed and, without `nulls`, its unions resolved."""
    node = _followed(node, defs)
    if "anyOf" in node and not nulls:
        node = _without_null(node, defs)
    made = {key: value for key, value in node.items() if key not in _DROPPED}
    if "const" in made:
        made["enum"] = [made.pop("const")]
    if "properties" in made:
        made["properties"] = {
            name: _plain(each, defs, nulls=nulls) for name, each in made["properties"].items()
        }
    if "items" in made:
        made["items"] = _plain(made["items"], defs, nulls=nulls)
    if "anyOf" in made:
        made["anyOf"] = [_plain(each, defs, nulls=nulls) for each in made["anyOf"]]
    return {key: made[key] for key in sorted(made, key=_place)}


def _followed(node: Mapping[str, Any], defs: Mapping[str, Schema]) -> Schema:
    """Return a node with what it refers to written out; what stands beside the reference wins."""
    if "$ref" not in node:
        return dict(node)
    target = dict(defs[node["$ref"].removeprefix("#/$defs/")])
    if "enum" in target:
        target.pop("description", None)  # the class's own sentence is for who reads the code
    beside = {key: value for key, value in node.items() if key != "$ref"}
    return _followed(target, defs) | beside


def _without_null(node: Schema, defs: Mapping[str, Schema]) -> Schema:
    """Return an optional field as it is when given; other unions stay, for the suite to find."""
    given = [each for each in node["anyOf"] if each != _NULL]
    if len(given) != 1:
        return node
    beside = {key: value for key, value in node.items() if key != "anyOf"}
    return _followed(given[0], defs) | beside


def _place(keyword: str) -> int:
    return _ORDER.index(keyword) if keyword in _ORDER else len(_ORDER)


def nodes(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every schema inside `schema`, itself first, each with its path: `items[].name`."""
    yield path, schema
    for name, each in schema.get("properties", {}).items():
        yield from nodes(each, f"{path}.{name}" if path else name)
    if isinstance(schema.get("items"), Mapping):
        yield from nodes(schema["items"], f"{path}[]")
    for key in ("anyOf", "oneOf", "allOf"):
        for each in schema.get(key, ()):
            yield from nodes(each, path)
