"""A rehearsal: the real run of a few batches inside one transaction that is rolled back."""

import uuid
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection

from backstory.backfill.counts import Counts, add
from backstory.backfill.execute import TRIES, Writer, is_worth_another_try
from backstory.backfill.finish import stage_counts
from backstory.backfill.journey import retry_options
from backstory.backfill.lead_list import LeadList
from backstory.backfill.manifest import make_directory
from backstory.backfill.options import BackfillOptions
from backstory.backfill.order import later_records
from backstory.backfill.plan import Found, read_everything
from backstory.backfill.report import Report, refuse_empty
from backstory.backfill.spill import Spill
from backstory.errors import RecordRefused, Transient, UsageError
from backstory.model import LeadSource, PartitionStage
from backstory.runs import run as runs
from backstory.runs.claim import claim_next
from backstory.runs.progress import Listener, Stopwatch
from backstory.store.engine import Database, translated
from backstory.store.linking import LinkOutcome, link_leads
from backstory.store.statements import sql


class _EnoughError(Exception):
    """The batches asked for are written."""


def rehearse(
    database: Database,
    home: Path,
    options: BackfillOptions,
    *,
    batches: int,
    listener: Listener | None = None,
) -> Report:
    """Really write `batches` batches, then roll everything back; return what was written.

    Finds what only a real write finds: a constraint or trigger of yours, a missing right.
    """
    if batches < 1:
        raise UsageError("--rehearse takes the number of batches to write, at least 1.")
    options = options.check()
    run_id = uuid.uuid4()
    directory = make_directory(home, run_id)
    watch = Stopwatch(listener)
    try:
        with translated(), database.engine.connect() as connection:
            transaction = connection.begin()
            try:
                found = _read(connection, run_id, directory, options, watch=watch)
                watch.begin("write")
                _write(connection, run_id, found, _stop_after(batches, watch))
                watch.end()
                return _report(connection, run_id, found, watch)
            finally:
                transaction.rollback()
    finally:
        Spill(directory, 1).remove()


def _read(
    connection: Connection,
    run_id: uuid.UUID,
    directory: Path,
    options: BackfillOptions,
    *,
    watch: Stopwatch,
) -> Found:
    runs.add_run(
        connection, run_id, mode=options.mode, log=options.log, options={}, spill_dir=directory
    )
    found = read_everything(
        connection,
        directory,
        options,
        link=lambda leads: _link(connection, run_id, leads, options),
        watch=watch,
    )
    refuse_empty(found.read["records_read"], allowed=options.allow_empty)
    return found


def _link(
    connection: Connection, run_id: uuid.UUID, leads: LeadList, options: BackfillOptions
) -> LinkOutcome:
    """Link as the run does: once more when another run has just heard of the same lead."""
    attempt = 0
    while True:
        attempt += 1
        try:
            with translated(), connection.begin_nested():
                return link_leads(
                    connection,
                    leads,
                    run_id=run_id,
                    source=LeadSource.LIST,
                    hub_limit=options.hub_limit,
                )
        except (Transient, RecordRefused) as met:
            if attempt == TRIES or not is_worth_another_try(met):
                raise


def _stop_after(batches: int, watch: Stopwatch) -> Callable[[Counts], None]:
    written: Counts = {"batches": 0, "records": 0}

    def committed(more: Counts) -> None:
        add(written, {"batches": 1, "records": more["records"]})
        watch.tell(written["records"])
        if written["batches"] == batches:
            raise _EnoughError

    return committed


def _write(
    connection: Connection, run_id: uuid.UUID, found: Found, committed: Callable[[Counts], None]
) -> None:
    options = found.manifest.options
    writer = Writer(
        connection=connection,
        run_id=run_id,
        log=options.log,
        sources=found.manifest.audit,
        listed=options.listed,
        retry_options=retry_options(options),
        line_rules=options.rules.name,
        first_load=False,
        committed=committed,
        begin=connection.begin_nested,
    )
    spill = found.spill
    stage = PartitionStage.WRITE
    shares = {"run_id": run_id, "stage": stage, "count": spill.partitions}
    connection.execute(sql("add_partitions"), shares)
    try:
        while claim := claim_next(connection, run_id, stage):
            number = claim.number
            writer.write_partition(
                claim,
                lambda: spill.taken(number),  # noqa: B023 - read at once
                later_records(spill, number),
                spill.left(number),
            )
    except _EnoughError:
        return


def _report(connection: Connection, run_id: uuid.UUID, found: Found, watch: Stopwatch) -> Report:
    counts = stage_counts(connection, run_id, PartitionStage.WRITE)
    rows = connection.execute(sql("rows_of_run"), {"run_id": run_id}).one()
    before = counts.get("leads_seen", 0) - rows.conversations
    return found.report("rehearse", counts, conversations=(rows.conversations, before), watch=watch)
