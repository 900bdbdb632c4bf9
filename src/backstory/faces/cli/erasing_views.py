"""What an erasure looks like, before and after."""

from collections.abc import Iterable, Mapping

from rich.console import Group, RenderableType

from backstory.erasure import ErasurePlan, ErasureReport
from backstory.faces.cli.screen import bullets, count, duration, facts, heading, text
from backstory.store.erasure_search import Hit


def plan_view(plan: ErasurePlan) -> RenderableType:
    """Return what an erasure would remove, and what it waits for."""
    shown: list[RenderableType] = [
        heading(f"Erasure of customer {plan.customer_id}", "nothing was changed"),
        facts([("leads", count(plan.leads)), ("removes", _counts(plan.removed))]),
    ]
    if plan.unfinished_runs:
        named = ", ".join(plan.unfinished_runs)
        shown.append(text(f"It waits for unfinished runs, whose files hold words: {named}."))
    return Group(*shown)


def report_view(report: ErasureReport) -> RenderableType:
    """Return what an erasure removed, what the search found, and what is out of reach."""
    proof = report.proof
    rows = [
        ("removed", _counts(report.removed)),
        ("redacted", _counts(report.redacted) or "nothing"),
        ("searched", f"{proof.columns} columns for {count(sum(proof.sought.values()))} words"),
        ("left", _hits(proof.left) or "nothing"),
    ]
    if proof.of_others:
        rows.append(("of others", f"the same words in {_hits(proof.of_others)}"))
    more: list[RenderableType] = []
    if proof.left:
        more.append(
            text(
                "What is left has to be removed by hand: what to search for is gone with the rows, "
                "so a second erasure cannot find it."
            )
        )
    return Group(
        heading(f"Customer {report.customer_id} is erased", f"in {duration(report.seconds)}"),
        facts(rows),
        *more,
        text("Out of reach:"),
        *bullets(report.out_of_reach, "-", "dim"),
    )


def _counts(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{count(n)} {table.replace('_', ' ')}" for table, n in rows.items())


def _hits(hits: Iterable[Hit]) -> str:
    return ", ".join(f"{each.table}.{each.column} ({count(each.rows)})" for each in hits)
