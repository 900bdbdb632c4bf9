"""What a face works with: tools on offer and a way to call them, an agent's or the staff's."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import orjson

from backstory.errors import Refused, UsageError
from backstory.tools.schemas import Format, projection
from backstory.tools.tool import Tool

LONGEST_KEY = 200


@dataclass(frozen=True)
class Answer:
    """What a call came to.

    `data` is the tool's output as JSON, or of a refusal `outcome`, `message` and `next_step`, which
    are written for the model. `replayed`: an earlier answer under the same idempotency key.
    `in_form`: the arguments were as the tool's schema has them, whatever became of the call.
    """

    tool: str
    outcome: str
    refused: bool
    data: dict[str, Any]
    replayed: bool = False
    in_form: bool = True

    @property
    def text(self) -> str:
        """`data` as JSON, where a provider wants a text."""
        return orjson.dumps(self.data).decode()


class Toolset(Protocol):
    """Whoever may call tools: a session of one lead, or the staff."""

    @property
    def offered(self) -> tuple[Tool, ...]:
        """The tools that may be called."""

    def call(
        self, name: str, arguments: Mapping[str, Any] | str, *, idempotency_key: str | None = None
    ) -> Answer:
        """Call one; what is refused is an answer too. Arguments may come as the JSON of them."""


def find_tool(tools: Iterable[Tool], name: str) -> Tool:
    """Return the tool of that name; raise Refused with the names there are."""
    there = tuple(tools)
    for tool in there:
        if tool.name == name:
            return tool
    names = ", ".join(tool.name for tool in there)
    raise Refused("unknown_tool", "There is no such tool.", next_step=f"There are: {names}.")


def listed(tools: Iterable[Tool], shape: str) -> list[dict[str, Any]]:
    """Return tools as the format of that name has them; raise UsageError for another."""
    if shape not in set(Format):
        raise UsageError(f"There is no format {shape!r}: use one of {', '.join(Format)}.")
    return projection(tools, Format(shape))


def refused_answer(name: str, refusal: Refused, *, in_form: bool) -> Answer:
    """Return a refusal as the answer to a call."""
    told = {"outcome": refusal.outcome, "message": refusal.message}
    if refusal.next_step:
        told["next_step"] = refusal.next_step
    return Answer(name, refusal.outcome, refused=True, data=told, in_form=in_form)


def checked_key(key: str | None) -> str | None:
    """Return an idempotency key that can be kept; raise UsageError for another."""
    fits = key is None or (
        isinstance(key, str) and 0 < len(key) <= LONGEST_KEY and key.isprintable()
    )
    if not fits:
        raise UsageError(
            f"An idempotency key has 1 to {LONGEST_KEY} printable characters: a UUID serves well."
        )
    return key


def milliseconds_since(started: float) -> int:
    """Return how long something took that began at `started` of `perf_counter`."""
    return round((perf_counter() - started) * 1000)
