"""Checks of the projections by the providers' own judges, which the `[check]` extra brings."""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from importlib import import_module
from random import Random
from typing import Any

import orjson
from pydantic import ValidationError

from backstory.errors import Terminal
from backstory.tools import canonical
from backstory.tools.canonical import Schema, input_schema, nodes, output_schema
from backstory.tools.check_schemas import Tools
from backstory.tools.instances import draw
from backstory.tools.rules import in_words
from backstory.tools.schemas import (
    TOLD_IN_WORDS,
    Format,
    parameters,
    projection,
    text_of,
)

_SAMPLES = 20
_OPENAI = (Format.OPENAI, Format.OPENAI_CHAT)
_HINTS = {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
# A strict request of Anthropic's may hold at most: tools, optional fields, unions.
_STRICT_LIMITS = {"tools": 20, "optional fields": 24, "unions": 16}
# What Gemini documents of JSON Schema; it ignores the rest.
_GEMINI = {
    *("type", "description", "enum", "items", "minItems", "maxItems", "minimum", "maximum"),
    *("properties", "required", "additionalProperties"),
}


class JudgeMissing(Terminal):
    """A judge is not installed: `pip install backstory[check]` brings them all."""


def judge(module: str, name: str) -> Any:
    """Return a judge by where it lives; raises JudgeMissing."""
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as gone:
        raise JudgeMissing(
            f"{module}.{name} is not there ({gone}): pip install backstory[check]"
        ) from gone


def _differences(before: Schema, after: object) -> Iterator[str]:
    """Yield where a judge has changed a schema."""
    if before == after:
        return
    ours = dict(nodes(before))
    theirs = dict(nodes(after)) if isinstance(after, Mapping) else {}
    for path in sorted({*ours, *theirs}):
        if ours.get(path) != theirs.get(path):
            yield f"{path or 'the root'} became {theirs.get(path)}"


def _judged(tools: Tools, shape: Format, judging: Callable[[Schema], Iterator[str]]) -> Any:
    """Yield what a judge says of each tool's parameters, an error of its own included."""
    refused = (
        judge("agents.exceptions", "UserError"),
        judge("pydantic_ai.exceptions", "UserError"),
    )
    for tool in tools:
        try:
            for said in judging(parameters(tool, shape)):
                yield f"{tool.name} for {shape}: {said}"
        except (*refused, TypeError, ValueError) as error:
            yield f"{tool.name} for {shape}: {error}"


# --- JSON Schema -----------------------------------------------------------------------------


def valid_schemas(tools: Tools) -> Iterator[str]:
    """Yield schemas that are not valid by JSON Schema's own draft of 2020-12."""
    validator = judge("jsonschema", "Draft202012Validator")
    invalid = judge("jsonschema.exceptions", "SchemaError")
    for tool in tools:
        written = {f"{tool.name} for {shape}": parameters(tool, shape) for shape in Format}
        for name, schema in (written | {f"{tool.name}'s answer": output_schema(tool)}).items():
            try:
                validator.check_schema(schema)
            except invalid as error:
                yield f"{name}: {error.message}"


def rules_kept(tools: Tools) -> Iterator[str]:
    """Yield rules that a projection neither has as a keyword nor tells in words."""
    for tool in tools:
        ours = dict(nodes(input_schema(tool)))
        for shape in Format:
            theirs: dict[str, list[Mapping[str, Any]]] = {}
            for path, node in nodes(parameters(tool, shape)):
                theirs.setdefault(path, []).append(node)
            for path, node in ours.items():
                lost = _lost(node, theirs.get(path, []), TOLD_IN_WORDS[shape])
                yield from (f"{tool.name}.{path} for {shape}: {each}" for each in lost)


def _lost(
    node: Mapping[str, Any], theirs: list[Mapping[str, Any]], told: frozenset[str]
) -> Iterator[str]:
    """Yield what `node` says and none of the nodes in its place does."""
    if not theirs:
        yield "it is missing"
    said = " ".join(each.get("description", "") for each in theirs).lower()
    for phrase in [node.get("description", ""), *in_words(node, told)]:
        if phrase.lower() not in said:
            yield f"it does not say {phrase!r}"
    for keyword in sorted(told & set(node) - {"examples"}):
        if not in_words(node, {keyword}):
            yield f"there are no words for {keyword}"
    implied = {"type"} if "enum" in node else set()
    structure = {"properties", "required", "items", "description", "examples"}
    for keyword in sorted(set(node) - told - structure - implied):
        if not any(_same(keyword, node[keyword], each) for each in theirs):
            yield f"it has no {keyword}"


def _same(keyword: str, value: object, other: Mapping[str, Any]) -> bool:
    return other.get(keyword) in (value, [value, "null"])


# --- each provider ---------------------------------------------------------------------------


def openai_required(tools: Tools) -> Iterator[str]:
    """Yield fields that OpenAI would find optional, or that cannot be null and may be left out."""
    for tool in tools:
        required = input_schema(tool).get("required", [])
        schema = parameters(tool, Format.OPENAI)
        for name, node in schema["properties"].items():
            if name not in schema["required"]:
                yield f"{tool.name}.{name} is not required"
            if (name not in required) != _takes_null(node):
                yield f"{tool.name}.{name}: null and optional do not agree"


def _takes_null(node: Mapping[str, Any]) -> bool:
    return "null" in node.get("type", ()) or {"type": "null"} in node.get("anyOf", ())


def openai_strict(tools: Tools) -> Iterator[str]:
    """Yield what the Agents SDK or pydantic-ai would change for OpenAI's strict mode."""
    ensure_strict = judge("agents.strict_schema", "ensure_strict_json_schema")
    transformer = judge("pydantic_ai.profiles.openai", "OpenAIJsonSchemaTransformer")

    def judging(schema: Schema) -> Iterator[str]:
        yield from _differences(schema, ensure_strict(deepcopy(schema)))
        asked = transformer(deepcopy(schema), strict=None)
        yield from _differences(schema, asked.walk())
        if not asked.is_strict_compatible:
            yield "not compatible with strict mode"

    for shape in _OPENAI:
        yield from _judged(tools, shape, judging)


def anthropic_unchanged(tools: Tools) -> Iterator[str]:
    """Yield what Anthropic's SDK would change, and unions with null."""
    transform = judge("anthropic", "transform_schema")

    def judging(schema: Schema) -> Iterator[str]:
        yield from _differences(schema, transform(deepcopy(schema)))
        for path, node in nodes(schema):
            if _takes_null(node):
                yield f"{path} takes null"

    yield from _judged(tools, Format.ANTHROPIC, judging)


def anthropic_strict_limits(tools: Tools) -> Iterator[str]:
    """Yield how much of a strict request to Anthropic the tools would fill, together."""
    counts = dict.fromkeys(_STRICT_LIMITS, 0) | {"tools": len(tools)}
    for tool in tools:
        for _, node in nodes(parameters(tool, Format.ANTHROPIC)):
            fields = node.get("properties", {})
            counts["optional fields"] += len(set(fields) - set(node.get("required", ())))
            counts["unions"] += "anyOf" in node or isinstance(node.get("type"), list)
    told = ", ".join(f"{counts[what]} {what} of {most}" for what, most in _STRICT_LIMITS.items())
    fits = all(counts[what] <= most for what, most in _STRICT_LIMITS.items())
    yield f"{told}: {'strict could be set for all' if fits else 'leave strict off, as it is'}"


def gemini_unchanged(tools: Tools) -> Iterator[str]:
    """Yield what pydantic-ai would take out for Gemini, and keywords Gemini does not document."""
    transformer = judge("pydantic_ai.profiles.google", "GoogleJsonSchemaTransformer")

    def judging(schema: Schema) -> Iterator[str]:
        yield from _differences(schema, transformer(deepcopy(schema)).walk())
        for path, node in nodes(schema):
            yield from (f"{path or 'the root'}: {key}" for key in sorted(set(node) - _GEMINI))

    yield from _judged(tools, Format.GEMINI, judging)


# --- MCP -------------------------------------------------------------------------------------


def mcp_annotations(tools: Tools) -> Iterator[str]:
    """Yield tools whose behavior MCP clients would have to guess, or guess wrongly."""
    for told in projection(tools, Format.MCP):
        hints = told["annotations"]
        if set(hints) != _HINTS or not all(isinstance(hint, bool) for hint in hints.values()):
            yield f"{told['name']}: {hints}"
        if hints["readOnlyHint"] and hints["destructiveHint"]:
            yield f"{told['name']} reads only, and overwrites"


def mcp_answers(tools: Tools) -> Iterator[str]:
    """Yield answers that are not valid against the output schema, or not equal to their text."""
    validator = judge("jsonschema", "Draft202012Validator")
    for tool in tools:
        schema = output_schema(tool)
        if schema.get("type") != "object":
            yield f"{tool.name}: the answer is no object"
            continue
        checking = validator(schema, format_checker=validator.FORMAT_CHECKER)
        random = Random(tool.name)  # noqa: S311 - samples, the same each time
        for _ in range(_SAMPLES):
            try:
                answer = tool.gives.model_validate(draw(schema, random))
            except ValidationError as refused:
                yield f"{tool.name}: {refused.errors()[0]['msg']}"
                continue
            content = answer.model_dump(mode="json")
            yield from (f"{tool.name}: {error.message}" for error in checking.iter_errors(content))
            if orjson.loads(text_of(content)) != content:
                yield f"{tool.name}: text and structure differ"


def same_bytes(tools: Tools) -> Iterator[str]:
    """Yield shapes that come out otherwise when they are made again from nothing."""
    for shape in Format:
        before = text_of(projection(tools, shape))
        canonical.forget()
        if text_of(projection(tools, shape)) != before:
            yield shape
