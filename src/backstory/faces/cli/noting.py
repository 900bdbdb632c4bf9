# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory notes …`: take notes from what is kept beside leads, and review them."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from backstory.errors import UsageError
from backstory.faces.cli.call import Call, command
from backstory.faces.cli.ending import ExitCode
from backstory.faces.cli.groups import LOOK, notes, shell
from backstory.faces.cli.loading import carry_out
from backstory.faces.cli.reading import customer_id_of
from backstory.model import NoteStatus

if TYPE_CHECKING:
    from backstory.app import App
    from backstory.memory.note_run import NotesReport
    from backstory.runs.progress import Listener
    from backstory.store.engine import Database

shell.add_typer(
    notes, name="notes", rich_help_panel=LOOK, help="Keep what is worth knowing of customers."
)

NoteArgument = Annotated[
    str, typer.Argument(metavar="NOTE", help="A note's id or its beginning, as in the list.")
]


@command(
    notes,
    "backfill",
    example="""
    backstory notes backfill --dry-run
    backstory notes backfill --rules rules.toml
    """,
)
def backfill(
    call: Call,
    *,
    rules: Annotated[
        Path | None,
        typer.Option("--rules", metavar="FILE", help="Your own rules, in TOML, instead of ours."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; say what would be noted.")
    ] = False,
) -> ExitCode:
    """Take notes from what is kept beside each lead (`state_metadata`), as candidates.

    Running again adds only what leads say anew; what they say no longer is superseded or expires.
    What may open a door, such as a gate's code, is never noted.
    """
    from backstory.faces.cli.noting_views import report_view
    from backstory.memory import note_run
    from backstory.memory.note_rules import load_rules

    wanted = load_rules(rules)
    if dry_run:
        with call.reading() as connection:
            told = note_run.plan(connection, wanted, datetime.now(UTC))
        call.answer(told.as_json(), report_view(told))
        return ExitCode.DONE
    with call.app() as app:
        database = app.for_writing()
        return _carry_out(call, lambda tell: note_run.start(database, app.home, wanted, tell))


def resume_notes(call: Call, app: "App", reference: str) -> ExitCode:
    """Continue a run that takes notes."""
    from backstory.memory import note_run

    return _carry_out(call, lambda tell: note_run.resume(app.database, reference, tell))


def _carry_out(call: Call, go: "Callable[[Listener], NotesReport]") -> ExitCode:
    from backstory.faces.cli.noting_views import report_view

    return carry_out(call, go, report_view)


@command(
    notes,
    "list",
    example="""
    backstory notes list 5d0c6a1e
    backstory notes list --contradictions
    """,
)
def list_all(
    call: Call,
    *,
    customer: Annotated[
        str | None, typer.Argument(metavar="CUSTOMER", help="One customer's notes only.")
    ] = None,
    status: Annotated[
        NoteStatus | None,
        typer.Option(
            metavar="STATUS", help="candidate, confirmed, rejected, superseded or expired."
        ),
    ] = None,
    contradictions: Annotated[
        bool,
        typer.Option("--contradictions", help="Only where a customer's contacts disagree."),
    ] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at most.")] = 50,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Go on behind this note.")] = None,
) -> None:
    """List notes, the latest first, with what they were taken from and what says otherwise."""
    from backstory.faces.cli.noting_views import notes_view
    from backstory.store.notes import list_notes

    with call.reading() as connection:
        found = list_notes(
            connection,
            customer_id=customer_id_of(connection, customer) if customer else None,
            status=status,
            contradicted=contradictions,
            limit=limit,
            after=_whole_id(after) if after else None,
        )
    call.answer({"notes": [asdict(each) for each in found]}, notes_view(found))


def _whole_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise UsageError(f"--after {text!r} is no whole id, as --json shows it.") from None


Verb = Callable[["Database"], UUID]


def _review(call: Call, word: str, verb: Verb) -> None:
    from backstory.faces.cli.screen import text

    with call.app() as app:
        note = verb(app.for_reading())
    call.answer({"note": str(note), "status": word}, text(f"Note {str(note)[:8]} is {word}."))


@command(notes, "confirm", example="backstory notes confirm 4c21ee07")
def confirm(call: Call, note: NoteArgument) -> None:
    """Say that a note is true: agents may then use it without asking.

    Where another confirmed note says otherwise of the same, neither is overwritten: you are told.
    """
    from backstory.memory import notes as review

    now = datetime.now(UTC)
    _review(call, "confirmed", lambda db: review.confirm(db, note, by="staff", now=now))


@command(notes, "reject", example="backstory notes reject 4c21ee07")
def reject(call: Call, note: NoteArgument) -> None:
    """Say that a note is not true, or not worth keeping; no later run brings it back."""
    from backstory.memory import notes as review

    now = datetime.now(UTC)
    _review(call, "rejected", lambda db: review.reject(db, note, by="staff", now=now))


@command(
    notes, "supersede", example="backstory notes supersede 4c21ee07 'Gate is 48 inches wide now'"
)
def supersede(
    call: Call,
    note: NoteArgument,
    words: Annotated[str, typer.Argument(metavar="TEXT", help="What is true now.")],
) -> None:
    """Put your words in the place of a note, confirmed; the old one is kept as superseded."""
    from backstory.memory import notes as review

    now = datetime.now(UTC)
    _review(call, "confirmed", lambda db: review.supersede(db, note, words, by="staff", now=now))


@command(notes, "propose", example="backstory notes propose 5d0c6a1e")
def propose(
    call: Call,
    customer: Annotated[
        str, typer.Argument(metavar="CUSTOMER", help="A customer's id or its beginning.")
    ],
) -> None:
    """Let the language model of the settings propose notes from a customer's last messages.

    Each proposal quotes a message of the customer; one whose quotation does not stand there is
    refused. What is taken is a candidate, and a run: `backstory rollback` takes it back.
    """
    from backstory.faces.cli.noting_views import proposals_view
    from backstory.memory import proposing
    from backstory.memory.chat import Chat

    with call.app() as app:
        if app.chat.url is None or app.chat.model is None:
            raise UsageError(
                "No language model is set: BACKSTORY_CHAT_URL is an OpenAI-compatible service, "
                "as https://host/v1, BACKSTORY_CHAT_MODEL the model's name there."
            )
        with call.reading() as connection:
            customer_id = customer_id_of(connection, customer)
        with call.waiting("Asking"):
            told = proposing.propose(app.for_writing(), app.home, Chat(app.chat), customer_id)
    call.answer(told.as_json(), proposals_view(told))
