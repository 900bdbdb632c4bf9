"""Every provider is given the same tools, each in its own shape, and nothing is lost on the way."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Literal

import pytest
from anthropic.types import ToolParam
from hypothesis import given
from hypothesis import strategies as st
from mcp.types import Tool as McpTool
from openai.types.chat import ChatCompletionFunctionToolParam
from openai.types.responses import FunctionToolParam
from pydantic import AwareDatetime, Field, TypeAdapter

from backstory.tools.arguments import read_arguments
from backstory.tools.canonical import input_schema, output_schema
from backstory.tools.catalog import TOOLS
from backstory.tools.check_calls import as_told
from backstory.tools.instances import draw
from backstory.tools.schemas import Format, parameters, projection, read_by_model, text_of
from backstory.tools.tool import Input, Output, Part

NAMES = [tool.name for tool in TOOLS]
BY_NAME = {tool.name: tool for tool in TOOLS}


class Size(StrEnum):
    """How large."""

    SMALL = "small"
    LARGE = "large"


class Box(Part):
    """A box."""

    title: str
    size: Size | None


class Ask(Input):
    """What the docstring of a model says is no business of a language model's."""

    title: Annotated[
        Annotated[str, Field(min_length=2, max_length=9)],
        Field(description="Its title.", examples=["Sofa"]),
    ]
    size: Annotated[Size | None, Field(description="Its size.", examples=["small"])] = None
    when: Annotated[
        AwareDatetime | None,
        Field(description="When, with time zone.", examples=["2026-06-03T09:00:00Z"]),
    ] = None
    many: Annotated[
        Annotated[list[Annotated[int, Field(ge=1)]], Field(max_length=3)] | None,
        Field(description="Numbers of units.", examples=[[1, 2]]),
    ] = None


class Told(Output):
    """The boxes."""

    outcome: Literal["done"]
    boxes: list[Box]


ASK = replace(TOOLS[0], takes=Ask, gives=Told)


# --- the canonical form ----------------------------------------------------------------------


def test_the_canonical_schema_is_plain():
    assert input_schema(ASK) == {
        "type": "object",
        "properties": {
            "title": {
                "type": "string",
                "description": "Its title.",
                "minLength": 2,
                "maxLength": 9,
                "examples": ["Sofa"],
            },
            "size": {
                "type": "string",
                "description": "Its size.",
                "enum": ["small", "large"],
                "examples": ["small"],
            },
            "when": {
                "type": "string",
                "description": "When, with time zone.",
                "format": "date-time",
                "examples": ["2026-06-03T09:00:00Z"],
            },
            "many": {
                "type": "array",
                "description": "Numbers of units.",
                "items": {"type": "integer", "minimum": 1},
                "maxItems": 3,
                "examples": [[1, 2]],
            },
        },
        "required": ["title"],
        "additionalProperties": False,
    }


def test_an_answer_s_schema_names_every_field_and_its_nulls():
    assert output_schema(ASK) == {
        "type": "object",
        "description": "The boxes.",
        "properties": {
            "outcome": {"type": "string", "enum": ["done"]},
            "boxes": {
                "type": "array",
                "items": {
                    "type": "object",
                    "description": "A box.",
                    "properties": {
                        "title": {"type": "string"},
                        "size": {
                            "anyOf": [
                                {"type": "string", "enum": ["small", "large"]},
                                {"type": "null"},
                            ]
                        },
                    },
                    "required": ["title", "size"],
                    "additionalProperties": False,
                },
            },
        },
        "required": ["outcome", "boxes"],
        "additionalProperties": False,
    }


def test_a_schema_is_the_caller_s_own_to_change():
    for shape in Format:
        before = text_of(projection(TOOLS, shape))
        changed = projection(TOOLS, shape)
        for tool in changed:
            schema = next(value for value in tool.values() if isinstance(value, dict))
            schema.clear()
        assert text_of(projection(TOOLS, shape)) == before


# --- each provider ---------------------------------------------------------------------------


def test_openai_requires_every_field_and_takes_null_for_those_that_may_be_left_out():
    assert parameters(ASK, Format.OPENAI) == {
        "type": "object",
        "properties": {
            "title": {
                "type": "string",
                "description": "Its title. 2 to 9 characters. Example: Sofa",
            },
            "size": {
                "description": "Its size.",
                "anyOf": [{"type": "string", "enum": ["small", "large"]}, {"type": "null"}],
            },
            "when": {
                "description": "When, with time zone. Example: 2026-06-03T09:00:00Z",
                "anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}],
            },
            "many": {
                "description": "Numbers of units. Example: [1,2]",
                "anyOf": [
                    {"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": 3},
                    {"type": "null"},
                ],
            },
        },
        "required": ["title", "size", "when", "many"],
        "additionalProperties": False,
    }


def test_a_plain_optional_field_of_openai_has_two_types():
    notes = parameters(BY_NAME["add_address"], Format.OPENAI)["properties"]["access_notes"]
    assert notes["type"] == ["string", "null"]
    assert "anyOf" not in notes


