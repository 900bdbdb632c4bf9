# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory db …`: where the data is, whether it is well, and how to take a copy of it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backstory.errors import UsageError
from backstory.faces.cli.call import Call, command
from backstory.faces.cli.ending import ExitCode
from backstory.faces.cli.groups import KEEP, db, shell

if TYPE_CHECKING:
    from backstory.app import App

shell.add_typer(db, name="db", rich_help_panel=KEEP, help="See after the database behind it all.")


@command(db, "status", example="backstory db status")
def status(call: Call) -> None:
    """Show where the database is, its version, its schema, and what is in it."""
    from backstory.faces.cli.database_views import status_view
    from backstory.faces.cli.inspection import look

    with call.app() as app:
        found = look(app)
    call.answer(found, status_view(found))


@command(db, "upgrade", example="backstory db upgrade")
def upgrade(call: Call) -> None:
    """Make our schema, or bring it up to date; data is kept, and running it twice is harmless."""
    from backstory.faces.cli.screen import text
    from backstory.store.engine import translated
    from backstory.store.schema import schema_state

    with call.app() as app:
        with translated(), app.database.engine.connect() as connection:
            before = schema_state(connection, app.database.schema)
        app.for_writing()
    known = {"schema": before.schema, "from_revision": before.revision, "revision": before.head}
    did = "is up to date" if before.current else "was brought up to date"
    call.answer(
        known | {"changed": not before.current},
        text(f"Schema {before.schema} {did}: revision {before.head}."),
    )


@command(
    db,
    "url",
    example="""
    psql "$(backstory db url)"
    DATABASE_URL=$(backstory db url) python my_report.py
    """,
)
def url(call: Call) -> None:
    """Print the address of the database, password included, for psql or a program of yours.

    The embedded PostgreSQL is started if need be, and stays for BACKSTORY_DB_LINGER seconds (600)
    after its last user has gone.
    """
    with call.app() as app:
        address = app.database.url
        if call.json:
            call.answer({"url": address, "schema": app.database.schema, "embedded": app.embedded})
        else:
            sys.stdout.write(f"{address}\n")


@command(
    db,
    "stop",
    example="""
    backstory db stop
    backstory db stop --purge
    """,
)
def stop(
    call: Call,
    *,
    purge: Annotated[
        bool, typer.Option("--purge", help="Also remove the database with all its data.")
    ] = False,
) -> ExitCode | None:
    """Stop the embedded PostgreSQL now instead of some minutes after its last use."""
    from backstory.faces.cli.screen import text
    from backstory.store import embedded

    with call.app() as app:
        _must_be_embedded(app)
        if purge and not _agreed(call, app):
            return ExitCode.FINDINGS
        was_running = embedded.stop(app.home, purge=purge)
    did = "The embedded PostgreSQL was stopped" if was_running else "It was not running"
    call.answer(
        {"was_running": was_running, "purged": purge},
        text(f"{did}{', and its data removed' if purge else ''}."),
    )
    return None


def _must_be_embedded(app: "App") -> None:
    if not app.embedded:
        raise UsageError(
            "DATABASE_URL or --database names a server of yours, which is yours to stop; "
            'the embedded one is meant with --database "".'
        )


def _agreed(call: Call, app: "App") -> bool:
    """Ask a person before all data goes; a script has said what it wants."""
    if call.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    return typer.confirm(f"Remove the database of {app.home} with all its data?", err=True)


@command(
    db,
    "doctor",
    example="""
    backstory db doctor
    """,
)
def doctor(call: Call) -> ExitCode:
    """Examine database, schema, settings, disk and leftovers; say what to do about each finding."""
    from backstory.faces.cli.database_views import doctor_view
    from backstory.faces.cli.doctor import examine

    with call.app() as app:
        checks = examine(app)
    failed = any(check.verdict == "fail" for check in checks)
    call.answer(
        {"ok": not failed, "checks": [check.as_json() for check in checks]}, doctor_view(checks)
    )
    return ExitCode.FINDINGS if failed else ExitCode.DONE


@command(
    db,
    "backup",
    example="""
    backstory db backup --to backstory.dump
    """,
)
def backup(
    call: Call,
    *,
    to: Annotated[Path, typer.Option(metavar="FILE", help="The file to write; not overwritten.")],
) -> None:
    """Write our schema into a file with pg_dump, in its custom format, readable by you alone."""
    from backstory.faces.cli.backup import dump
    from backstory.faces.cli.screen import size, text

    with call.app() as app:
        written = dump(app, to)
    call.answer(
        {"file": str(to), "bytes": written.octets, "schema": written.schema},
        text(
            f"Schema {written.schema} is in {to} ({size(written.octets)}). Bring it back with: ",
            (f"backstory db restore {to}", "cyan"),
        ),
    )


@command(db, "restore", example="backstory db restore backstory.dump")
def restore(
    call: Call,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `db backup` wrote.")],
) -> None:
    """Bring back what `db backup` wrote, into a database that has no such schema yet.

    With it come pgvector and the role of agents, which no dump holds; a dump of an older version
    is brought up to date.
    """
    from backstory.faces.cli.backup import restore as bring_back
    from backstory.faces.cli.screen import text

    with call.app() as app:
        bring_back(app, file)
        schema = app.database.schema
    call.answer({"file": str(file), "schema": schema}, text(f"Schema {schema} is back."))
