"""What a rollback looks like, before and after."""

from collections.abc import Mapping

from rich.console import Group, RenderableType

from backstory.backfill.rollback import RollbackPlan, RollbackReport
from backstory.faces.cli.plain import plain
from backstory.faces.cli.screen import bullets, counted, duration, facts, heading, text


def plan_view(plan: RollbackPlan, *, dry_run: bool, force: bool) -> RenderableType:
    """Return what a rollback would do, what stands in its way, and how to go on."""
    short = str(plan.run.id)[:8]
    shown: list[RenderableType] = [
        heading(f"Rollback of run {short}", "nothing was changed"),
        facts(_rows(plan, force=force)),
    ]
    if plan.blockers:
        mark = ("!", "yellow") if force else ("✗", "red")
        shown += bullets([plain(blocker.sentence) for blocker in plan.blockers], *mark)
    if plan.blockers and not force:
        shown.append(text("It is blocked. ", ("--force", "cyan"), " removes all that too."))
    elif dry_run:
        forced = " --force" if plan.blockers else ""
        shown.append(text("It would work: ", (f"backstory rollback {short}{forced}", "cyan")))
    return Group(*shown)


def _rows(plan: RollbackPlan, *, force: bool) -> list[tuple[str, str]]:
    rows = [
        ("removes", _counts(plan.removed) or "nothing"),
        ("restores", _counts(plan.restored) or "nothing: the run changed no row of others"),
    ]
    if force and plan.forced:
        rows.append(("by force", _counts(plan.forced)))
    if plan.kept:
        rows.append(("keeps", f"{_counts(plan.kept)}, which others use"))
    return rows


def _counts(rows: Mapping[str, int]) -> str:
    return ", ".join(
        counted(n, *_NOUNS.get(table, (table[:-1], table))) for table, n in rows.items()
    )


# What the rows of a table are called where its name, without its last letter, is not enough.
_NOUNS = {
    "audit_log": ("record of the log", "records of the log"),
    "quarantine": ("quarantined record", "quarantined records"),
    "customer_merges": ("merge", "merges"),
    "customer_identities": ("identity", "identities"),
    "customer_addresses": ("address", "addresses"),
    "addresses": ("address", "addresses"),
    "memory_notes": ("note", "notes"),
    "tool_calls": ("tool call", "tool calls"),
}


def report_view(report: RollbackReport) -> RenderableType:
    """Return what a rollback did."""
    rows = [
        ("removed", _counts(report.removed) or "nothing"),
        ("restored", _counts(report.restored) or "nothing"),
    ]
    if report.forced:
        rows.append(("by force", _counts(report.forced)))
    if report.kept:
        rows.append(("kept", f"{_counts(report.kept)}, which others use"))
    took = duration(sum(report.seconds_by_step.values()))
    return Group(heading(f"Run {report.run_id[:8]} is rolled back", f"in {took}"), facts(rows))
