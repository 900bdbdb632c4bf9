# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory rollback`: take back exactly what a run created, after a look at what that means."""

from typing import TYPE_CHECKING, Annotated

import typer

from backstory.faces.cli.call import Call, command
from backstory.faces.cli.ending import ExitCode
from backstory.faces.cli.groups import LOAD, shell
from backstory.faces.cli.run_control import RunArgument
from backstory.model import RunMode

if TYPE_CHECKING:
    from backstory.backfill.rollback import RollbackPlan
    from backstory.store.engine import Database


@command(
    shell,
    "rollback",
    panel=LOAD,
    example="""
    backstory rollback last --dry-run
    backstory rollback 3f2a9c1b
    """,
)
def rollback(
    call: Call,
    *,
    run: RunArgument,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; say what would go, and what blocks.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also remove what others have put on top of it.")
    ] = False,
) -> ExitCode:
    """Take back exactly what a run created; the database is then as it was before.

    What people, agents or later runs have put on top blocks it, by name, unless --force removes
    that as well.
    """
    from backstory.backfill import rollback as undo
    from backstory.faces.cli.embedding import undo_embedding
    from backstory.faces.cli.rendering import undo_rendering
    from backstory.faces.cli.summarizing import undo_summarizing
    from backstory.faces.cli.undoing_views import plan_view, report_view
    from backstory.runs.run import get_run

    with call.app() as app:
        database = app.for_reading()
        with database.engine.connect() as connection:
            found = get_run(connection, run)
        if found.mode is RunMode.EMBED:
            return undo_embedding(call, app, found, dry_run=dry_run)
        if found.mode is RunMode.SUMMARIZE:
            return undo_summarizing(call, app, found, dry_run=dry_run)
        if found.mode is RunMode.RENDER:
            return undo_rendering(call, app, found, dry_run=dry_run)
        plan = _look(database, str(found.id))
        blocked = bool(plan.blockers) and not force
        if dry_run or blocked:
            call.answer(
                plan.as_json() | {"dry_run": dry_run, "blocked": blocked},
                plan_view(plan, dry_run=dry_run, force=force),
            )
            return ExitCode.FINDINGS if blocked else ExitCode.DONE
        with call.progress() as listener:
            report = undo.rollback(database, str(plan.run.id), force=force, listener=listener)
    call.answer(report.as_json(), report_view(report))
    return ExitCode.DONE


def _look(database: "Database", reference: str) -> "RollbackPlan":
    from backstory.backfill.rollback import plan_rollback
    from backstory.runs.run import get_run
    from backstory.store.engine import translated

    with translated(), database.engine.connect() as connection:
        connection.execution_options(postgresql_readonly=True)
        return plan_rollback(connection, get_run(connection, reference))
