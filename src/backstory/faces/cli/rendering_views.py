"""What runs that render lines look like."""

from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from backstory.backfill.render import RenderPlan, RenderReport, Sample
from backstory.faces.cli.plain import one_line
from backstory.faces.cli.reporting import steps_view
from backstory.faces.cli.screen import ID, count, duration, facts, heading, hint, table, text
from backstory.runs.run import Run, short_id


def plan_view(plan: RenderPlan) -> RenderableType:
    """Return what a run would do, and some of what would read otherwise."""
    rows = [
        ("rules", plan.rules),
        ("events", f"{count(plan.messages)}, of which {count(plan.stale)} are to be rendered"),
        ("changed", f"{count(plan.changed)} would read otherwise"),
        ("no line", f"{count(plan.without)} that no rule fits"),
    ]
    shown: list[RenderableType] = [heading("Plan: nothing was written"), facts(rows)]
    if plan.samples:
        made = table(("id", ID), "action", ("line", {"no_wrap": False, "overflow": "fold"}))
        for each in plan.samples:
            made.add_row(str(each.id)[:8], one_line(each.action), _sample(each))
        shown.append(made)
    return Group(*shown)


def _sample(sample: Sample) -> Text:
    said = Text(overflow="fold")
    if sample.before is not None:
        said.append(f"{one_line(sample.before)}\n", "dim")
    if sample.after is None:
        return said.append("no line", "yellow")
    return said.append(one_line(sample.after))


def report_view(report: RenderReport) -> RenderableType:
    """Return what a run has done."""
    seconds = sum(report.seconds_by_step.values())
    rows = [
        ("rules", report.rules),
        ("rendered", f"{count(report.rendered)} of {count(report.messages)} events"),
        ("changed", f"{count(report.changed)} read otherwise now"),
        ("no line", f"{count(report.without)} that no rule fits"),
    ]
    return Group(
        heading(f"Run {report.run_id[:8]} is done", f"in {duration(seconds)}"),
        facts(rows),
        steps_view([(f"backstory rollback {report.run_id[:8]}", "take it back")]),
    )


def other_rules(file: Path | None) -> RenderableType:
    """Say that what comes from now on is rendered by other rules than a run just was."""
    setting = f"BACKSTORY_LINE_RULES={file}" if file else "BACKSTORY_LINE_RULES"
    return hint(
        "Loads and live events render by the rules of the settings, which are others: set ",
        (one_line(setting), "cyan"),
        " wherever Backstory runs.",
    )


def undo_json(run: Run, left: int, *, dry_run: bool) -> dict[str, Any]:
    """Return what a rollback gives back under the keys of --json."""
    return {"run_id": run.id, "restored": {"messages": left}, "dry_run": dry_run}


def undo_view(run: Run, left: int, *, dry_run: bool) -> RenderableType:
    """Return what a rollback gives back."""
    title = "Rollback: nothing was changed yet" if dry_run else "Rolled back"
    return Group(
        heading(f"{title}, run {short_id(run.id)}"),
        facts([("lines", text(f"{count(left)} as they were before"))]),
    )
