"""Projects the tools into the shapes that model providers and MCP take, by pure functions.

Every projection says the same: a keyword that a provider does not take is told in words in the
description, so nothing is lost. docs/decisions/0014 has what each provider takes, and why.
"""

from collections.abc import Callable, Collection, Iterable
from enum import StrEnum
from typing import Any

import orjson

from backstory.tools.canonical import Schema, input_schema, output_schema
from backstory.tools.rules import example_of, in_words
from backstory.tools.tool import Tool


class Format(StrEnum):
    """Who is given the tools."""

    CANONICAL = "canonical"
    OPENAI = "openai"
    OPENAI_CHAT = "openai-chat"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    MCP = "mcp"


_LENGTH = frozenset({"minLength", "maxLength"})
_RANGE = frozenset({"minimum", "maximum"})
_ENTRIES = frozenset({"minItems", "maxItems"})
# What is told in words, because the provider's strict mode or its subset of JSON Schema leaves it
# out. Examples are told in words to all of them: most drop the keyword.
TOLD_IN_WORDS: dict[Format, frozenset[str]] = {
    Format.CANONICAL: frozenset(),
    Format.OPENAI: _LENGTH | {"examples"},
    Format.OPENAI_CHAT: _LENGTH | {"examples"},
    Format.ANTHROPIC: _LENGTH | _RANGE | _ENTRIES | {"pattern", "examples"},
    Format.GEMINI: _LENGTH | {"pattern", "format", "examples"},
    Format.MCP: frozenset({"examples"}),
}


def projection(tools: Iterable[Tool], shape: Format) -> list[dict[str, Any]]:
    """Return the tools as `shape` takes them: a list of JSON objects, made anew at each call."""
    return [_SHAPES[shape](tool) for tool in tools]


def parameters(tool: Tool, shape: Format) -> Schema:
    """Return the schema of a tool's arguments as it stands in its projection."""
    schema = _retold(input_schema(tool), TOLD_IN_WORDS[shape])
    if shape in {Format.OPENAI, Format.OPENAI_CHAT}:
        return _nullable(schema)
    if shape is Format.ANTHROPIC:
        return _untyped_enums(schema)
    return schema


def read_by_model(tools: Iterable[Tool], shape: Format) -> list[dict[str, Any]]:
    """Return the part of a projection that comes into a prompt; answers' schemas stay outside."""
    told = projection(tools, shape)
    unread = {"output", "outputSchema", "annotations", "title"}
    return [{key: value for key, value in tool.items() if key not in unread} for tool in told]


def text_of(data: Any) -> str:
    """Return JSON data as text for a model, without spaces."""
    return orjson.dumps(data).decode()


# --- the shapes ------------------------------------------------------------------------------


def _canonical(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "input": parameters(tool, Format.CANONICAL),
        "output": output_schema(tool),
    }


def _openai(tool: Tool) -> dict[str, Any]:
    return {"type": "function", **_strict_function(tool)}


def _openai_chat(tool: Tool) -> dict[str, Any]:
    return {"type": "function", "function": _strict_function(tool)}


def _strict_function(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters(tool, Format.OPENAI),
        "strict": True,
    }


def _anthropic(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": parameters(tool, Format.ANTHROPIC),
    }


def _gemini(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "parametersJsonSchema": parameters(tool, Format.GEMINI),
    }


def _mcp(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": parameters(tool, Format.MCP),
        "outputSchema": output_schema(tool),
        "annotations": {
            "readOnlyHint": tool.reads_only,
            "destructiveHint": tool.overwrites,
            "idempotentHint": tool.idempotent,
            # One business's own data: nothing outside of it is reached.
            "openWorldHint": False,
        },
    }


_SHAPES: dict[Format, Callable[[Tool], dict[str, Any]]] = {
    Format.CANONICAL: _canonical,
    Format.OPENAI: _openai,
    Format.OPENAI_CHAT: _openai_chat,
    Format.ANTHROPIC: _anthropic,
    Format.GEMINI: _gemini,
    Format.MCP: _mcp,
}


# --- from the canonical schema to theirs -----------------------------------------------------


def _retold(node: Schema, keywords: Collection[str]) -> Schema:
    """Return a schema in which the descriptions tell what these keywords said."""
    made = {key: value for key, value in node.items() if key not in keywords}
    if said := description_of(node, keywords):
        made["description"] = said
    if "properties" in made:
        made["properties"] = {
            name: _retold(each, keywords) for name, each in made["properties"].items()
        }
    if "items" in made:
        made["items"] = _retold(made["items"], keywords)
    return made


def description_of(node: Schema, keywords: Collection[str]) -> str:
    """Return a node's description with what these keywords of it say, in words."""
    sentences = [node.get("description", "")]
    sentences += [f"{phrase[0].upper()}{phrase[1:]}." for phrase in in_words(node, keywords)]
    if "examples" in keywords and not _speaks_for_itself(node) and (example := example_of(node)):
        sentences.append(f"Example: {example}")
    return " ".join(filter(None, sentences))


def _speaks_for_itself(node: Schema) -> bool:
    """Whether a node needs no example: the words of an enum, yes or no, an id that was given."""
    return "enum" in node or node.get("type") == "boolean" or node.get("format") == "uuid"


def _nullable(node: Schema) -> Schema:
    """Return an object with every field required, and null for those that may be left out."""
    required = node.get("required", ())
    fields = {
        name: each if name in required else _or_null(each)
        for name, each in node["properties"].items()
    }
    return node | {"properties": fields, "required": list(fields)}


def _or_null(node: Schema) -> Schema:
    """Return a node that also takes null, as OpenAI's own SDK writes it: short if it is plain."""
    described = {key: node[key] for key in ("description",) if key in node}
    inner = {key: value for key, value in node.items() if key != "description"}
    if set(inner) == {"type"}:
        return {"type": [inner["type"], "null"], **described}
    return {**described, "anyOf": [inner, {"type": "null"}]}


def _untyped_enums(node: Schema) -> Schema:
    """Return a schema whose enums go without a type, as Anthropic's SDK writes them."""
    made = {key: value for key, value in node.items() if not (key == "type" and "enum" in node)}
    if "properties" in made:
        made["properties"] = {
            name: _untyped_enums(each) for name, each in made["properties"].items()
        }
    if "items" in made:
        made["items"] = _untyped_enums(made["items"])
    return made
