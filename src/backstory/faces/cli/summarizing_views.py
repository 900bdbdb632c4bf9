"""What runs that sum conversations up look like."""

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType

from backstory.faces.cli.plain import one_line
from backstory.faces.cli.reporting import steps_view
from backstory.faces.cli.screen import bullets, count, duration, facts, heading
from backstory.memory.summaries import SummaryPlan, SummaryReport
from backstory.runs.run import Run, short_id
from backstory.store.summaries import OfRun


def plan_json(plan: SummaryPlan) -> dict[str, Any]:
    """Return a plan under the keys of --json."""
    return asdict(plan)


def plan_view(plan: SummaryPlan) -> RenderableType:
    """Return what a run would do."""
    todo = f"{count(plan.conversations)}, of which {count(plan.pending)} are to be summed up"
    return Group(
        heading("Plan: nothing was written"),
        facts([("made by", one_line(plan.made_by)), ("conversations", todo)]),
    )


def report_view(report: SummaryReport) -> RenderableType:
    """Return what a run has done."""
    seconds = sum(report.seconds_by_step.values())
    rows: list[tuple[str, RenderableType]] = [
        ("made by", one_line(report.made_by)),
        ("summed up", f"{count(report.written)} of {count(report.conversations)} conversations"),
    ]
    others = (
        ("removed", report.removed, "of conversations that say nothing any more"),
        ("kept", report.kept, "as they were: the model was not to be had"),
        ("fell back", report.fell_back, "that the model was to make"),
        ("waiting", report.waiting, "in other hands; the next run takes them"),
    )
    rows += [(name, f"{count(number)} {words}") for name, number, words in others if number]
    if report.calls:
        rows.append(("asked", f"{count(report.calls)} calls, {count(report.tokens)} tokens"))
    reasons = [f"{one_line(why)} ({count(often)})" for why, often in report.reasons.items()]
    return Group(
        heading(f"Run {report.run_id[:8]} is done", f"in {duration(seconds)}"),
        facts(rows),
        *bullets(reasons, "!", "yellow"),
        steps_view([(f"backstory rollback {report.run_id[:8]}", "take it back")]),
    )


def undo_json(run: Run, left: OfRun, *, dry_run: bool) -> dict[str, Any]:
    """Return what a rollback takes away and gives back under the keys of --json."""
    return {
        "run_id": run.id,
        "removed": {"conversation_summaries": left.removed},
        "restored": {"conversation_summaries": left.restored},
        "dry_run": dry_run,
    }


def undo_view(run: Run, left: OfRun, *, dry_run: bool) -> RenderableType:
    """Return what a rollback takes away and gives back."""
    title = "Rollback: nothing was changed yet" if dry_run else "Rolled back"
    told = f"{count(left.removed)} go"
    if left.restored:
        told += f", {count(left.restored)} become what they were before"
    return Group(heading(f"{title}, run {short_id(run.id)}"), facts([("summaries", told)]))
