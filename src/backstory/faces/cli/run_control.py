# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory runs`, `pause` and `cancel`: what is under way, and how to stop it."""

from typing import TYPE_CHECKING, Annotated

import typer

from backstory.faces.cli.call import Call, command
from backstory.faces.cli.ending import ExitCode
from backstory.faces.cli.groups import LOAD, shell
from backstory.model import RunStatus, RunWish

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from backstory.runs.run import Run

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, its beginning, or last.")
]


@command(
    shell,
    "runs",
    panel=LOAD,
    example="""
    backstory runs
    backstory runs last
    """,
)
def runs(
    call: Call,
    *,
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="One run: its id, its beginning, or last.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many of the newest.")] = 20,
) -> None:
    """List the runs, newest first; or show one: what it was asked, where it stands, its report."""
    from backstory.faces.cli.run_views import list_view, run_json, run_view
    from backstory.runs.claim import is_interrupted
    from backstory.runs.run import get_run, list_runs

    with call.reading() as connection:
        if run is None:
            found = [
                (each, is_interrupted(connection, each))
                for each in list_runs(connection, limit=limit)
            ]
            call.answer({"runs": [run_json(*each) for each in found]}, list_view(found))
        else:
            one = get_run(connection, run)
            lost = is_interrupted(connection, one)
            stages = _stages(connection, one)
            call.answer(run_json(one, lost) | {"stages": stages}, run_view(one, lost, stages))


@command(
    shell,
    "pause",
    panel=LOAD,
    example="""
    backstory pause last
    """,
)
def pause(call: Call, run: RunArgument) -> ExitCode:
    """Ask a run to pause after the batch it is writing; `resume` continues it."""
    return _stop(call, run, RunWish.PAUSE)


@command(
    shell,
    "cancel",
    panel=LOAD,
    example="""
    backstory cancel 3f2a9c1b
    """,
)
def cancel(call: Call, run: RunArgument) -> ExitCode:
    """End a run for good where it stands; what it wrote stays until `rollback` takes it back."""
    return _stop(call, run, RunWish.CANCEL)


def _stop(call: Call, reference: str, wanted: RunWish) -> ExitCode:
    from backstory.backfill.control import stop
    from backstory.faces.cli.run_views import run_json, stop_view

    with call.app() as app:
        run = stop(app.for_reading(), reference, wanted)
    call.answer(run_json(run, interrupted=False), stop_view(run, wanted))
    return ExitCode.FINDINGS if run.status is RunStatus.RUNNING else ExitCode.DONE


def _stages(connection: "Connection", run: "Run") -> dict[str, dict[str, int]]:
    """Return how far each stage of a run is, from committed rows."""
    from backstory.model import PartitionStage
    from backstory.store.statements import sql

    found = {}
    for stage in PartitionStage:
        values = {"run_id": run.id, "stage": stage}
        row = connection.execute(sql("stage_progress"), values).one()
        found[stage.value] = {
            "partitions": row.partitions,
            "done": row.done,
            "held": row.held,
            "records": int(row.records),
        }
    return found
