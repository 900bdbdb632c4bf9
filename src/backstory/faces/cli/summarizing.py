# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory summarize`: sum conversations up, for the agent who goes on with them."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from backstory.faces.cli.call import Call, command
from backstory.faces.cli.embedding import UrlOption
from backstory.faces.cli.ending import ExitCode
from backstory.faces.cli.groups import LOAD, shell
from backstory.faces.cli.loading import carry_out

if TYPE_CHECKING:
    from backstory.app import App
    from backstory.memory.summaries import SummaryReport
    from backstory.runs.progress import Listener
    from backstory.runs.run import Run


@command(
    shell,
    "summarize",
    panel=LOAD,
    example="""
    backstory summarize --dry-run
    backstory summarize
    backstory summarize LEAD
    """,
)
def summarize(
    call: Call,
    *,
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="LEAD|CONVERSATION", help="One only: a lead's id, or a conversation's."
        ),
    ] = None,
    url: UrlOption = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The language model of that service.")
    ] = None,
    calls: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="How often it may be asked at most.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; say how much there is to do.")
    ] = False,
) -> ExitCode:
    """Sum up the conversations in which something was said since, for the context of a prompt.

    By their own sentences, offline; by a language model where one is set, with the former where it
    fails. Running it again changes nothing; Ctrl-C pauses it, `rollback` takes it back.
    """
    from backstory.faces.cli.summarizing_views import plan_json, plan_view
    from backstory.memory import summaries
    from backstory.store.conversations import find_conversation

    with call.app() as app:
        database = app.for_reading()
        given = app.chat
        writer = summaries.open_writer(
            replace(
                given,
                url=url or given.url,
                model=model or given.model,
                calls=given.calls if calls is None else calls,
            )
        )
        with database.engine.connect() as connection:
            one = find_conversation(connection, reference).id if reference else None
            if dry_run:
                plan = summaries.plan(connection, writer, conversation=one)
                call.answer(plan_json(plan), plan_view(plan))
                return ExitCode.DONE
        return _carry_out(
            call,
            lambda told: summaries.start(database, app.home, writer, told, conversation=one),
        )


def resume_summarizing(call: Call, app: "App", run: str) -> ExitCode:
    """Continue a run that sums up, by who the settings name."""
    from backstory.memory import summaries

    writer, database = summaries.open_writer(app.chat), app.for_reading()
    return _carry_out(call, lambda told: summaries.resume(database, run, writer, told))


def _carry_out(call: Call, go: "Callable[[Listener], SummaryReport]") -> ExitCode:
    from backstory.faces.cli.summarizing_views import report_view

    return carry_out(call, go, report_view, is_clean=lambda told: not told.fell_back)


def undo_summarizing(call: Call, app: "App", run: "Run", *, dry_run: bool) -> ExitCode:
    """Take a run's summaries away, or say how many go and how many come back."""
    from backstory.faces.cli.summarizing_views import undo_json, undo_view
    from backstory.memory.summaries import rollback
    from backstory.store.summaries import of_run

    database = app.for_reading()
    with database.engine.connect() as connection:
        left = of_run(connection, run.id)
    if not dry_run:
        rollback(database, str(run.id))
    call.answer(undo_json(run, left, dry_run=dry_run), undo_view(run, left, dry_run=dry_run))
    return ExitCode.DONE
