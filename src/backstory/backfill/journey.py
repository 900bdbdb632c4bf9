"""A backfill from its options to its report: link, read, write, check; started or resumed."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from backstory.backfill.execute import TRIES, is_worth_another_try
from backstory.backfill.finish import ensure_search_index, finish
from backstory.backfill.lead_list import LeadList
from backstory.backfill.manifest import (
    Manifest,
    current_boot,
    make_directory,
    make_manifest,
    read_task,
    save_known_leads,
)
from backstory.backfill.options import BackfillOptions
from backstory.backfill.order import find_later_records
from backstory.backfill.read import ReadTask
from backstory.backfill.recognise import is_known, note_state
from backstory.backfill.report import Report, refuse_empty
from backstory.backfill.spill import Spill
from backstory.backfill.work import Work, finish_stage
from backstory.errors import RecordRefused, RunError, Transient
from backstory.extract.judge import Keys
from backstory.model import LeadSource, PartitionStage, RunMode, RunStatus
from backstory.processes import BACKFILL, prepare
from backstory.runs import run as runs
from backstory.runs.journey import check_mode, lead_run
from backstory.runs.progress import Listener, Stopwatch
from backstory.runs.run import Run
from backstory.runs.wish import heeding
from backstory.store.engine import Database, parse_url, translated
from backstory.store.lines import keep_rules
from backstory.store.linking import LinkOutcome, link_leads
from backstory.store.quarantine import reopen_untaken
from backstory.store.statements import sql
from backstory.store.tombstones import erased_leads

FIRST_LOAD_RECORDS = 20_000


# --- the run ---------------------------------------------------------------------------------


def link_findings(outcome: LinkOutcome) -> dict[str, Any]:
    """Return what linking did, as a run keeps it for its report."""
    return {
        "leads_listed": outcome.leads_listed,
        "leads_created": outcome.leads_created,
        "leads_linked": outcome.leads_linked,
        "customers_created": outcome.customers_created,
        "sentences": list(outcome.findings),
    }


def start(
    database: Database,
    home: Path,
    options: BackfillOptions,
    listener: Listener | None = None,
) -> Report:
    """Run a backfill from the beginning and return its report.

    Raises Interrupted when it was paused or canceled on the way, RunError, SourceError or a
    database error when it cannot go on; what is committed stays, and `resume` continues.
    """
    options = options.check()
    run_id = uuid.uuid4()
    return begin(database, run_id, make_directory(home, run_id), options, listener)


def begin(
    database: Database,
    run_id: uuid.UUID,
    directory: Path,
    options: BackfillOptions,
    listener: Listener | None = None,
    *,
    also: Callable[[Connection], object] | None = None,
) -> Report:
    """Do what `start` does, under an id and in a directory that are there already.

    `also` is done in the transaction that writes the run down. The directory is removed with the
    run's other files: when the run ends, or cannot begin.
    """
    try:
        with translated(), database.engine.begin() as connection:
            manifest = make_manifest(options, directory)
            manifest.save(directory)
            runs.add_run(
                connection,
                run_id,
                mode=options.mode,
                log=options.log,
                options=options.as_json() | _without_secrets(options),
                spill_dir=directory,
            )
            keep_rules(connection, options.rules)
            if also is not None:
                also(connection)
    except BaseException:
        Spill(directory, 1).remove()
        raise
    return _go(database, run_id, manifest, listener)


def _without_secrets(options: BackfillOptions) -> dict[str, Any]:
    """Return the sources as they may be shown: a password stays in the manifest."""

    def shown(source: str) -> str:
        if "://" not in source:
            return source
        return parse_url(source).render_as_string(hide_password=True)

    return {
        "audit": [shown(source) for source in options.audit],
        "leads": [shown(source) for source in options.leads],
    }


def resume(database: Database, reference: str, listener: Listener | None = None) -> Report:
    """Continue a run that was paused, failed, or lost its workers; return its report."""
    with translated(), database.engine.begin() as connection:
        run = runs.get_run(connection, reference)
        check_mode(run, RunMode.BACKFILL, RunMode.RETRY)
        runs.check_way(run, RunStatus.RUNNING)
        manifest = Manifest.load(run)
        sources = (*manifest.audit, *manifest.leads)
        changed = manifest.fingerprints != [source.fingerprint() for source in sources]
        if changed and run.records_read is None:
            raise RunError(
                "A source has changed since the run began: cancel the run and start it anew."
            )
        if manifest.boot != current_boot():
            raise RunError(
                "The machine was restarted, so the run's working files cannot be trusted: cancel "
                "it and start the same backfill anew. What it wrote is not written twice."
            )
    return _go(database, run.id, manifest, listener)


def _go(
    database: Database, run_id: uuid.UUID, manifest: Manifest, listener: Listener | None
) -> Report:
    def steps(connection: Connection, run: Run, watch: Stopwatch) -> Report:
        return _steps(database, connection, run, manifest, watch)

    return lead_run(database, run_id, steps, listener, settle=settle)


def settle(
    connection: Connection, run: Run, status: RunStatus, *, error: str | None = None
) -> None:
    """Move a run that stands still; one that ends for good leaves an index and no files."""
    with connection.begin():
        runs.move(connection, run, status, error=error)
        if status is RunStatus.CANCELED:
            reopen_untaken(connection, run.id)
    if status is RunStatus.CANCELED:
        ensure_search_index(connection)
        Spill(Path(run.spill_dir), 1).remove()


def _steps(
    database: Database, connection: Connection, run: Run, manifest: Manifest, watch: Stopwatch
) -> Report:
    task = _link(connection, run, manifest, watch)
    watch.begin("read")
    if not is_known(connection, run, manifest):
        _read_and_write(database, connection, run, manifest, task=task, watch=watch)
        note_state(connection, run, manifest)
    watch.begin("check")
    report = finish(connection, run.id, manifest, watch)
    Spill(Path(run.spill_dir), manifest.partitions).remove()
    return report


def _read_and_write(
    database: Database,
    connection: Connection,
    run: Run,
    manifest: Manifest,
    *,
    task: ReadTask,
    watch: Stopwatch,
) -> None:
    if manifest.options.workers > 1:
        prepare(*BACKFILL)
    spill = Spill(Path(run.spill_dir), manifest.partitions)
    work = Work(
        url=database.url,
        schema=database.schema,
        run_id=run.id,
        stage=PartitionStage.READ,
        task=task,
        segments=manifest.segments,
        listed=manifest.options.listed,
        retry_options=retry_options(manifest.options),
        first_load=False,
    )
    _lay_out(connection, work, len(manifest.segments))
    finish_stage(connection, work, manifest.options.workers, watch)
    read = _records_read(connection, run)
    refuse_empty(read, allowed=manifest.options.allow_empty)
    find_later_records(spill)
    watch.begin("write", total=read)
    work = replace(work, stage=PartitionStage.WRITE, first_load=_first_load(connection, run, read))
    _lay_out(connection, work, manifest.partitions)
    finish_stage(connection, work, manifest.options.workers, watch)


def _link(connection: Connection, run: Run, manifest: Manifest, watch: Stopwatch) -> ReadTask:
    directory = Path(run.spill_dir)
    known = directory / "known-leads" if manifest.options.listed else None
    with connection.begin():
        erased = erased_leads(connection)
    if not run.findings:
        watch.begin("link")
        for attempt in range(TRIES):
            try:
                with translated(), connection.begin():
                    findings = _link_listed(connection, run, manifest, erased)
                    runs.note(connection, run.id, findings=findings)
                break
            except (Transient, RecordRefused) as met:
                if attempt == TRIES - 1 or not is_worth_another_try(met):
                    raise
    return read_task(manifest, directory, known, erased)


def _link_listed(
    connection: Connection, run: Run, manifest: Manifest, erased: Keys
) -> dict[str, Any]:
    options = manifest.options
    look = heeding(connection, run.id)
    leads = LeadList(manifest.leads, options, erased, heed=look)
    outcome = link_leads(
        connection,
        leads,
        run_id=run.id,
        source=LeadSource.LIST,
        hub_limit=options.hub_limit,
        heed=look,
    )
    if options.listed:
        save_known_leads(connection, leads, Path(run.spill_dir))
    return link_findings(outcome) | leads.findings()


def _lay_out(connection: Connection, work: Work, count: int) -> None:
    with connection.begin():
        values = {"run_id": work.run_id, "stage": work.stage, "count": count}
        connection.execute(sql("add_partitions"), values)


def _records_read(connection: Connection, run: Run) -> int:
    with connection.begin():
        values = {"run_id": run.id, "stage": PartitionStage.READ}
        rows = connection.execute(sql("partition_counts"), values)
        read: int = sum(row.counts["records_read"] for row in rows)
        runs.note(connection, run.id, records_read=read)
    return read


def _first_load(connection: Connection, run: Run, read: int) -> bool:
    """Decide once a run whether the search index is built afterwards; drop it if so."""
    with connection.begin():
        if run.first_load:
            return True
        connection.execute(sql("lock_search_index"))
        empty: bool = connection.execute(sql("is_first_load")).scalar_one()
        if not empty or read < FIRST_LOAD_RECORDS:
            return False
        connection.execute(sql("drop_search_index"))
        runs.note(connection, run.id, first_load=True)
    return True


def retry_options(options: BackfillOptions) -> dict[str, Any]:
    """Return what a retry of a quarantined record must know of the run that met it."""
    return {
        "assume_tz": options.assume_tz,
        "unknown_actor": options.unknown_actor,
        "region": options.region,
        "listed": options.listed,
    }
