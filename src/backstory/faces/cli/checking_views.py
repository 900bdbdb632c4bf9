"""What the verdict, the quarantine and the conflicts look like."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from sqlalchemy import RowMapping

from backstory.backfill.gates import Severity
from backstory.backfill.rebuild import SampleResult
from backstory.backfill.report import Report
from backstory.backfill.verify import GateResult, Verdict
from backstory.faces.cli.plain import clipped, one_line, plain
from backstory.faces.cli.reporting import report_view
from backstory.faces.cli.screen import (
    ID,
    count,
    counted,
    facts,
    heading,
    hint,
    indented,
    moment,
    table,
    text,
)

Row = RowMapping | Mapping[str, Any]

_OFFENDERS_SHOWN = 5
_RAW_SHOWN = 4_000


# --- verify ----------------------------------------------------------------------------------


def verdict_view(verdict: Verdict) -> RenderableType:
    """Return each gate with its sentence, what it found below it, and the verdict at the end."""
    shown: list[RenderableType] = [gates_table(verdict), verdict_summary(verdict)]
    if verdict.stale_lines:
        stale = counted(verdict.stale_lines, "event")
        shown.append(
            hint(
                f"Other rules than today's rendered {stale}, or none yet: ",
                ("backstory render", "cyan"),
                " makes the lines anew.",
            )
        )
    return Group(*shown)


def gates_table(verdict: Verdict) -> Table:
    """Return gates and sample, one under another: a mark, the sentence, and what was found."""
    made = table("", ("", {"no_wrap": False, "overflow": "fold"}), header=False)
    for gate in verdict.gates:
        made.add_row(_mark(gate), _said(gate))
    if verdict.sample is not None:
        made.add_row(*_sample_row(verdict.sample))
    return made


def _mark(gate: GateResult) -> Text:
    if gate.severity is Severity.INFO:
        return text(("i", "cyan"))
    if gate.passed:
        return text(("✓", "green"))
    return text(("✗", "red")) if gate.severity is Severity.REQUIRED else text(("!", "yellow"))


def _said(gate: GateResult) -> Text:
    said = text(plain(gate.sentence))
    shown = gate.offenders[:_OFFENDERS_SHOWN] if not gate.passed or gate.severity == "info" else ()
    for offender in shown:
        said.append(f"\n  {one_line(offender)}", "dim")
    if gate.count > len(shown) > 0:
        said.append(f"\n  … {count(gate.count - len(shown))} more", "dim")
    return said


def _sample_row(sample: SampleResult) -> tuple[Text, Text]:
    rebuilt = (
        f"{counted(sample.conversations, 'conversation')} rebuilt from the log, "
        f"{counted(sample.messages, 'message')}: "
    )
    if sample.ok:
        return text(("✓", "green")), text(f"{rebuilt}nothing differs.")
    said = text(f"{rebuilt}{counted(sample.differences, 'field')} differ.")
    for finding in sample.findings[:_OFFENDERS_SHOWN]:
        said.append(f"\n  {one_line(str(finding))}", "dim")
    return text(("✗", "red")), said


def verdict_summary(verdict: Verdict) -> Text:
    """Return the verdict in a line."""
    failed, warned = len(verdict.failed), len(verdict.warnings)
    checked = sum(gate.severity is not Severity.INFO for gate in verdict.gates)
    if not verdict.ok:
        return text((f"Not sound: {counted(failed, 'gate')} failed of {checked}.", "bold red"))
    if warned:
        return text(
            (f"Sound: no gate failed of {checked}", "green"), (f", {warned} warn.", "yellow")
        )
    return text((f"Sound: all {checked} gates hold.", "green"))


# --- what was left out -----------------------------------------------------------------------


def quarantine_json(row: Row) -> dict[str, Any]:
    """Return a quarantined record under the keys of --json, without its bytes."""
    names = (
        *("id", "log", "code", "message", "stage", "status", "position", "audit_id"),
        *("lead_external_id", "extractor_version", "created_at", "run_id", "resolved_run_id"),
    )
    return {name: row[name] for name in names}


def quarantine_view(rows: Sequence[Row], limit: int) -> RenderableType:
    """Return quarantined records, one a line."""
    if not rows:
        return text(("Nothing is in quarantine.", "green"))
    made = table(
        ("id", ID),
        ("where", {"min_width": 14, "max_width": 24}),
        ("code", {"style": "yellow", "min_width": 9, "max_width": 16}),
        ("why", {"no_wrap": False, "overflow": "fold"}),
    )
    for row in rows:
        made.add_row(
            str(row["id"])[:8],
            one_line(row["position"]),
            row["code"].replace("_", " "),
            one_line(row["message"]),
        )
    next_command = ("backstory quarantine show ID", "cyan")
    return Group(made, _more(rows, limit), hint(next_command, " shows one as it was read."))


def _more(rows: Sequence[Row], limit: int) -> RenderableType:
    if len(rows) < limit:
        return hint(f"{counted(len(rows), 'record')}.")
    return hint(f"The first {count(limit)}, those of the newest run first; --limit shows more.")


def quarantined_view(row: Row) -> RenderableType:
    """Return one quarantined record: why, from where, and its bytes as text."""
    raw = bytes(row["raw"])
    shown = plain(raw[:_RAW_SHOWN].decode(errors="replace"))
    cut = f"\n… {count(len(raw) - _RAW_SHOWN)} bytes more; --json has all."
    return Group(
        heading(f"Quarantined record {row['id']}", row["status"]),
        facts(
            [
                ("why", text((row["code"].replace("_", " "), "yellow"))),
                ("", plain(row["message"])),
                ("where", one_line(row["position"])),
                ("log", one_line(row["log"])),
                ("stage", f"{row['stage']}, extractor {row['extractor_version']}"),
                ("run", f"{str(row['run_id'])[:8]}, {moment(row['created_at'])} UTC"),
            ]
        ),
        text(("As it was read:", "dim")),
        indented(Text(shown + (cut if len(raw) > _RAW_SHOWN else ""), overflow="fold")),
    )


def retry_view(reports: Sequence[Report]) -> RenderableType:
    """Return the reports of a retry, one under another."""
    if not reports:
        return text(("Nothing is in quarantine that could be read again.", "green"))
    return Group(
        *(report_view(each, f"Retry {(each.run_id or '')[:8]} is done") for each in reports)
    )


def conflict_json(row: Row) -> dict[str, Any]:
    """Return a conflict under the keys of --json."""
    names = (
        *("id", "log", "audit_id", "winner_id", "lead_external_id", "actor", "action", "payload"),
        *("record_created_at", "position", "created_at", "run_id"),
    )
    return {name: row[name] for name in names}


def conflicts_view(rows: Sequence[Row], limit: int, *, of_run: bool) -> RenderableType:
    """Return conflicts, two lines each: what lost, and against which message."""
    if not rows and of_run:
        return text("No record lost in this run that had not lost before: backstory conflicts")
    if not rows:
        return text(("No record lost against another.", "green"))
    made = table(
        ("audit id", {"min_width": 8, "max_width": 18}),
        ("where", {"min_width": 14, "max_width": 18}),
        ("first is", ID),
        ("the second says", {"no_wrap": False, "overflow": "fold"}),
    )
    for row in rows:
        payload = orjson.dumps(row["payload"]).decode()
        made.add_row(
            one_line(row["audit_id"]),
            one_line(row["position"]),
            str(row["winner_id"])[:8],
            clipped(f"{row['actor']} {row['action']} {payload}", 200),
        )
    return Group(
        made,
        _more(rows, limit),
        hint("The first won; ", ("backstory trace FIRST", "cyan"), " shows what it says."),
    )
