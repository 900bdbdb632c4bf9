# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory context` and `ready`: what a prompt is given, and whether memory can be used."""

from typing import Annotated

import typer

from backstory.errors import Refused, SchemaMismatch, UsageError
from backstory.faces.cli.call import Call, command
from backstory.faces.cli.ending import ExitCode
from backstory.faces.cli.groups import AGENTS, shell


@command(
    shell,
    "context",
    panel=AGENTS,
    example="""
    CONTEXT_MEMORY_ENABLED=true backstory context LEAD "same place as last time?"
    CONTEXT_MEMORY_ENABLED=true backstory context LEAD piano --budget 800 --json
    """,
)
def context(
    call: Call,
    *,
    lead: Annotated[
        str, typer.Argument(metavar="LEAD", help="A lead's id in your system, or ours.")
    ],
    query: Annotated[str, typer.Argument(metavar="QUERY", help="The customer's latest words.")],
    budget: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many tokens it may have at most.")
    ] = 1_500,
) -> None:
    """Print what an agent's prompt should hold of a lead's customer, within a budget of tokens.

    What is from before is there to be asked about; it counts as shown to this conversation.
    """
    from backstory.faces.cli.plain import plain
    from backstory.faces.cli.remembering_views import context_view

    with call.app() as app:
        try:
            pack = app.session(lead, actor="operator").context(query, budget=budget)
        except Refused as refused:
            raise UsageError(plain(str(refused))) from refused
    call.answer(pack.as_json(), context_view(pack))


@command(
    shell,
    "ready",
    panel=AGENTS,
    example="""
    backstory ready
    backstory ready --json
    """,
)
def ready(call: Call) -> ExitCode:
    """Check whether memory can be switched on: schema, rights, row-level security, data, tools.

    What stands against it is named and makes the exit code 1. CONTEXT_MEMORY_ENABLED=true switches
    it on.
    """
    from datetime import UTC, datetime

    from backstory.faces.cli.remembering_views import readiness_view
    from backstory.tools.readiness import outdated, readiness

    enabled = call.settings.context_memory_enabled
    with call.app() as app, call.waiting("Checking"):
        try:
            found = readiness(app.for_reading(), now=datetime.now(UTC))
        except SchemaMismatch as mismatch:
            found = outdated(str(mismatch))
    call.answer(
        found.as_json() | {"memory_enabled": enabled}, readiness_view(found, enabled=enabled)
    )
    return ExitCode.DONE if found.ok else ExitCode.FINDINGS