def test_anthropic_has_no_null_and_tells_limits_in_words():
    assert parameters(ASK, Format.ANTHROPIC) == {
        "type": "object",
        "properties": {
            "title": {
                "type": "string",
                "description": "Its title. 2 to 9 characters. Example: Sofa",
            },
            "size": {"description": "Its size.", "enum": ["small", "large"]},
            "when": {
                "type": "string",
                "description": "When, with time zone. Example: 2026-06-03T09:00:00Z",
                "format": "date-time",
            },
            "many": {
                "type": "array",
                "description": "Numbers of units. At most 3 entries. Example: [1,2]",
                "items": {"type": "integer", "description": "At least 1."},
            },
        },
        "required": ["title"],
        "additionalProperties": False,
    }


def test_gemini_is_told_formats_in_words():
    fields = parameters(ASK, Format.GEMINI)["properties"]
    assert fields["when"] == {
        "type": "string",
        "description": "When, with time zone. An ISO 8601 date and time with time zone. "
        "Example: 2026-06-03T09:00:00Z",
    }
    assert fields["many"]["maxItems"] == 3
    assert fields["many"]["items"] == {"type": "integer", "minimum": 1}


def test_the_envelopes_are_the_providers_own():
    (openai,) = projection([ASK], Format.OPENAI)
    (chat,) = projection([ASK], Format.OPENAI_CHAT)
    (anthropic,) = projection([ASK], Format.ANTHROPIC)
    (gemini,) = projection([ASK], Format.GEMINI)
    assert openai["strict"] is True
    assert chat == {"type": "function", "function": {k: openai[k] for k in openai if k != "type"}}
    assert list(anthropic) == ["name", "description", "input_schema"]
    assert list(gemini) == ["name", "description", "parametersJsonSchema"]


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        (Format.OPENAI, FunctionToolParam),
        (Format.OPENAI_CHAT, ChatCompletionFunctionToolParam),
        (Format.ANTHROPIC, ToolParam),
    ],
)
def test_the_providers_own_types_take_the_tools(shape, kind):
    reader = TypeAdapter(kind)
    for tool in projection(TOOLS, shape):
        assert reader.validate_python(tool) == tool


def test_mcp_s_own_type_takes_the_tools_and_gives_them_back():
    for tool in projection(TOOLS, Format.MCP):
        read = McpTool.model_validate(tool)
        assert read.model_dump(mode="json", by_alias=True, exclude_unset=True) == tool


def test_mcp_is_told_what_each_tool_does_to_what_was_there():
    hints = {tool["name"]: tool["annotations"] for tool in projection(TOOLS, Format.MCP)}
    reading = [name for name, hint in hints.items() if hint["readOnlyHint"]]
    overwriting = [name for name, hint in hints.items() if hint["destructiveHint"]]
    repeatable = [name for name, hint in hints.items() if hint["idempotentHint"]]
    assert reading == ["memory_fetch_candidates"]
    assert overwriting == ["upsert_customer_profile", "add_address"]
    assert set(NAMES) - set(repeatable) == {"create_job", "add_job_item", "record_job_event"}
    assert not any(hint["openWorldHint"] for hint in hints.values())


def test_what_a_model_reads_holds_nothing_of_the_answers():
    for shape in Format:
        assert '"outcome"' not in text_of(read_by_model(TOOLS, shape))
    assert '"outcome"' in text_of(projection(TOOLS, Format.MCP))


def test_every_process_writes_the_same_bytes():
    script = (
        "from backstory.tools.catalog import TOOLS\n"
        "from backstory.tools.schemas import Format, projection, text_of\n"
        "print([text_of(projection(TOOLS, shape)) for shape in Format])"
    )
    written = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(written) == 1
    assert b"memory_confirm_context" in written.pop()


# --- any instance of a projection ------------------------------------------------------------


@given(st.sampled_from(NAMES), st.sampled_from(list(Format)), st.randoms(use_true_random=False))
def test_the_tool_takes_whatever_a_projection_allows(name, shape, random):
    tool = BY_NAME[name]
    arguments = draw(as_told(tool, shape), random)
    read = read_arguments(tool, json.loads(json.dumps(arguments)))
    given_fields = {name for name, value in arguments.items() if value is not None}
    assert {name for name, value in read if value is not None} == given_fields


@pytest.mark.parametrize(
    ("name", "field"), [("upsert_customer_profile", "language"), ("add_address", "country")]
)
@given(st.data())
def test_the_tool_takes_whatever_a_pattern_matches(name, field, data):
    node = input_schema(BY_NAME[name])["properties"][field]
    value = data.draw(st.from_regex(node["pattern"], fullmatch=True))
    example = {"line1": "12 Oak St"} if name == "add_address" else {}
    assert getattr(read_arguments(BY_NAME[name], example | {field: value}), field) == value.strip()


@given(st.decimals(min_value="0.001", max_value=100_000, allow_nan=False, places=9))
def test_a_quantity_is_rounded_as_the_column_is(quantity):
    read = read_arguments(
        BY_NAME["add_job_item"],
        {
            "job_id": "8a1e6b0c-2f43-4c7d-8f7e-6a9d5b2c4e10",
            "kind": "item",
            "name": "Load",
            "quantity": float(quantity),
        },
    )
    assert abs(read.quantity - quantity) <= 5 * 10**-4
    assert read.quantity.as_tuple().exponent >= -3
