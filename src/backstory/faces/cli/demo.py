# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory demo`: a first look, on the sample log, in a schema of its own."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from backstory.errors import UsageError
from backstory.faces.cli.call import Call, command
from backstory.faces.cli.ending import ExitCode
from backstory.faces.cli.groups import START, shell

if TYPE_CHECKING:
    from backstory.store.engine import Database

SCHEMA = "demo"
_MARK = "Made by `backstory demo`, which makes it anew each time."


@command(
    shell,
    "demo",
    panel=START,
    example="""
    backstory demo
    backstory --schema demo search '"gate code"'
    """,
)
def demo(
    call: Call,
    *,
    may_fetch: Annotated[
        bool,
        typer.Option(
            "--fetch-model", help="Fetch the model of recall by meaning first, unless it is there."
        ),
    ] = False,
) -> ExitCode:
    """Show it all on a sample log in half a minute: plan, run, checks, search, an agent at work.

    Works in the schema `demo`, which is left to play with and made anew each time. Without the
    model that `backstory model install` brings, the recall by meaning is left out.
    """
    from backstory.faces.cli.tour import Tour

    call = replace(call, given={**call.given, "schema": call.given.get("schema") or SCHEMA})
    with call.app() as app:
        database = app.database
        _clear(database)
        tour = Tour(call, app.home, app.rules, may_fetch=may_fetch)
        tour.plan()
        _mark(database)
        app.for_writing()
        ok = tour.through(database)
    return ExitCode.DONE if ok else ExitCode.FINDINGS


def _clear(database: "Database") -> None:
    """Remove the schema of an earlier demo; refuse to touch one that no demo has made."""
    from sqlalchemy import text
    from sqlalchemy.schema import DropSchema

    from backstory.store.engine import translated

    query = text(
        "SELECT coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace"
        " WHERE nspname = CAST(:schema AS text)"
    )
    with translated(), database.engine.begin() as connection:
        mark = connection.execute(query, {"schema": database.schema}).scalar_one_or_none()
        if mark is None:
            return
        if mark != _MARK:
            raise UsageError(
                f"There is a schema {database.schema!r} that no demo has made, so it stays as it "
                "is: choose another name, `backstory demo --schema demo2`."
            )
        connection.execute(DropSchema(database.schema, cascade=True))


def _mark(database: "Database") -> None:
    """Make the schema and write on it whose it is, before anything is in it."""
    from sqlalchemy import text
    from sqlalchemy.schema import CreateSchema

    from backstory.store.engine import translated

    # An identifier of ours, checked by Settings; a comment takes no parameters.
    comment = text(f"COMMENT ON SCHEMA {database.schema} IS '{_MARK}'")
    with translated(), database.engine.begin() as connection:
        connection.execute(CreateSchema(database.schema))
        connection.execute(comment)
