"""What the list of tools and the verdict of their suite look like."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from backstory.faces.cli.plain import one_line
from backstory.faces.cli.screen import count, counted, hint, table, text
from backstory.tools.canonical import input_schema
from backstory.tools.catalog import MEMORY_TOOLS
from backstory.tools.check import Checked
from backstory.tools.tool import Tool

_SHOWN = 5


def tools_json(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """Return the tools under the keys of --json."""
    return [
        {
            "name": tool.name,
            "title": tool.title,
            "description": tool.description,
            "required": _fields(tool)[0],
            "optional": _fields(tool)[1],
            "needs_memory": tool in MEMORY_TOOLS,
        }
        for tool in tools
    ]


def tools_view(tools: Sequence[Tool]) -> RenderableType:
    """Return each tool with its title and its fields, those that must be given first."""
    made = table("tool", ("what it is for, and what it takes", {"no_wrap": False}))
    for tool in tools:
        required, optional = _fields(tool)
        fields = text((", ".join(required), ""), (_optional(required, optional), "dim"))
        made.add_row(f"{tool.name}{' *' if tool in MEMORY_TOOLS else ''}", tool.title)
        made.add_row("", fields)
    return Group(made, *_hints(tools))


def _hints(tools: Sequence[Tool]) -> Iterator[RenderableType]:
    if set(MEMORY_TOOLS) <= set(tools):
        yield hint("* is offered when ", ("CONTEXT_MEMORY_ENABLED=true", "cyan"), ".")
        yield hint(("backstory tools --format openai", "cyan"), " prints what a model is given.")
    else:
        yield hint("Behind a key of the profile ", ("staff", "cyan"), ": no agent is given these.")


def _optional(required: Sequence[str], optional: Sequence[str]) -> str:
    if not optional:
        return ""
    return f"{'; ' if required else ''}perhaps {', '.join(optional)}"


def _fields(tool: Tool) -> tuple[list[str], list[str]]:
    """Return the fields that must be given, and those that can be left out."""
    schema = input_schema(tool)
    required = schema.get("required", [])
    return required, [name for name in schema["properties"] if name not in required]


def checks_json(checked: Sequence[Checked]) -> dict[str, Any]:
    """Return the verdict under the keys of --json."""
    return {
        "ok": all(each.passed for each in checked),
        "checks": [
            {
                "name": each.check.name,
                "point": each.check.point,
                "sentence": each.check.sentence,
                "passed": each.passed,
                "informs": each.check.informs,
                "found": each.found,
            }
            for each in checked
        ],
    }


def checks_view(checked: Sequence[Checked]) -> RenderableType:
    """Return each check with its sentence, what it found below it, and the verdict at the end."""
    made = table("", ("", {"no_wrap": False, "overflow": "fold"}), header=False)
    for each in checked:
        made.add_row(_mark(each), _said(each))
    failed = [each for each in checked if not each.passed]
    held = sum(not each.check.informs for each in checked)
    if failed:
        verdict = text(
            (f"Not sound: {counted(len(failed), 'check')} failed of {held}.", "bold red")
        )
    else:
        verdict = text((f"Sound: all {held} checks hold.", "green"))
    return Group(made, verdict)


def _mark(checked: Checked) -> Text:
    if checked.check.informs:
        return text(("i", "cyan"))
    return text(("✓", "green")) if checked.passed else text(("✗", "red"))


def _said(checked: Checked) -> Text:
    said = text(checked.check.sentence)
    for offender in checked.found[:_SHOWN]:
        said.append(f"\n  {one_line(offender)}", "dim")
    if len(checked.found) > _SHOWN:
        said.append(f"\n  … {count(len(checked.found) - _SHOWN)} more", "dim")
    return said
