"""Checks of what comes in: what a schema allows is taken, anything else is refused in words."""

from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any

import orjson

from backstory.errors import Refused
from backstory.tools.arguments import REFUSED, read_arguments
from backstory.tools.canonical import Schema, input_schema
from backstory.tools.check_providers import judge
from backstory.tools.check_schemas import Tools, fields
from backstory.tools.instances import draw
from backstory.tools.rules import rule_of
from backstory.tools.schemas import TOLD_IN_WORDS, Format, parameters
from backstory.tools.tool import Tool

_DRAWN = 100
_UNKNOWN = "no_such_field"
# What a model must never see of us.
_INSIDES = ("Traceback", "ValidationError", "pydantic", "Value error", "Input should")


# --- refusals --------------------------------------------------------------------------------


def unknown_fields(tools: Tools) -> Iterator[str]:
    """Yield tools that do not refuse a field they do not have."""
    for tool in tools:
        yield from _unless_refused(tool, _valid(tool) | {_UNKNOWN: 1}, [_UNKNOWN, tool.name])


def missing_fields(tools: Tools) -> Iterator[str]:
    """Yield required fields that are not asked for by name, rule and example."""
    for tool in tools:
        for name in input_schema(tool).get("required", ()):
            rest = {key: value for key, value in _valid(tool).items() if key != name}
            yield from _unless_refused(tool, rest, _expected(tool, name))


def wrong_fields(tools: Tools) -> Iterator[str]:
    """Yield fields whose wrong values are not refused by name, rule and example."""
    for tool, name, _ in fields(tools):
        for wrong in ({"a": 1}, float("nan"), "\0", [None]):
            given = _valid(tool) | {name: wrong}
            yield from _unless_refused(tool, given, _expected(tool, name))


def _expected(tool: Tool, name: str) -> list[str]:
    node = input_schema(tool)["properties"][name]
    inner = node.get("items", node)  # what is wrong may be in the list
    examples = [orjson.dumps(each).decode().strip("[]") for each in node.get("examples", ())[:1]]
    return [name, rule_of(inner), *examples]


def _valid(tool: Tool) -> dict[str, Any]:
    """Return the arguments that the fields' examples make."""
    named = input_schema(tool)["properties"].items()
    return {name: node["examples"][0] for name, node in named if node.get("examples")}


def _unless_refused(tool: Tool, arguments: dict[str, Any], named: list[str]) -> Iterator[str]:
    try:
        read_arguments(tool, arguments)
    except Refused as refused:
        lacking = [each for each in named if each not in str(refused)]
        leaking = [each for each in _INSIDES if each in str(refused)]
        if lacking or leaking or refused.outcome != REFUSED:
            yield f"{tool.name}: {refused} (lacks {lacking}, tells {leaking})"
    else:
        yield f"{tool.name} takes {arguments}"


def examples_taken(tools: Tools) -> Iterator[str]:
    """Yield examples that the tool itself does not take, one by one and all together."""
    for tool in tools:
        required = set(input_schema(tool).get("required", ()))
        valid = _valid(tool)
        for name in valid:
            only = {key: value for key, value in valid.items() if key in required | {name}}
            yield from _unless_taken(tool, "", only)
        yield from _unless_taken(tool, "", valid)


# --- instances of the projections ------------------------------------------------------------


def instances_taken(tools: Tools) -> Iterator[str]:
    """Yield what a projection, keywords and words, allows and the tool does not take."""
    yield from _drawn(tools, as_told, _unless_taken)


def instances_answered(tools: Tools) -> Iterator[str]:
    """Yield what a projection's keywords allow and the tool neither takes nor refuses in words."""
    yield from _drawn(tools, _as_written, _unless_answered)


def canonical_allowed(tools: Tools) -> Iterator[str]:
    """Yield what the tool takes and a projection excludes."""
    validator = judge("jsonschema", "Draft202012Validator")
    for tool in tools:
        ours = input_schema(tool)
        for shape in Format:
            theirs = parameters(tool, shape)
            checking = validator(theirs)
            random = Random(f"{tool.name} {shape}")  # noqa: S311 - samples, the same each time
            for _ in range(_DRAWN):
                given = draw(ours, random)
                whole = dict.fromkeys(theirs.get("required", ())) | given
                for error in checking.iter_errors(whole):
                    yield f"{tool.name} for {shape}: {error.message}"


Making = Callable[[Tool, Format], Schema]
Judging = Callable[[Tool, Format, dict[str, Any]], Iterator[str]]


def _drawn(tools: Tools, making: Making, judging: Judging) -> Iterator[str]:
    for tool in tools:
        for shape in Format:
            schema = making(tool, shape)
            random = Random(f"{tool.name} {shape}")  # noqa: S311 - samples, the same each time
            for _ in range(_DRAWN):
                yield from judging(tool, shape, draw(schema, random))


def _unless_taken(tool: Tool, shape: str, arguments: dict[str, Any]) -> Iterator[str]:
    try:
        read_arguments(tool, arguments)
    except Refused as refused:
        yield f"{tool.name} {shape}".strip() + f": {refused.message}"


def _unless_answered(tool: Tool, shape: str, arguments: dict[str, Any]) -> Iterator[str]:
    for _ in _unless_taken(tool, shape, arguments):
        yield from _unless_refused(tool, arguments, [])


def _as_written(tool: Tool, shape: Format) -> Schema:
    """Return a projection by its keywords alone."""
    return _with(parameters(tool, shape), input_schema(tool), frozenset({"examples"}))


def as_told(tool: Tool, shape: Format) -> Schema:
    """Return a projection with what its descriptions tell in words as keywords again."""
    return _with(parameters(tool, shape), input_schema(tool), TOLD_IN_WORDS[shape] | {"examples"})


def _with(theirs: Schema, ours: Schema, told: frozenset[str]) -> Schema:
    """Return their node with these keywords of ours."""
    if "anyOf" in theirs:
        either = partial(_with, ours=ours, told=told)
        return {
            "anyOf": [
                each if each == {"type": "null"} else either(each) for each in theirs["anyOf"]
            ]
        }
    made = theirs | {key: ours[key] for key in told if key in ours}
    if "properties" in theirs:
        made["properties"] = {
            name: _with(each, ours["properties"][name], told)
            for name, each in theirs["properties"].items()
        }
    if "items" in theirs:
        made["items"] = _with(theirs["items"], ours["items"], told)
    return made
