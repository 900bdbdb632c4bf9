"""What models, and runs that embed, look like."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType

from backstory.faces.cli.plain import one_line
from backstory.faces.cli.reporting import steps_line, steps_view
from backstory.faces.cli.screen import ID, count, duration, facts, heading, hint, table, text
from backstory.runs.run import Run, short_id
from backstory.search.embed_install import WHEELS, Installed, is_installed, place
from backstory.search.embed_run import EmbedPlan, EmbedReport
from backstory.store.embeddings import OfRun, StoredModel


def plan_json(plan: EmbedPlan) -> dict[str, Any]:
    """Return a plan under the keys of --json."""
    return asdict(plan)


def plan_view(plan: EmbedPlan) -> RenderableType:
    """Return what a run would do."""
    return Group(heading("Plan: nothing was written"), facts(_plan_facts(plan)))


def _plan_facts(plan: EmbedPlan) -> list[tuple[str, RenderableType]]:
    return [
        ("model", f"{one_line(plan.model)}, {plan.dimensions} dimensions"),
        ("messages", f"{count(plan.messages)}, of which {count(plan.pending)} are to be embedded"),
        ("serving now", one_line(plan.serving or "none: recall and search go by words")),
    ]


def report_view(report: EmbedReport) -> RenderableType:
    """Return what a run has done."""
    seconds = sum(report.seconds_by_step.values())
    speed = report.embedded / seconds if seconds else 0
    return Group(
        heading(f"Run {report.run_id[:8]} is done", f"in {duration(seconds)}"),
        facts(
            [
                ("model", f"{one_line(report.model)}, which serves from now on"),
                ("embedded", f"{count(report.embedded)} of {count(report.messages)} messages"),
                ("steps", steps_line(report.seconds_by_step)),
                ("speed", f"{speed:,.0f} messages a second"),
            ]
        ),
        steps_view([(f"backstory rollback {report.run_id[:8]}", "take it back")]),
    )


def install_json(home: Path) -> dict[str, Any]:
    """Return what the default model consists of, and whether it is there."""
    wheels = [
        {"requirement": w.requirement, "sha256": w.sha256, "licence": w.licence, "file": w.name}
        for w in WHEELS
    ]
    return {"directory": place(home), "installed": is_installed(home), "wheels": wheels}


def wheels_view(home: Path) -> RenderableType:
    """Return what would be brought."""
    made = table(("wheel", {}), ("licence", {}), ("MB", {"justify": "right"}), ("file of it", {}))
    for wheel in WHEELS:
        made.add_row(wheel.requirement, wheel.licence, str(wheel.megabytes), wheel.name)
    there = "It is there already." if is_installed(home) else "It is not there yet."
    return Group(made, hint(f"To {place(home)}. {there}"))


def installed_view(done: Installed) -> RenderableType:
    """Return where the model is."""
    did = "was brought to" if done.brought else "is already in"
    return Group(
        text(f"{done.model} {did} {done.directory}."),
        hint("Next: ", ("backstory embed", "cyan"), " embeds the messages with it."),
    )


def models_json(
    here: Sequence[str], stored: Sequence[StoredModel], serving: str | None
) -> dict[str, Any]:
    """Return the models under the keys of --json."""
    return {
        "local": list(here),
        "stored": [each._asdict() for each in stored],
        "serving": serving,
    }


def models_view(
    here: Sequence[str], stored: Sequence[StoredModel], serving: str | None
) -> RenderableType:
    """Return the models of this machine and of the database."""
    shown: list[RenderableType] = [text(f"On this machine: {', '.join(here) or 'none'}.")]
    if not stored:
        return Group(
            *shown, hint("No message has been embedded: ", ("backstory embed", "cyan"), ".")
        )
    made = table(("model", ID), ("messages", {"justify": "right"}), ("", {}))
    for each in stored:
        state = (
            "serves" if each.name == serving else "complete" if each.complete else "not complete"
        )
        made.add_row(one_line(each.name), count(each.messages), state)
    return Group(*shown, made)


def undo_json(run: Run, left: OfRun, *, dry_run: bool) -> dict[str, Any]:
    """Return what a rollback takes away under the keys of --json."""
    return {
        "run_id": run.id,
        "removed": {"embeddings": left.embeddings},
        "retired": left.models,
        "dry_run": dry_run,
    }


def undo_view(run: Run, left: OfRun, *, dry_run: bool) -> RenderableType:
    """Return what a rollback takes away."""
    title = "Rollback: nothing was changed yet" if dry_run else "Rolled back"
    retired = ", ".join(map(one_line, left.models)) or "none"
    return Group(
        heading(f"{title}, run {short_id(run.id)}"),
        facts([("embeddings", f"{count(left.embeddings)} go"), ("models out of service", retired)]),
    )
