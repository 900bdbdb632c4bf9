"""Shows the report of a run or of a plan: its sums, what needs a look, and what to do next."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from backstory.backfill.report import Report
from backstory.faces.cli.plain import one_line
from backstory.faces.cli.screen import (
    bullets,
    count,
    counted,
    duration,
    facts,
    heading,
    indented,
    table,
    text,
)

_ERRORS_SHOWN = 10
_STEPS = ("link", "read", "decide", "write", "check")


def report_view(report: Report, title: str) -> RenderableType:
    """Return a report as it is printed: what it says of itself adds up on the screen."""
    return Group(
        heading(title, f"in {duration(report.seconds)}"),
        facts(report_facts(report)),
        *notices(report),
    )


def report_facts(report: Report) -> list[tuple[str, RenderableType]]:
    """Return the lines of a report: outcomes, whom and what they concern, and the time."""
    rows = plan_facts(report)
    rows.append(("steps", steps_line(report.seconds_by_step)))
    if report.messages_created and report.messages_per_second:
        rows.append(("speed", f"{report.messages_per_second:,.0f} messages a second"))
    return rows


def plan_facts(report: Report) -> list[tuple[str, RenderableType]]:
    """Return the lines of a report without its times."""
    r = report
    rows: list[tuple[str, RenderableType]] = [
        (
            "records read",
            _sum(
                r.records_read,
                processed=r.audits_processed,
                skipped=r.audits_skipped,
                quarantined=r.records_quarantined,
            ),
        ),
        (
            "processed",
            _sum(
                r.audits_processed,
                created=r.messages_created,
                skipped=r.messages_skipped,
                in_conflict=r.messages_conflicting,
            ),
        ),
        ("conversations", created_and_kept(r.conversations_created, r.conversations_skipped)),
        (
            "customers",
            f"{count(r.customers_created)} created, {counted(r.leads_linked, 'lead')} linked",
        ),
    ]
    left = reasons(r)
    if left:
        rows.append(("left aside", left))
    if r.roles:
        rows.append(("roles", roles_line(r.roles)))
    return rows


def reasons(report: Report) -> str:
    """Return why records made no message, as `no_text 3, duplicate 12`."""
    parts = dict(report.skipped_by_reason)
    if report.messages_duplicate:
        parts["already there"] = report.messages_duplicate
    return ", ".join(f"{reason.replace('_', ' ')} {count(n)}" for reason, n in parts.items())


def created_and_kept(created: int, there_before: int) -> str:
    """Return `3 created, 0 there before`."""
    return f"{count(created)} created, {count(there_before)} there before"


def roles_line(roles: Mapping[str, Mapping[str, float]]) -> str:
    """Return `user 105 (48.61 %), assistant 111 (51.39 %)`."""
    return ", ".join(
        f"{role} {count(int(share['count']))} ({share['percent']:.2f} %)"
        for role, share in roles.items()
    )


def steps_line(seconds: Mapping[str, float]) -> str:
    """Return `link 0.02 s, read 0.11 s, write 0.40 s, check 0.08 s`."""
    known = [step for step in _STEPS if step in seconds]
    known += [step for step in seconds if step not in _STEPS]
    return ", ".join(f"{step} {duration(seconds[step])}" for step in known)


def notices(report: Report) -> list[RenderableType]:
    """Return warnings and errors, the errors last and not all of many."""
    shown = [one_line(error) for error in report.errors[:_ERRORS_SHOWN]]
    more = len(report.errors) - len(shown)
    if more > 0:
        shown.append(f"… and {counted(more, 'more error')}: --json has them all.")
    return [
        *bullets([one_line(warning) for warning in report.warnings], "!", "yellow"),
        *bullets(shown, "✗", "red"),
    ]


def next_steps(report: Report) -> RenderableType:
    """Return what to do after a run."""
    run = (report.run_id or "last")[:8]
    steps = [("backstory verify", "check it"), (f"backstory rollback {run}", "take it back")]
    if report.records_quarantined:
        steps.insert(0, ("backstory quarantine list", "what could not be read"))
    if report.messages_conflicting:
        steps.insert(0, ("backstory conflicts", "what was said twice"))
    return steps_view(steps)


def steps_view(steps: Iterable[tuple[str, str]]) -> RenderableType:
    """Return commands and what each is for, under one another."""
    made = table(("", {"style": "cyan"}), ("", {"style": "dim"}), header=False)
    for step, purpose in steps:
        made.add_row(step, purpose)
    return indented(made)


def _sum(total: int, **parts: int) -> Text:
    shown = [f"{count(n)} {name.replace('_', ' ')}" for name, n in parts.items()]
    return text((count(total), "bold"), " = ", " + ".join(shown))


def report_from(stored: Mapping[str, Any]) -> Report:
    """Return the report that a run keeps as JSON."""
    return Report(**stored)
