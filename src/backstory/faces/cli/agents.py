# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory call` and `backstory mcp`: the agent's tools, by hand and for an agent."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backstory.errors import UsageError
from backstory.faces.cli.call import Call, command
from backstory.faces.cli.ending import ExitCode
from backstory.faces.cli.groups import AGENTS, shell

if TYPE_CHECKING:
    from backstory.app import App
    from backstory.tools.toolset import Toolset

LeadOption = Annotated[
    str | None,
    typer.Option(
        "--lead",
        metavar="ID",
        help="Whose customer the tools concern: a lead's id in your system, or ours.",
    ),
]
StaffOption = Annotated[
    bool,
    typer.Option("--staff", help="The staff's tools instead: across customers, only to read."),
]


@command(
    shell,
    "call",
    panel=AGENTS,
    example="""
    backstory call create_job --lead LEAD --args '{"title": "Garage clean-out"}'
    echo '{"title": "Attic"}' | backstory call create_job --lead LEAD --args -
    backstory call find_customers --staff --args '{"query": "Joanie"}'
    """,
)
def call_tool(
    call: Call,
    *,
    tool: Annotated[
        str, typer.Argument(metavar="TOOL", help="A tool's name, as `backstory tools` lists it.")
    ],
    lead: LeadOption = None,
    staff: StaffOption = False,
    args: Annotated[
        str,
        typer.Option("--args", metavar="JSON", help="The arguments, an object; - reads them."),
    ] = "{}",
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key", metavar="KEY", help="Repeat under it: answered as before."
        ),
    ] = None,
) -> ExitCode:
    """Call a tool as the agent of a lead would, or the staff; a refusal ends with exit code 1."""
    from backstory.faces.cli.agent_views import answer_json, answer_view

    given = _object(sys.stdin.read() if args == "-" else args)
    with call.app() as app:
        toolset = _toolset(app, lead, staff=staff, actor="operator")
        answer = toolset.call(tool, given, idempotency_key=idempotency_key)
    call.answer(answer_json(answer), answer_view(answer))
    return ExitCode.FINDINGS if answer.refused else ExitCode.DONE


@command(
    shell,
    "mcp",
    panel=AGENTS,
    example="""
    backstory mcp --lead LEAD
    CONTEXT_MEMORY_ENABLED=true backstory mcp --lead LEAD
    backstory mcp --staff
    """,
)
def serve_mcp(call: Call, *, lead: LeadOption = None, staff: StaffOption = False) -> None:
    """Give an agent the tools over MCP, on standard input and output, for one lead; or the staff.

    An MCP client starts this as a process of its own for each conversation, and ends it by closing
    standard input. Standard error tells what went wrong.
    """
    import logging

    from backstory.faces.mcp.stdio import serve_stdio

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    with call.app() as app:
        serve_stdio(_toolset(app, lead, staff=staff))


def _toolset(app: "App", lead: str | None, *, staff: bool, **more: str) -> "Toolset":
    """Return whose tools are meant."""
    if staff and lead is None:
        return app.staff(**more)
    if lead is not None and not staff:
        return app.session(lead, **more)
    raise UsageError("Say whose tools: --lead ID for those of an agent, or --staff.")


def _object(written: str) -> dict[str, Any]:
    """Return arguments given as JSON; what is in them is the tool's to judge."""
    try:
        given = json.loads(written)
    except (ValueError, RecursionError) as bad:
        raise UsageError(f"--args is no JSON, or nothing that can be read: {bad}.") from None
    if not isinstance(given, dict):
        raise UsageError("""--args is an object, as in '{"title": "Garage clean-out"}'.""")
    return given
