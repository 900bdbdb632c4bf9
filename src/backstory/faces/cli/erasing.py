# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory export` and `backstory erase`: all of one customer, to hand out or to remove."""

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from backstory.errors import UsageError
from backstory.faces.cli.call import Call, command
from backstory.faces.cli.ending import ExitCode
from backstory.faces.cli.groups import KEEP, shell
from backstory.faces.cli.reading import customer_id_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from backstory.erasure import ErasurePlan

CustomerArgument = Annotated[
    str,
    typer.Argument(metavar="CUSTOMER", help="The customer's id, or as much of it as names one."),
]


@command(
    shell,
    "export",
    panel=KEEP,
    example="""
    backstory export 5d0c6a1e --output customer.json
    """,
)
def export(
    call: Call,
    *,
    customer: CustomerArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="A new file for it; else standard output."),
    ] = None,
) -> None:
    """Write all that is held of one customer as JSON, table by table.

    Ledgers and the log's own records are included. What is computed from the rest, search words
    and vectors, is not.
    """
    from backstory.erasure import export

    with call.reading() as connection:
        pieces = export(connection, _customer(connection, customer))
        if output is None:
            sys.stdout.writelines(pieces)
            return
        _write(output, pieces)
    call.answer({"output": str(output), "bytes": output.stat().st_size}, f"Written to {output}.")


def _write(output: Path, pieces: Iterable[str]) -> None:
    """Write a file that only its owner may read; one that is there already is left as it is."""
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as bad:
        raise UsageError(f"{output} cannot be made ({bad.strerror}): name a new file.") from bad
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(pieces)


@command(
    shell,
    "erase",
    panel=KEEP,
    example="""
    backstory erase 5d0c6a1e --dry-run
    backstory erase 5d0c6a1e --yes
    """,
)
def erase(
    call: Call,
    *,
    customer: CustomerArgument,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Remove nothing; say what would go.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: remove it.")] = False,
) -> ExitCode:
    """Remove one customer's words wherever they are held, for good, and prove it by a search.

    Keyed hashes stay behind, so that no run and no live event brings the customer back. The
    answer says what is out of reach, such as backups.
    """
    from backstory import erasure
    from backstory.faces.cli.erasing_views import plan_view, report_view

    with call.app() as app:
        database = app.for_reading()
        plan = _look(call, customer)
        if dry_run:
            call.answer(plan.as_json() | {"dry_run": True}, plan_view(plan))
            return ExitCode.FINDINGS if plan.unfinished_runs else ExitCode.DONE
        if not yes and not _agreed(call, plan):
            return ExitCode.FINDINGS
        with call.waiting("Erasing"):
            report = erasure.erase(database, plan.customer_id, home=app.home)
    call.answer(report.as_json(), report_view(report))
    return ExitCode.DONE if report.proof.clean else ExitCode.FINDINGS


def _look(call: Call, reference: str) -> "ErasurePlan":
    from backstory.erasure import plan_erasure

    with call.reading() as connection:
        return plan_erasure(connection, _customer(connection, reference))


def _customer(connection: "Connection", reference: str) -> UUID:
    """Return a customer by a whole id, also of one that was merged or erased, or its beginning."""
    with suppress(ValueError):
        return UUID(reference)
    return customer_id_of(connection, reference)


def _agreed(call: Call, plan: "ErasurePlan") -> bool:
    """Ask a person; a script must say that it means it, because nothing brings this back."""
    from backstory.faces.cli.erasing_views import plan_view
    from backstory.faces.cli.screen import show

    if call.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("Nothing brings back what is erased: say --yes, or --dry-run for a look.")
    show(call.err, plan_view(plan))
    return typer.confirm("Remove all this for good?", err=True)
