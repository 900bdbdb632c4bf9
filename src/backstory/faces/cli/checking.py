# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory verify`, `quarantine` and `conflicts`: whether all is sound, and what was left out."""

from typing import TYPE_CHECKING, Annotated

import typer

from backstory.faces.cli.call import Call, command
from backstory.faces.cli.ending import ExitCode
from backstory.faces.cli.groups import CHECK, quarantine, shell

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

OfRun = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="Only of this run: its id, or last.")
]
Limit = Annotated[int, typer.Option(metavar="N", min=1, help="How many to show at most.")]


@command(
    shell,
    "verify",
    panel=CHECK,
    example="""
    backstory verify
    backstory verify --sample 100 --json
    """,
)
def verify(
    call: Call,
    *,
    sample: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Also rebuild N conversations from the log, and compare."
        ),
    ] = 0,
) -> ExitCode:
    """Check what must hold of the loaded data: references, sums, times, the search index.

    Each gate is a sentence; one that must hold and does not makes the exit code 1.
    """
    from datetime import UTC, datetime

    from backstory.backfill import verify as gates
    from backstory.faces.cli.checking_views import verdict_view

    with call.reading() as connection, call.waiting("Checking"):
        now = datetime.now(UTC)
        verdict = gates.verify(connection, now=now, sample=sample, lines=call.lines)
    call.answer(verdict.as_json(), verdict_view(verdict))
    return ExitCode.DONE if verdict.ok else ExitCode.FINDINGS


shell.add_typer(
    quarantine,
    name="quarantine",
    rich_help_panel=CHECK,
    help="See the records that could not be taken, and try them again.",
)


@command(
    quarantine,
    "list",
    example="""
    backstory quarantine list
    backstory quarantine list --run last
    """,
)
def list_quarantine(call: Call, *, run: OfRun = None, limit: Limit = 50) -> ExitCode:
    """List records that could not be read or written: where they were, and why."""
    from backstory.faces.cli.checking_views import quarantine_json, quarantine_view
    from backstory.store import quarantine as store

    with call.reading() as connection:
        rows = store.list_quarantine(connection, _run_id(connection, run), limit=limit)
    data = {"quarantined": [quarantine_json(row) for row in rows]}
    call.answer(data, quarantine_view(rows, limit))
    return ExitCode.FINDINGS if rows else ExitCode.DONE


@command(quarantine, "show", example="backstory quarantine show 9b1f04c7")
def show_quarantined(
    call: Call,
    *,
    record: Annotated[
        str, typer.Argument(metavar="ID", help="The beginning of an id that `list` shows.")
    ],
) -> None:
    """Show one record as it was read, what is wrong with it, and where it comes from."""
    from backstory.faces.cli.checking_views import quarantine_json, quarantined_view
    from backstory.store.quarantine import get_quarantined

    with call.reading() as connection:
        row = get_quarantined(connection, record)
    raw = {"raw": bytes(row["raw"]).decode(errors="replace"), "raw_hex": bytes(row["raw"]).hex()}
    call.answer(quarantine_json(row) | raw, quarantined_view(row))


@command(
    quarantine,
    "retry",
    example="""
    backstory quarantine retry
    backstory quarantine retry --run 3f2a9c1b
    """,
)
def retry_quarantine(call: Call, *, run: OfRun = None) -> ExitCode:
    """Read the open records again, with the rules of today; what fails again stays there.

    A retry is a run of its own, which `rollback` can undo.
    """
    from backstory.backfill.retry import retry
    from backstory.faces.cli.checking_views import retry_view

    with call.app() as app, call.progress() as listener:
        reports = retry(
            app.for_reading(),
            app.home,
            run,
            listener,
            lines=app.lines,
            hub_limit=app.settings.hub_limit,
        )
    call.answer({"runs": [report.as_json() for report in reports]}, retry_view(reports))
    clean = all(report.clean for report in reports)
    return ExitCode.DONE if clean else ExitCode.FINDINGS


@command(
    shell,
    "conflicts",
    panel=CHECK,
    example="""
    backstory conflicts
    backstory conflicts --run last --json
    """,
)
def conflicts(call: Call, *, run: OfRun = None, limit: Limit = 50) -> ExitCode:
    """List records that came second under an audit id that was taken, with other content."""
    from backstory.faces.cli.checking_views import conflict_json, conflicts_view
    from backstory.store.quarantine import list_conflicts

    with call.reading() as connection:
        rows = list_conflicts(connection, _run_id(connection, run), limit=limit)
    shown = conflicts_view(rows, limit, of_run=run is not None)
    call.answer({"conflicts": [conflict_json(row) for row in rows]}, shown)
    return ExitCode.FINDINGS if rows else ExitCode.DONE


def _run_id(connection: "Connection", reference: str | None) -> "UUID | None":
    from backstory.runs.run import get_run

    return get_run(connection, reference).id if reference else None
