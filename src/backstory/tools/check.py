"""The suite that holds the tools: nine points, each as checks that return what is wrong.

A check is a name, a sentence and a function that finds the offenders; none means it holds. A
provider's judge that is not installed is an offender too. `backstory tools --check` and the tests
run the same list.
"""

from dataclasses import dataclass

from backstory.tools import check_calls, check_providers, check_schemas
from backstory.tools.check_providers import JudgeMissing
from backstory.tools.check_schemas import MOST_TOKENS, Find, Tools


@dataclass(frozen=True)
class Check:
    """One thing that must hold of the tools; with `informs`, one that is only counted.

    `of_agents`: it is about an agent in a customer's conversation, not about the staff.
    """

    name: str
    point: int
    sentence: str
    find: Find
    informs: bool = False
    of_agents: bool = False


@dataclass(frozen=True)
class Checked:
    """What a check has found."""

    check: Check
    found: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the check holds; one that only counts always does."""
        return self.check.informs or not self.found


CHECKS: tuple[Check, ...] = (
    Check(
        "tool_names",
        1,
        "Every tool has a plain name of its own, with a verb.",
        check_schemas.tool_names,
    ),
    Check("field_names", 1, "Every field has a plain name.", check_schemas.field_names),
    Check(
        "descriptions",
        1,
        "Every description says what, when, when not, and what comes back, in 40 to 1,024 "
        "characters.",
        check_schemas.descriptions,
    ),
    Check(
        "field_descriptions",
        1,
        "Every field has a sentence, an example, and its unit.",
        check_schemas.field_descriptions,
    ),
    Check(
        "valid_schemas",
        2,
        "Every schema is valid JSON Schema of draft 2020-12.",
        check_providers.valid_schemas,
    ),
    Check("plain_roots", 2, "All arguments are a plain object.", check_schemas.plain_roots),
    Check(
        "closed_objects",
        2,
        "No object takes fields it does not name.",
        check_schemas.closed_objects,
    ),
    Check(
        "keywords",
        2,
        "Schemas use only the keywords and formats that every provider knows.",
        check_schemas.keywords,
    ),
    Check(
        "sizes",
        2,
        "Schemas have at most 3 levels, 12 properties, and 30 words to choose from.",
        check_schemas.sizes,
    ),
    Check(
        "openai_required",
        3,
        "For OpenAI every field is required, and null where it may be left out.",
        check_providers.openai_required,
    ),
    Check(
        "openai_strict",
        3,
        "OpenAI's strict mode takes the schemas as they are.",
        check_providers.openai_strict,
    ),
    Check(
        "anthropic_unchanged",
        4,
        "Anthropic's SDK changes nothing, and no field takes null.",
        check_providers.anthropic_unchanged,
    ),
    Check(
        "anthropic_strict_limits",
        4,
        "What a strict request to Anthropic would hold.",
        check_providers.anthropic_strict_limits,
        informs=True,
    ),
    Check(
        "gemini_unchanged",
        5,
        "Nothing is taken out for Gemini, which knows every keyword.",
        check_providers.gemini_unchanged,
    ),
    Check(
        "rules_kept",
        5,
        "Every projection has every rule, as a keyword or in words.",
        check_providers.rules_kept,
    ),
    Check(
        "mcp_annotations",
        6,
        "MCP clients are told all four hints about each tool.",
        check_providers.mcp_annotations,
    ),
    Check(
        "mcp_answers",
        6,
        "Answers are valid against the output schema, and equal to their text.",
        check_providers.mcp_answers,
    ),
    Check(
        "same_bytes",
        6,
        "Every projection is the same to the byte when it is made again.",
        check_providers.same_bytes,
    ),
    Check(
        "unknown_fields",
        7,
        "An unknown field is refused by its name.",
        check_calls.unknown_fields,
    ),
    Check(
        "missing_fields",
        7,
        "A missing field is asked for by name, rule and example.",
        check_calls.missing_fields,
    ),
    Check(
        "wrong_fields",
        7,
        "A wrong value is refused by the field's name, rule and example.",
        check_calls.wrong_fields,
    ),
    Check("examples_taken", 8, "The tools take their own examples.", check_calls.examples_taken),
    Check(
        "instances_taken",
        8,
        "Whatever a projection allows, keywords and words, is taken.",
        check_calls.instances_taken,
    ),
    Check(
        "instances_answered",
        8,
        "Whatever a projection's keywords allow is taken, or refused in words.",
        check_calls.instances_answered,
    ),
    Check(
        "canonical_allowed",
        8,
        "No projection excludes what a tool takes.",
        check_calls.canonical_allowed,
    ),
    Check(
        "identities",
        9,
        "No field lets a model say whose data it wants.",
        check_schemas.identities,
        of_agents=True,
    ),
    Check(
        "personal_data",
        9,
        "No address or number in the text may be somebody's.",
        check_schemas.personal_data,
    ),
    Check(
        "too_many_tokens",
        9,
        f"A model reads at most {MOST_TOKENS:,} tokens of all the tools together.",
        check_schemas.too_many_tokens,
        of_agents=True,
    ),
    Check(
        "token_counts",
        9,
        "What the tools cost at most.",
        check_schemas.token_counts,
        informs=True,
    ),
)


def run_checks(tools: Tools, staff: Tools = ()) -> list[Checked]:
    """Return what every check finds in an agent's tools, and in the staff's, point by point."""
    return [
        Checked(
            check, _found(check, tools) + (() if check.of_agents else _found_in_staff(check, staff))
        )
        for check in CHECKS
    ]


def _found_in_staff(check: Check, staff: Tools) -> tuple[str, ...]:
    if not staff:
        return ()
    # An offender has its tool's name; a count says nothing of whose.
    return tuple(f"the staff's: {each}" if check.informs else each for each in _found(check, staff))


def _found(check: Check, tools: Tools) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(check.find(tools)))
    except JudgeMissing as missing:
        return (str(missing),)
