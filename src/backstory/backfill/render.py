"""Renders the lines of events anew, as a run: planned, resumed where it stopped, taken back.

A line is stamped with the rules that made it. A run renders what other rules made, or none yet, a
page in a transaction; a second run finds nothing to do. Taking it back gives each message the line
it had before.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row

from backstory.backfill.rebuild import kept_event
from backstory.extract.line_rules import LineRules, read_rules
from backstory.extract.messages import Projection
from backstory.extract.parse import Unreadable
from backstory.model import MessageKind, Role, RunMode
from backstory.runs.journey import add_run, do_pages, end_run, lead_run, resumable, take_back
from backstory.runs.progress import Listener, Stopwatch
from backstory.runs.run import Run
from backstory.store import lines as store
from backstory.store.backfill import lock_leads
from backstory.store.engine import Database, translated
from backstory.store.lines import Rendered

AUDIT_ACTION = "render_lines"
SAMPLES = 10
_AT_ONCE = 500
_NOBODY = uuid.UUID(int=0)


@dataclass(frozen=True)
class Sample:
    """What a message reads now, None without a line, and what it would read."""

    id: uuid.UUID
    action: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class RenderPlan:
    """What a run would do: of so many messages that may have a line so many are stale.

    `changed` counts those whose line would become another one, `without` those that no rule fits.
    """

    rules: str
    messages: int
    stale: int
    changed: int
    without: int
    samples: tuple[Sample, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the plan as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class RenderReport:
    """What a run has done: `rendered` messages by `rules`, of which `changed` read otherwise."""

    run_id: str
    mode: str
    rules: str
    messages: int
    rendered: int
    changed: int
    without: int
    seconds_by_step: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return asdict(self)


# --- one record ------------------------------------------------------------------------------


def line_of(row: Row[Any], rules: LineRules) -> str:
    """Return the line of a message from its record as we hold it; "" where no rule fits.

    `row` is of `lines_to_render`. A payload that cannot be read any more has no line.
    """
    said = Projection(Role(row.role), MessageKind(row.kind), None, row.content, None)
    try:
        return rules.line(kept_event(row), said) or ""
    except Unreadable:
        return ""


# --- the plan --------------------------------------------------------------------------------


def plan(connection: Connection, rules: LineRules, listener: Listener | None = None) -> RenderPlan:
    """Return what a run would do, with some of what would read otherwise; writes nothing."""
    extent = store.extent(connection, rules)
    watch = Stopwatch(listener, {})
    watch.begin("render", total=extent.stale)
    changed = without = 0
    samples: dict[str, Sample] = {}
    for seen, row in enumerate(_stale(connection, rules), 1):
        line = line_of(row, rules) or None
        without += line is None
        if line != row.line:
            changed += 1
            # Of each action one: a hundred quotes would tell less.
            if len(samples) < SAMPLES:
                samples.setdefault(row.action, Sample(row.id, row.action, row.line, line))
        watch.tell(seen)
    watch.end()
    shown = tuple(samples.values())
    return RenderPlan(rules.name, extent.events, extent.stale, changed, without, shown)


def _stale(connection: Connection, rules: LineRules) -> Iterator[Row[Any]]:
    after = _NOBODY
    while ids := store.stale_ids(connection, rules, after=after, limit=_AT_ONCE):
        yield from store.records(connection, ids)
        after = ids[-1]


# --- the run ---------------------------------------------------------------------------------


def start(
    database: Database, home: Path, rules: LineRules, listener: Listener | None = None
) -> RenderReport:
    """Render what is stale; raise Interrupted when the run was paused or canceled on the way."""
    with translated(), database.engine.begin() as connection:
        run_id = add_run(
            connection,
            home,
            mode=RunMode.RENDER,
            options={"rules": rules.as_json(), "rules_name": rules.name},
            records=store.extent(connection, rules).stale,
            parts=1,
        )
    return lead_run(database, run_id, _steps, listener)


def resume(database: Database, reference: str, listener: Listener | None = None) -> RenderReport:
    """Continue a run that was paused, failed or killed, by the rules it began with."""
    run = resumable(database, reference, RunMode.RENDER)
    return lead_run(database, run.id, _steps, listener)


def rollback(database: Database, reference: str) -> int:
    """Give the messages that a run rendered the lines they had before; return how many."""
    return take_back(
        database,
        reference,
        RunMode.RENDER,
        table="messages",
        undo=lambda connection, run: {"restored": store.restore(connection, run)},
    )


def _steps(connection: Connection, run: Run, watch: Stopwatch) -> RenderReport:
    rules = read_rules(run.options["rules"])

    def page(
        after: uuid.UUID, counts: dict[str, int]
    ) -> tuple[Sequence[uuid.UUID], dict[str, int]]:
        return _page(connection, run, rules, after, counts)

    with connection.begin():
        # Also of a run that goes on: another version of Backstory gives the rules another name.
        store.keep_rules(connection, rules)
    watch.begin("render", total=run.records_read)
    counts = do_pages(connection, run, watch, page)
    watch.end()
    with connection.begin():
        report = RenderReport(
            run_id=str(run.id),
            mode=RunMode.RENDER,
            rules=rules.name,
            messages=store.extent(connection, rules).events,
            rendered=counts["records"],
            changed=counts["changed"],
            without=counts["without"],
            seconds_by_step=watch.seconds,
        )
        end_run(connection, run, AUDIT_ACTION, report=report.as_json(), watch=watch)
    return report


def _page(
    connection: Connection,
    run: Run,
    rules: LineRules,
    after: uuid.UUID,
    counts: dict[str, int],
) -> tuple[Sequence[uuid.UUID], dict[str, int]]:
    """Render the next messages; return which, and what is counted with them."""
    ids = store.stale_ids(connection, rules, after=after, limit=_AT_ONCE)
    # From here on nobody erases these leads, takes them back or writes their messages.
    lock_leads(connection, store.leads_of(connection, ids))
    lines = [
        Rendered(row.id, line_of(row, rules))
        for row in store.records(connection, ids)
        if row.line_rules != rules.name
    ]
    return ids, {
        "records": counts.get("records", 0) + len(lines),
        "changed": counts.get("changed", 0) + store.change(connection, lines, rules, run_id=run.id),
        "without": counts.get("without", 0) + sum(not each.line for each in lines),
    }
