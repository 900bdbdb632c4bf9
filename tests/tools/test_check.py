"""The suite holds of our tools, and each of its checks finds what it is there to find."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Annotated, Any

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    create_model,
    model_validator,
)

from backstory.tools import schemas
from backstory.tools.catalog import STAFF_TOOLS, TOOLS, offered
from backstory.tools.check import CHECKS, run_checks
from backstory.tools.schemas import TOLD_IN_WORDS, Format
from backstory.tools.tool import Input, Output, Tool

BY_NAME = {check.name: check for check in CHECKS}
HELD = [check.name for check in CHECKS if not check.informs]
TOOL = next(tool for tool in TOOLS if tool.name == "create_job")


def field(kind: Any, **of: Any) -> Any:
    return Annotated[kind, Field(**{"description": "A word.", "examples": ["x"]} | of)]


def taking(kind: Any, *, name: str = "word", base: type[Input] = Input, **of: Any) -> list[Tool]:
    """A tool with one field that must be given."""
    return [replace(TOOL, takes=create_model("Takes", __base__=base, **{name: field(kind, **of)}))]


def written_as(schema: dict[str, Any]) -> Any:
    return Annotated[str, WithJsonSchema(schema)]


def giving(**fields: Any) -> list[Tool]:
    return [replace(TOOL, gives=create_model("Gives", __base__=Output, **fields))]


def refuses(said: str) -> Any:
    def refuse(_: str) -> str:
        raise ValueError(said)

    return Annotated[str, AfterValidator(refuse)]


# --- what each check is there to find --------------------------------------------------------


class Open(Input):
    model_config = ConfigDict(extra="ignore")


class Array(Input):
    model_config = ConfigDict(json_schema_extra={"type": "array"})


class Inner(BaseModel):
    word: str


class Forgiving(Input):
    @model_validator(mode="before")
    @classmethod
    def _fills_in(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {"word": "x"} | given


def lookup_things() -> None:
    """Look."""


def numbered() -> Any:
    numbers = count()
    extra = lambda schema: schema.update(description=f"Number {next(numbers)}.")  # noqa: E731 - a line
    return Annotated[str, Field(json_schema_extra=extra)]


def many_fields() -> list[Tool]:
    fields = {f"word_{number}": field(str) for number in range(13)}
    return [replace(TOOL, takes=create_model("Many", __base__=Input, **fields))]


BREAKAGES: dict[str, Callable[[], Sequence[Tool]]] = {
    "tool_names": lambda: [replace(TOOL, function=lookup_things)],
    "field_names": lambda: taking(str, name="firstWord"),
    "descriptions": lambda: [replace(TOOL, function=lookup_things)],
    "field_descriptions": lambda: taking(str, description=""),
    "valid_schemas": lambda: taking(written_as({"type": "word"})),
    "plain_roots": lambda: taking(str, base=Array),
    "closed_objects": lambda: taking(Inner),
    "keywords": lambda: taking(int, gt=0),
    "sizes": many_fields,
    "openai_required": lambda: taking(int | str | None),
    "openai_strict": lambda: taking(written_as({"type": "string", "format": "uri"})),
    "anthropic_unchanged": lambda: taking(int, multiple_of=5),
    "gemini_unchanged": lambda: taking(int, gt=0),
    "mcp_annotations": lambda: [replace(TOOL, reads_only=True, overwrites=True)],
    "mcp_answers": lambda: giving(
        word=Annotated[str, PlainSerializer(len), WithJsonSchema({"type": "string"})]
    ),
    "same_bytes": lambda: giving(word=numbered()),
    "unknown_fields": lambda: taking(str, base=Open),
    "missing_fields": lambda: taking(str, base=Forgiving),
    "wrong_fields": lambda: taking(Any),
    "examples_taken": lambda: taking(str, max_length=2, examples=["long"]),
    "instances_taken": lambda: taking(refuses("never")),
    "instances_answered": lambda: taking(refuses("pydantic says no")),
    "canonical_allowed": lambda: taking(written_as({"type": "string", "pattern": "y"})),
    "identities": lambda: taking(str, name="customer_id"),
    "personal_data": lambda: taking(str, examples=["jane.doe@mail.test"]),
    "too_many_tokens": lambda: [*TOOLS, *TOOLS],
}
# This one looks at the projections themselves: no tool of its own can break it.
OF_THE_PROJECTIONS = {"rules_kept"}


def test_every_check_has_something_to_find():
    assert set(BREAKAGES) | OF_THE_PROJECTIONS == set(HELD)


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_check_finds_what_it_is_there_for(name):
    found = list(BY_NAME[name].find(BREAKAGES[name]()))
    assert found
    assert all(isinstance(each, str) for each in found)


def test_a_rule_that_a_projection_loses_is_found(monkeypatch):
    lost = TOLD_IN_WORDS[Format.GEMINI] | {"additionalProperties"}
    monkeypatch.setitem(schemas.TOLD_IN_WORDS, Format.GEMINI, lost)
    found = list(BY_NAME["rules_kept"].find([TOOL]))
    assert found == ["create_job. for gemini: there are no words for additionalProperties"]


@pytest.mark.parametrize(
    ("text", "somebody_s"),
    [
        ("call +1 202 555 0123 or (555) 555-0199", False),
        ("3f2c8a70-5d0b-4b7e-9a51-0c9f3f7c1b22 at 2026-06-03T09:00:00-05:00", False),
        ("0 to 10,000,000,000, name@example.com", False),
        ("call +1 202 456 1111", True),
        ("write to ana@shop.test", True),
    ],
)
def test_data_that_may_be_somebody_s_is_told_from_examples(text, somebody_s):
    tools = taking(str, examples=[text])
    assert bool(list(BY_NAME["personal_data"].find(tools))) is somebody_s


# --- our tools -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checked():
    return {each.check.name: each for each in run_checks(TOOLS, STAFF_TOOLS)}


@pytest.mark.parametrize("name", HELD)
def test_it_holds_of_our_tools(name, checked):
    assert checked[name].found == ()


def test_what_is_only_counted_never_fails(checked):
    limits, staff_s = checked["anthropic_strict_limits"].found
    assert staff_s.startswith("the staff's: 5 tools")
    assert "32 optional fields of 24" in limits
    assert checked["anthropic_strict_limits"].passed
    counts, whole, *_ = checked["token_counts"].found
    assert all(shape in counts for shape in Format)
    assert "tools/list" in whole


def test_all_nine_points_are_checked_in_their_order():
    points = [check.point for check in CHECKS]
    assert set(points) == set(range(1, 10))
    assert points == sorted(points)
    assert len(BY_NAME) == len(CHECKS)


def test_without_memory_five_tools_are_offered_and_sound():
    tools = offered(memory_enabled=False)
    assert len(tools) == 5
    assert all(each.passed for each in run_checks(tools))


# --- the judges ------------------------------------------------------------------------------

JUDGES = {
    "agents.strict_schema": ["openai_strict"],
    "anthropic": ["anthropic_unchanged"],
    "pydantic_ai.profiles.google": ["gemini_unchanged"],
    "jsonschema": ["valid_schemas", "mcp_answers", "canonical_allowed"],
}


@pytest.mark.parametrize("module", JUDGES)
def test_a_judge_that_is_missing_is_a_failed_check(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    failed = {each.check.name: each for each in run_checks([TOOL]) if not each.passed}
    assert list(failed) == sorted(JUDGES[module], key=[*BY_NAME].index)
    for each in failed.values():
        assert "pip install backstory[check]" in each.found[0]


def test_the_tools_come_without_any_judge():
    script = (
        "import sys, backstory.tools.check, backstory.tools.catalog\n"
        "print(sorted({'agents', 'anthropic', 'jsonschema', 'pydantic_ai'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
