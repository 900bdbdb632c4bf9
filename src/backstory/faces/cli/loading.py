# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory backfill` and `backstory resume`: from a log to conversations."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import typer

from backstory.errors import Interrupted, UsageError
from backstory.faces.cli.call import Call, command
from backstory.faces.cli.ending import ExitCode, fail
from backstory.faces.cli.groups import LOAD, shell
from backstory.faces.cli.lesson import Lesson
from backstory.faces.cli.source_options import (
    ActorOption,
    AuditOption,
    AuditTableOption,
    EmptyOption,
    HubOption,
    LeadsOption,
    LeadTableOption,
    LogOption,
    MapOption,
    RegionOption,
    ZoneOption,
)
from backstory.model import RunMode, RunWish

if TYPE_CHECKING:
    from rich.console import RenderableType

    from backstory.backfill.options import BackfillOptions
    from backstory.backfill.report import Report
    from backstory.runs.progress import Listener

_SEVERAL = ("--audit", "--leads")


class SeveralValues(Lesson):
    """A command whose --audit and --leads take several values: what a shell makes of `*.jsonl`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words of the command line, each further value under its option's name."""
        return super().parse_args(ctx, list(_repeated(args)))


def _repeated(words: list[str]) -> Iterator[str]:
    option, values = "", 0
    for word in words:
        if word.startswith("-") and word != "-":
            name, _, value = word.partition("=")
            option, values = (name if name in _SEVERAL else ""), int(bool(value))
        elif option:
            if values:
                yield option
            values += 1
        yield word


@command(
    shell,
    "backfill",
    cls=SeveralValues,
    panel=LOAD,
    example="""
    backstory backfill --audit audit.jsonl --leads leads.jsonl --dry-run
    backstory backfill --audit postgresql://reader@host/crm --audit-table AuditLog
    zcat old/*.gz | backstory backfill --audit - --json
    """,
)
def backfill(
    call: Call,
    *,
    audit: AuditOption = None,
    leads: LeadsOption = None,
    log: LogOption = "audit",
    audit_table: AuditTableOption = None,
    lead_table: LeadTableOption = None,
    mapping: MapOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; say what a run would do.")
    ] = False,
    rehearse: Annotated[
        int | None,
        typer.Option(metavar="N", help="Really write N batches, then roll them back."),
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes that share the work.")] = 1,
    assume_tz: ZoneOption = "UTC",
    region: RegionOption = "US",
    unknown_actor: ActorOption = "skip",
    hub_limit: HubOption = None,
    allow_empty: EmptyOption = False,
) -> ExitCode:
    """Load an audit log: link leads to customers, write whole conversations, check the sums.

    Running it twice changes nothing the second time; Ctrl-C pauses it, `resume` goes on, and
    `rollback` takes exactly its rows back. Exit code 1 means that something needs a look.
    """
    from backstory.backfill.options import BackfillOptions

    if dry_run and rehearse is not None:
        raise UsageError("--dry-run writes nothing and --rehearse does: choose one of them.")
    options = BackfillOptions(
        audit=tuple(audit or ()),
        leads=tuple(leads or ()),
        log=log,
        audit_table=audit_table,
        lead_table=lead_table,
        columns=mapped(mapping),
        workers=workers,
        assume_tz=assume_tz,
        region=region,
        unknown_actor=unknown_actor,
        allow_empty=allow_empty,
        hub_limit=call.settings.hub_limit if hub_limit is None else hub_limit,
        lines=call.lines,
    ).check()
    if dry_run:
        return _plan(call, options)
    if rehearse is not None:
        return _rehearse(call, options, rehearse)
    return _run(call, options)


def mapped(mapping: list[str] | None) -> dict[str, str]:
    """Return field -> column of what `--map` was given."""
    return dict(_pair(each) for each in mapping or ())


def _pair(text: str) -> tuple[str, str]:
    field, equals, column = text.partition("=")
    if not (field and equals):
        raise UsageError(
            f"--map {text!r} has not the form FIELD=COLUMN, e.g. lead_id=leadId; FIELD= says that "
            "the source has no such field."
        )
    return field, column


