# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory runs`, `pause` and `cancel`: what is under way, and how to stop it."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from backstory.faces.cli.call import Call, command
from backstory.faces.cli.ending import ExitCode
from backstory.faces.cli.groups import LOAD, shell
from backstory.model import RunStatus, RunWish

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from backstory.runs.run import Run
    from backstory.store.engine import Database

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, its beginning, or last.")
]
_HEARD_WITHIN_SECONDS = 3.0
_LOOK_SECONDS = 0.1


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
    from backstory.runs.run import get_run, list_runs

    with call.reading() as connection:
        if run is None:
            found = list_runs(connection, limit=limit)
            call.answer({"runs": [run_json(each) for each in found]}, list_view(found))
        else:
            one = get_run(connection, run)
            stages = _stages(connection, one)
            call.answer(run_json(one) | {"stages": stages}, run_view(one, stages))


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


_AFTER = {RunWish.PAUSE: RunStatus.PAUSED, RunWish.CANCEL: RunStatus.CANCELED}


def _stop(call: Call, reference: str, wanted: RunWish) -> ExitCode:
    from backstory.faces.cli.run_views import run_json, stop_view
    from backstory.runs.run import get_run
    from backstory.store.engine import translated

    with call.app() as app, translated():
        database = app.for_reading()
        with database.engine.connect() as connection:
            run = get_run(connection, reference)
        _ask(database, run, wanted)
        ended = _outcome(database, run, wanted)
    call.answer(run_json(ended), stop_view(ended, wanted))
    return ExitCode.DONE if ended.status is _AFTER[wanted] else ExitCode.FINDINGS


def _ask(database: "Database", run: "Run", wanted: RunWish) -> None:
    """Leave the wish for the run's workers; a run that stands still is moved here and now."""
    from backstory.runs.run import move, wish

    with database.engine.begin() as connection:
        if run.status is RunStatus.RUNNING:
            wish(connection, run, wanted)
        else:
            move(connection, run, _AFTER[wanted])


def _outcome(database: "Database", run: "Run", wanted: RunWish) -> "Run":
    """Return the run as soon as it has stopped; move it if no worker is left to hear the wish."""
    from backstory.runs.run import get_run, move

    patience = time.monotonic() + _HEARD_WITHIN_SECONDS
    while True:
        with database.engine.begin() as connection:
            now = get_run(connection, str(run.id))
            waited = time.monotonic() > patience
            if now.status is not RunStatus.RUNNING or (waited and _is_held(connection, now)):
                return now
            if waited:
                move(connection, now, _AFTER[wanted])
                return get_run(connection, str(run.id))
        time.sleep(_LOOK_SECONDS)


def _is_held(connection: "Connection", run: "Run") -> bool:
    return any(stage["held"] for stage in _stages(connection, run).values())


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
