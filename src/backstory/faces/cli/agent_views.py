"""What a tool's answer looks like to a person who called it by hand."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType

from backstory.faces.cli.plain import plain
from backstory.faces.cli.screen import bullets, facts, heading
from backstory.tools.toolset import Answer


def answer_json(answer: Answer) -> dict[str, Any]:
    """Return an answer under the keys of --json; `data` is what the agent is told."""
    return {
        "tool": answer.tool,
        "outcome": answer.outcome,
        "refused": answer.refused,
        "replayed": answer.replayed,
        "data": answer.data,
    }


def answer_view(answer: Answer) -> RenderableType:
    """Return the outcome, and every value of the answer that is there, under its path."""
    before = "answered before under this key" if answer.replayed else ""
    title = heading(f"{plain(answer.tool)}: {answer.outcome.replace('_', ' ')}", before)
    if answer.refused:
        told = [answer.data["message"], answer.data.get("next_step", "")]
        return Group(title, *bullets([plain(each) for each in told if each], "✗", "red"))
    rest = {name: value for name, value in answer.data.items() if name != "outcome"}
    return Group(title, facts([(path, plain(value)) for path, value in _values(rest)]))


def _values(data: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield what is there: (`job.title`, text), (`candidates[1].why`, text)."""
    if isinstance(data, Mapping):
        for name, value in data.items():
            yield from _values(value, f"{path}.{name}" if path else name)
    elif isinstance(data, list):
        for place, value in enumerate(data, 1):
            yield from _values(value, f"{path}[{place}]")
    elif data is not None:
        yield path, str(data).lower() if isinstance(data, bool) else str(data)
