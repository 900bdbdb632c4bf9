"""What runs look like: in a list, alone, and when they were asked to stop."""

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from backstory.faces.cli.plain import one_line, plain
from backstory.faces.cli.reporting import notices, report_facts, report_from, steps_view
from backstory.faces.cli.screen import (
    ID,
    bullets,
    count,
    duration,
    facts,
    heading,
    hint,
    moment,
    table,
    text,
)
from backstory.model import RunMode, RunStatus, RunWish
from backstory.runs.run import TRANSITIONS, Run

_STYLES = {
    RunStatus.RUNNING: "cyan",
    RunStatus.DONE: "green",
    RunStatus.FAILED: "red",
    RunStatus.PAUSED: "yellow",
    RunStatus.CANCELED: "yellow",
    RunStatus.ROLLED_BACK: "dim",
}


def run_json(run: Run, interrupted: bool) -> dict[str, Any]:  # noqa: FBT001 - pairs of the list
    """Return a run under the keys of --json; `interrupted`: its process is gone."""
    return {
        "run_id": str(run.id),
        "mode": run.mode,
        "log": run.log,
        "status": run.status,
        "interrupted": interrupted,
        "wish": run.wish,
        "options": run.options,
        "host": run.host,
        "records_read": run.records_read,
        "seconds_by_step": run.seconds_by_step,
        "report": run.report,
        "error": run.error,
        "created_at": run.created_at,
        "updated_at": run.updated_at,
        "finished_at": run.finished_at,
    }


def list_view(found: list[tuple[Run, bool]]) -> RenderableType:
    """Return the newest runs, one a line, each with whether its process is gone."""
    if not found:
        return hint("No run yet: ", ("backstory backfill --audit FILE", "cyan"), " begins one.")
    right = {"justify": "right"}
    made = table(
        ("run", ID), ("status", {"min_width": 8}), ("begun (UTC)", {"min_width": 16}),
        ("read", right), ("created", right), ("doubt", right), ("took", right),
    )  # fmt: skip
    for run, interrupted in found:
        report = run.report or {}
        made.add_row(
            str(run.id)[:8],
            _status(run, interrupted=interrupted),
            moment(run.created_at),
            "-" if run.records_read is None else count(run.records_read),
            count(_made(run)) if report else "-",
            count(report.get("records_quarantined", 0) + len(report.get("errors", ())))
            if report
            else "-",
            duration(sum(run.seconds_by_step.values())),
        )
    lost = [run for run, interrupted in found if interrupted]
    if not lost:
        return made
    way_on = (f"backstory resume {str(lost[0].id)[:8]}", "cyan")
    return Group(made, hint("The process of an interrupted run is gone: ", way_on, " goes on."))


def _made(run: Run) -> int:
    """Return how many messages, summaries, notes or lines a finished run made, or embedded."""
    report = run.report or {}
    made: int = report[_MADE.get(run.mode, "messages_created")]
    return made


_MADE = {
    RunMode.EMBED: "embedded",
    RunMode.SUMMARIZE: "written",
    RunMode.NOTES: "created",
    RunMode.RENDER: "rendered",
}
_NO_LOG = {
    RunMode.EMBED: "none: it embeds",
    RunMode.SUMMARIZE: "none: it sums conversations up",
    RunMode.NOTES: "none: it takes notes",
    RunMode.RENDER: "none: it renders lines",
}


def _status(run: Run, *, interrupted: bool) -> Text:
    if interrupted:
        return text(("interrupted", "red"))
    return text((run.status.replace("_", " "), _STYLES[run.status]))


def run_view(
    run: Run,
    interrupted: bool,  # noqa: FBT001 - as in the list
    stages: dict[str, dict[str, int]],
) -> RenderableType:
    """Return one run: what it was asked, where it stands, its report and what can be done next."""
    rows: list[tuple[str, RenderableType]] = [
        ("status", _status(run, interrupted=interrupted)),
        ("begun", f"{moment(run.created_at)} UTC on {run.host}"),
        ("log", one_line(run.log) or _NO_LOG.get(run.mode, "none")),
        ("audit", one_line(", ".join(run.options.get("audit", ())))),
        ("leads", one_line(", ".join(run.options.get("leads", ())) or "derived from the log")),
    ]
    rows += [(f"{name} stage", _stage_line(stage)) for name, stage in stages.items()]
    shown = []
    if run.report and run.mode is RunMode.EMBED:
        rows.append(("embedded", f"{count(_made(run))} messages, by {run.options['model']}"))
    elif run.report and run.mode is RunMode.SUMMARIZE:
        rows.append(
            ("summed up", f"{count(_made(run))} conversations, by {run.options['made_by']}")
        )
    elif run.report and run.mode is RunMode.NOTES:
        rows.append(("noted", f"{count(_made(run))} notes"))
    elif run.report and run.mode is RunMode.RENDER:
        rows.append(("rendered", f"{count(_made(run))} lines, by {run.options['rules_name']}"))
    elif run.report:
        report = report_from(run.report)
        rows += report_facts(report)
        shown = notices(report)
    if run.error:
        shown += bullets([plain(run.error)], "✗", "red")
    return Group(
        heading(f"Run {run.id}"), facts(rows), *shown, _advice(run, interrupted=interrupted)
    )


def _stage_line(stage: dict[str, int]) -> str:
    if not stage["partitions"]:
        return "not begun"
    held = f", {stage['held']} in work" if stage["held"] else ""
    return (
        f"{stage['done']} of {stage['partitions']} parts{held}, {count(stage['records'])} records"
    )


def _advice(run: Run, *, interrupted: bool) -> RenderableType:
    short = str(run.id)[:8]
    steps = {
        RunStatus.RUNNING: (f"backstory resume {short}", "continue it"),
        RunStatus.CANCELED: (f"backstory cancel {short}", "end it for good"),
        RunStatus.ROLLED_BACK: (f"backstory rollback {short}", "take its rows back"),
    }
    if interrupted:
        return steps_view(steps.values())
    if run.status is RunStatus.RUNNING:
        return steps_view([(f"backstory pause {short}", "stop it for a while")])
    return steps_view(step for to, step in steps.items() if to in TRANSITIONS[run.status])


def stop_view(run: Run, wanted: RunWish) -> RenderableType:
    """Return what became of a run that was asked to stop."""
    short = str(run.id)[:8]
    if run.status is RunStatus.RUNNING:
        return text(
            f"Run {short} was asked to {wanted} and still finishes a batch: ",
            (f"backstory runs {short}", "cyan"),
            " shows when it has.",
        )
    on = {RunStatus.PAUSED: "resume", RunStatus.CANCELED: "rollback"}.get(run.status)
    parts: list[str | tuple[str, str]] = [f"Run {short} is {run.status.replace('_', ' ')}."]
    if on:
        parts += [" Next: ", (f"backstory {on} {short}", "cyan")]
    return text(*parts)
