# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory tools`: what an agent may call, as providers take it, and whether it is sound."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from backstory.errors import UsageError
from backstory.faces.cli.call import Call, command
from backstory.faces.cli.ending import ExitCode
from backstory.faces.cli.groups import AGENTS, shell
from backstory.faces.cli.plain import json_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backstory.tools.tool import Tool


@command(
    shell,
    "tools",
    panel=AGENTS,
    example="""
    backstory tools
    backstory tools --format openai
    backstory tools --staff
    backstory tools --check
    """,
)
def tools(
    call: Call,
    *,
    shape: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Print a JSON list for canonical, openai, openai-chat, anthropic, gemini or mcp.",
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Hold all tools to the suite; it needs backstory[check]."),
    ] = False,
    staff: Annotated[
        bool, typer.Option("--staff", help="The staff's tools: across customers, only to read.")
    ] = False,
) -> ExitCode:
    """List the tools an agent or the staff can be given, or print their schemas for a provider.

    With --check, what does not hold makes the exit code 1.
    """
    if check and shape:
        raise UsageError("--check looks at every format: leave --format out.")
    if check:
        return _check(call)
    from backstory.tools.catalog import STAFF_TOOLS, TOOLS

    asked = STAFF_TOOLS if staff else TOOLS
    if shape:
        return _print(call, asked, shape)
    from backstory.faces.cli.tool_views import tools_json, tools_view

    call.answer({"tools": tools_json(asked)}, tools_view(asked))
    return ExitCode.DONE


def _print(call: Call, asked: "Sequence[Tool]", shape: str) -> ExitCode:
    """Print a projection as it is, so that it can be piped; --json names the format beside it."""
    from backstory.tools.toolset import listed

    projected = listed(asked, shape)
    data = {"format": shape, "tools": projected} if call.json else projected
    sys.stdout.write(f"{json_text(data)}\n")
    return ExitCode.DONE


def _check(call: Call) -> ExitCode:
    from backstory.faces.cli.tool_views import checks_json, checks_view
    from backstory.tools.catalog import STAFF_TOOLS, TOOLS
    from backstory.tools.check import run_checks

    with call.waiting("Checking"):
        checked = run_checks(TOOLS, STAFF_TOOLS)
    call.answer(checks_json(checked), checks_view(checked))
    sound = all(each.passed for each in checked)
    return ExitCode.DONE if sound else ExitCode.FINDINGS
