"""What a tool is: a function with a typed input and a typed output, of whoever may call it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, field_validator


def _within_reach(given: datetime) -> datetime:
    """Refuse what is before the year 1 or after 9999 in UTC: it could be kept, and never read."""
    try:
        given.astimezone(UTC)
    except OverflowError:
        raise ValueError("no calendar reaches that far in UTC") from None
    return given


Moment = Annotated[AwareDatetime, AfterValidator(_within_reach)]


# What nobody sees at the edge of a text, as a class of a regular expression in any language: spaces
# and control characters.
BLANK = r"\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_EDGES = re.compile(f"^[{BLANK}]+|[{BLANK}]+$")


class Input(BaseModel):
    """Arguments from a model: what is not known is refused, null means not given.

    Texts are taken without the blanks around them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _stripped(cls, given: Any) -> Any:
        return [_bare(each) for each in given] if isinstance(given, list) else _bare(given)


def _bare(given: Any) -> Any:
    return _EDGES.sub("", given) if isinstance(given, str) else given


class Part(BaseModel):
    """A piece of an answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Output(Part):
    """An answer for a model: short, with names beside ids, and the outcome as a word."""

    outcome: str


@dataclass(frozen=True)
class Tool:
    """One tool; its name and its description are the function's own.

    The function of an agent's tool takes its session's `Bound`, that of the staff's a connection
    that can only read; then the input.
    `idempotent`: the same call twice leaves the same state. `reads_only`: it changes nothing a
    person would look up. `overwrites`: it may replace or empty what was there; else it only adds.
    MCP clients are told all three.
    """

    function: Callable[[Any, Any], Output]
    takes: type[Input]
    gives: type[Output]
    title: str
    idempotent: bool
    reads_only: bool = False
    overwrites: bool = False

    @property
    def name(self) -> str:
        """The tool's name, verb_noun."""
        return self.function.__name__

    @property
    def description(self) -> str:
        """What it does, when to call it, when not, and what comes back."""
        return " ".join((self.function.__doc__ or "").split())
