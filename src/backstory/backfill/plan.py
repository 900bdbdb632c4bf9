"""The dry run: the same reading and the same decisions as a run, added up; nothing is written."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from backstory.backfill.counts import Counts, add
from backstory.backfill.decide import Facts, NoFacts, Pace, decide, whole_leads
from backstory.backfill.execute import DatabaseFacts
from backstory.backfill.finish import misfits_of_log
from backstory.backfill.journey import link_findings
from backstory.backfill.lead_list import LeadList
from backstory.backfill.manifest import (
    Manifest,
    make_directory,
    make_manifest,
    read_task,
    save_known_leads,
)
from backstory.backfill.options import BackfillOptions
from backstory.backfill.order import find_later_records, later_records
from backstory.backfill.read import read_segment
from backstory.backfill.report import Report, make_report, refuse_empty, warnings_of
from backstory.backfill.spill import Spill
from backstory.extract.erased import Erased
from backstory.runs.progress import Listener, Stopwatch
from backstory.store.engine import Database, translated
from backstory.store.linking import LinkOutcome, plan_links
from backstory.store.statements import sql
from backstory.store.tombstones import erased_leads


def plan(
    database: Database | None,
    home: Path,
    options: BackfillOptions,
    listener: Listener | None = None,
) -> Report:
    """Return the report that a run would give, as far as reading can tell.

    `database` None is a business whose schema is not there yet. What only a real write finds is
    for `rehearse`.
    """
    options = options.check()
    directory = make_directory(home, f"plan-{uuid.uuid4()}")
    watch = Stopwatch(listener)
    try:
        with translated(), _reading(database) as connection:
            found = read_everything(
                connection,
                directory,
                options,
                link=lambda leads: plan_links(connection, leads, hub_limit=options.hub_limit),
                watch=watch,
            )
            refuse_empty(found.read["records_read"], allowed=options.allow_empty)
            facts = DatabaseFacts(connection) if connection is not None else NoFacts()
            watch.begin("decide", total=found.read["records_read"])
            counts = _add_up(found.spill, facts, watch, listed=options.listed)
            watch.end()
            conversations = _conversations(connection, found, counts)
            return found.report("plan", counts, conversations=conversations, watch=watch)
    finally:
        Spill(directory, 1).remove()


@contextmanager
def _reading(database: Database | None) -> Iterator[Connection | None]:
    """Open a transaction in which PostgreSQL itself refuses to write."""
    if database is None:
        yield None
        return
    with database.engine.begin() as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        yield connection


# --- reading, as a plan and a rehearsal do it ------------------------------------------------


@dataclass(frozen=True)
class Found:
    """All that reading the sources found: `spill` holds the records, `findings` are of leads."""

    manifest: Manifest
    spill: Spill
    links: LinkOutcome
    read: Counts
    findings: dict[str, Any]

    def report(
        self, mode: str, counts: Counts, *, conversations: tuple[int, int], watch: Stopwatch
    ) -> Report:
        """Return a report of `counts`; `conversations` are (created, there before)."""
        derived = counts.get("leads_derived", 0)
        return make_report(
            run_id=None,
            mode=mode,
            counts=counts,
            conversations=conversations,
            leads=(self.links.leads_linked + derived, self.links.customers_created + derived),
            errors=[
                *misfits_of_log(self.manifest, self.read, self.findings),
                *self.findings["errors"],
            ],
            warnings=warnings_of(counts, self.read, link_findings(self.links) | self.findings),
            seconds_by_step=watch.seconds,
        )


def read_everything(
    connection: Connection | None,
    directory: Path,
    options: BackfillOptions,
    *,
    link: Callable[[LeadList], LinkOutcome],
    watch: Stopwatch,
) -> Found:
    """Link the leads by `link`, read all records into `directory`, and order them."""
    manifest = make_manifest(options, directory)
    watch.begin("link")
    erased = erased_leads(connection) if connection is not None else Erased()
    leads = LeadList(manifest.leads, options, erased)
    links = link(leads)
    known = save_known_leads(connection, leads, directory) if options.listed else None
    watch.begin("read")
    task = read_task(manifest, directory, known, erased)
    spill = Spill(directory, manifest.partitions)
    total: Counts = {"records_read": 0}
    for segment in manifest.segments:
        before = total["records_read"]
        found = read_segment(
            task,
            segment,
            tick=lambda count, before=before: watch.tell(before + count),  # type: ignore[misc]  # bound early on purpose
        )
        add(total, vars(found))
    find_later_records(spill)
    return Found(manifest, spill, links, total, leads.findings())


# --- adding up -------------------------------------------------------------------------------

_ONCE_A_LEAD = ("leads_seen", "leads_derived", "conversations_created")


def _add_up(spill: Spill, facts: Facts, watch: Stopwatch, *, listed: bool) -> Counts:
    counts: Counts = {"records": 0}
    for partition in range(spill.partitions):
        later = later_records(spill, partition)
        counted: Counts = {}
        for records, goes_on in whole_leads(spill.taken(partition), Pace()):
            more = decide(records, later=later, facts=facts, listed=listed).counts
            # A lead of many pages is one lead, whichever of them holds its first message.
            more |= {name: 0 for name in _ONCE_A_LEAD if counted.get(name)}
            counted = {n: counted.get(n) or more[n] for n in _ONCE_A_LEAD} if goes_on else {}
            add(counts, more)
            watch.tell(counts["records"])
        for left in spill.left(partition):
            outcome = {"quarantined": 1} if left.raw is not None else {"skipped": {left.reason: 1}}
            add(counts, {"records": 1, **outcome})
    return counts


def _conversations(connection: Connection | None, found: Found, counts: Counts) -> tuple[int, int]:
    """Every lead has a first conversation when a run has ended: those that lack one get it."""
    lacking = 0
    if connection is not None:
        lacking = connection.execute(sql("count_leads_without_conversation")).scalar_one()
    created = lacking + found.links.leads_created + counts.get("leads_derived", 0)
    listed = found.manifest.options.listed
    considered = found.links.leads_listed if listed else counts.get("leads_seen", 0)
    return created, max(considered - created, 0)
