# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory render`: make the lines by which events are read, by the rules of today."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backstory.faces.cli.call import Call, command
from backstory.faces.cli.ending import ExitCode
from backstory.faces.cli.groups import LOAD, shell
from backstory.faces.cli.loading import carry_out

if TYPE_CHECKING:
    from backstory.app import App
    from backstory.backfill.render import RenderReport
    from backstory.runs.progress import Listener
    from backstory.runs.run import Run


@command(
    shell,
    "render",
    panel=LOAD,
    example="""
    backstory render --dry-run
    backstory render --rules lines.toml --dry-run
    backstory render
    """,
)
def render(
    call: Call,
    *,
    rules: Annotated[
        Path | None,
        typer.Option(
            "--rules",
            metavar="FILE",
            help="Your own rules, in TOML, before ours; else those of BACKSTORY_LINE_RULES.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; show what would read otherwise.")
    ] = False,
) -> ExitCode:
    """Make the short line anew beside each event that other rules have rendered, or none yet.

    The JSON of an event stays as it is. Running it again changes nothing; Ctrl-C pauses it,
    `rollback` gives back the lines that were there before.
    """
    from backstory.backfill import render as rendering
    from backstory.extract.line_rules import load_rules
    from backstory.faces.cli.rendering_views import other_rules, plan_view

    wanted = call.lines if rules is None else load_rules(rules)
    if dry_run:
        with call.reading() as connection, call.progress() as listener:
            plan = rendering.plan(connection, wanted, listener)
        call.answer(plan.as_json(), plan_view(plan))
        return ExitCode.DONE
    with call.app() as app:
        database = app.for_writing()
        ended = _carry_out(call, lambda told: rendering.start(database, app.home, wanted, told))
    if ended is ExitCode.DONE and wanted != call.lines and not call.json:
        call.answer({}, other_rules(rules))
    return ended


def resume_rendering(call: Call, app: "App", reference: str) -> ExitCode:
    """Continue a run that renders lines."""
    from backstory.backfill import render as rendering

    database = app.for_reading()
    return _carry_out(call, lambda told: rendering.resume(database, reference, told))


def _carry_out(call: Call, go: "Callable[[Listener], RenderReport]") -> ExitCode:
    from backstory.faces.cli.rendering_views import report_view

    return carry_out(call, go, report_view)


def undo_rendering(call: Call, app: "App", run: "Run", *, dry_run: bool) -> ExitCode:
    """Give back the lines that were there before a run, or say how many those are."""
    from backstory.backfill.render import rollback
    from backstory.faces.cli.rendering_views import undo_json, undo_view
    from backstory.store.lines import of_run

    database = app.for_reading()
    with database.engine.connect() as connection:
        left = of_run(connection, run.id)
    if not dry_run:
        left = rollback(database, str(run.id))
    call.answer(undo_json(run, left, dry_run=dry_run), undo_view(run, left, dry_run=dry_run))
    return ExitCode.DONE