@command(
    shell,
    "resume",
    panel=LOAD,
    example="""
    backstory resume last
    """,
)
def resume(
    call: Call,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, its beginning, or last.")],
) -> ExitCode:
    """Continue a run that was paused, failed or killed, where it stands; nothing is done twice."""
    from backstory.backfill import journey
    from backstory.faces.cli.embedding import resume_embedding
    from backstory.faces.cli.noting import resume_notes
    from backstory.faces.cli.rendering import resume_rendering
    from backstory.faces.cli.summarizing import resume_summarizing
    from backstory.runs.run import get_run

    with call.app() as app:
        database = app.for_reading()
        with database.engine.connect() as connection:
            found = get_run(connection, run)
        if found.mode is RunMode.EMBED:
            return resume_embedding(call, app, str(found.id), found.options["model"])
        if found.mode is RunMode.SUMMARIZE:
            return resume_summarizing(call, app, str(found.id))
        if found.mode is RunMode.NOTES:
            return resume_notes(call, app, str(found.id))
        if found.mode is RunMode.RENDER:
            return resume_rendering(call, app, str(found.id))
        return _carry_out(call, lambda told: journey.resume(database, str(found.id), told))


def _run(call: Call, options: "BackfillOptions") -> ExitCode:
    from backstory.processes import BACKFILL, prepare

    if options.workers > 1:
        prepare(*BACKFILL)
    from backstory.backfill import journey

    with call.app() as app:
        database = app.for_writing()
        return _carry_out(call, lambda told: journey.start(database, app.home, options, told))


def _carry_out(call: Call, go: "Callable[[Listener], Report]") -> ExitCode:
    from backstory.faces.cli.reporting import next_steps, report_view

    def view(report: "Report") -> "RenderableType":
        title = f"Run {report.run_id[:8]} is done" if report.run_id else "Done"
        return report_view(report, title)

    return carry_out(call, go, view, next_steps, is_clean=lambda report: report.clean)


class Told(Protocol):
    """The report of a run."""

    def as_json(self) -> Any:
        """Return it under the keys of --json."""


_Told = TypeVar("_Told", bound=Told)


def carry_out(
    call: Call,
    go: "Callable[[Listener], _Told]",
    *views: "Callable[[_Told], RenderableType]",
    is_clean: Callable[[_Told], bool] = lambda _: True,
) -> ExitCode:
    """Do a run with its progress shown, and answer with its report or with how to go on."""
    try:
        with call.progress() as listener:
            report = go(listener)
    except Interrupted as stopped:
        return _stopped(call, stopped)
    call.answer(report.as_json(), *(view(report) for view in views))
    return ExitCode.DONE if is_clean(report) else ExitCode.FINDINGS


def _stopped(call: Call, stopped: Interrupted) -> ExitCode:
    """Say what became of a run that was asked to pause or to stop, and how it goes on."""
    run = (stopped.run_id or "last")[:8]
    canceled = stopped.wish == RunWish.CANCEL
    advice = "rollback" if canceled else "resume"
    sentence = (
        f"Run {run} is {'canceled' if canceled else 'paused'}. What is written stays: "
        f"`backstory {advice} {run}` {'takes it back' if canceled else 'goes on'}."
    )
    return fail(sentence, "Interrupted", ExitCode.FINDINGS, json=call.json, run_id=run)


def _plan(call: Call, options: "BackfillOptions") -> ExitCode:
    from backstory.backfill.plan import plan

    with call.app() as app, call.progress() as listener:
        report = plan(app.existing(), app.home, options, listener)
    return _foretold(call, report, "Plan: nothing was written")


def _rehearse(call: Call, options: "BackfillOptions", batches: int) -> ExitCode:
    from backstory.backfill.rehearse import rehearse

    with call.app() as app, call.progress() as listener:
        report = rehearse(app.for_writing(), app.home, options, batches=batches, listener=listener)
    return _foretold(call, report, "Rehearsal: everything was rolled back")


def _foretold(call: Call, report: "Report", title: str) -> ExitCode:
    from backstory.faces.cli.reporting import report_view

    call.answer(report.as_json(), report_view(report, title))
    return ExitCode.DONE if report.clean else ExitCode.FINDINGS
