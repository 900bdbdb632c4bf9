"""A backfill from its options to its report: link, read, write, check; started or resumed."""

import os
import pickle
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from backstory.audit.source import Kind, Oversized, Segment, Source, open_sources, segment_sources
from backstory.backfill.finish import finish
from backstory.backfill.options import UNKNOWN_ACTOR, BackfillOptions
from backstory.backfill.order import find_later_records
from backstory.backfill.read import KnownLeads, ReadTask
from backstory.backfill.report import Report
from backstory.backfill.spill import Spill
from backstory.backfill.work import Told, Work, finish_stage
from backstory.errors import BackstoryError, Interrupted, RunError, SourceError
from backstory.extract.identity import lead_id
from backstory.extract.leads import LeadRecord, parse_lead
from backstory.extract.parse import Unreadable
from backstory.model import LeadSource, PartitionStage, RunStatus, RunWish
from backstory.runs import run as runs
from backstory.runs.progress import Listener, Stopwatch
from backstory.runs.run import Run
from backstory.store.engine import Database, parse_url, translated
from backstory.store.statements import sql

PARTITION_BYTES = 3 * 1024 * 1024
MAX_PARTITIONS = 1024
SEGMENT_BYTES = 8 * 1024 * 1024
SEGMENTS_PER_WORKER = 4
FIRST_LOAD_RECORDS = 20_000
_ERRORS_SHOWN = 20


@dataclass(frozen=True)
class Manifest:
    """What a run needs to go on in another process; kept in its spill directory, mode 0600.

    The boot is noted because spill files are not forced to disk: they outlive any process, but
    after a crash of the machine they are made again from the sources.
    """

    options: BackfillOptions
    audit: list[Source]
    leads: list[Source]
    segments: list[Segment]
    partitions: int
    fingerprints: list[str]
    boot: str

    def save(self, directory: Path) -> None:
        """Write the manifest into the run's directory."""
        descriptor = os.open(directory / "manifest", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            pickle.dump(self, file)

    @classmethod
    def load(cls, run: Run) -> "Manifest":
        """Read the manifest of a run; raise RunError if it is not on this machine any more."""
        try:
            with (Path(run.spill_dir) / "manifest").open("rb") as file:
                manifest: Manifest = pickle.load(file)  # noqa: S301 - our own file, mode 0600
        except (OSError, pickle.UnpicklingError, AttributeError, ImportError) as gone:
            raise RunError(
                f"Run {runs.short_id(run.id)} keeps its working files on {run.host} in "
                f"{run.spill_dir}, and they cannot be read here: cancel it and start the same "
                "backfill anew. What it wrote stays and is not written twice."
            ) from gone
        return manifest


def open_audit_and_leads(
    options: BackfillOptions, directory: Path
) -> tuple[list[Source], list[Source]]:
    """Open and check all sources; standard input is copied into `directory` first."""
    audit = open_sources(
        options.audit,
        Kind.AUDIT,
        table=options.audit_table,
        columns=options.columns_of(Kind.AUDIT),
        spool=directory,
    )
    leads = open_sources(
        options.leads,
        Kind.LEAD,
        table=options.lead_table,
        columns=options.columns_of(Kind.LEAD),
        spool=directory,
    )
    for source in (*audit, *leads):
        source.check()
    return audit, leads


def make_manifest(options: BackfillOptions, directory: Path) -> Manifest:
    """Open the sources and cut the work into segments and partitions, by the size of the input."""
    audit, leads = open_audit_and_leads(options, directory)
    size = sum(source.estimated_bytes() for source in audit)
    pieces = min(options.workers * SEGMENTS_PER_WORKER, max(size // SEGMENT_BYTES, 1))
    partitions = 1
    while partitions < MAX_PARTITIONS and partitions * PARTITION_BYTES < size:
        partitions *= 2
    return Manifest(
        options=options,
        audit=audit,
        leads=leads,
        segments=segment_sources(audit, pieces),
        partitions=partitions,
        fingerprints=[source.fingerprint() for source in (*audit, *leads)],
        boot=_boot(),
    )


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def make_directory(home: Path, run_id: object) -> Path:
    """Return a new directory of ours alone for a run's files; raise SourceError with advice."""
    directory = home / "runs" / str(run_id)
    try:
        directory.mkdir(parents=True, mode=0o700)
    except OSError as bad:
        raise SourceError(
            f"{directory} cannot be made ({bad.strerror}): choose another --home, or set "
            "BACKSTORY_HOME to a directory you may write to."
        ) from bad
    return directory


# --- leads -----------------------------------------------------------------------------------


class LeadList:
    """The given lists of leads, read anew at each iteration; what is unreadable is noted."""

    def __init__(self, sources: Sequence[Source], options: BackfillOptions) -> None:
        self._sources = sources
        self._columns = options.columns_of(Kind.LEAD)
        self._zone = ZoneInfo(options.assume_tz)
        self._region = options.region
        self.errors: list[str] = []

    def __iter__(self) -> Iterator[LeadRecord]:
        self.errors = []
        for source in self._sources:
            for position, line in source.read():
                try:
                    if isinstance(line, Oversized):
                        raise Unreadable("too_large", f"A lead of {line.size} bytes is too large.")  # noqa: TRY301 - one way for all reasons
                    yield parse_lead(
                        line, columns=self._columns, assume_tz=self._zone, region=self._region
                    )
                except Unreadable as reason:
                    self.errors.append(f"{source.where(position)}: {reason}")

    def findings(self) -> dict[str, Any]:
        """Return the leads that could not be read, as far as they are shown."""
        return {"leads_unreadable": len(self.errors), "errors": self.errors[:_ERRORS_SHOWN]}


def save_known_leads(
    connection: Connection | None, leads: Iterable[LeadRecord], directory: Path
) -> Path:
    """Write the keys of all listed leads and of those we know already; return the file."""
    keys = [lead_id(lead.external_id) for lead in leads]
    if connection is not None:
        keys.extend(bytes(row.key) for row in connection.execute(sql("lead_keys")))
    file = directory / "known-leads"
    KnownLeads(keys).save(file)
    return file


def erased_keys(connection: Connection) -> frozenset[bytes]:
    """Return the keys of leads that were erased."""
    return frozenset(bytes(row.digest) for row in connection.execute(sql("erased_keys")))


def read_task(
    manifest: Manifest, directory: Path, known: Path | None, erased: frozenset[bytes]
) -> ReadTask:
    """Return what a process needs to read the manifest's segments."""
    options = manifest.options
    return ReadTask(
        log=options.log,
        sources=manifest.audit,
        spill=directory,
        partitions=manifest.partitions,
        columns=options.columns_of(Kind.AUDIT),
        assume_tz=options.assume_tz,
        unknown_actor=UNKNOWN_ACTOR[options.unknown_actor],
        known=known,
        erased=erased,
    )


# --- the run ---------------------------------------------------------------------------------


def start(
    database: Database, home: Path, options: BackfillOptions, listener: Listener | None = None
) -> Report:
    """Run a backfill from the beginning and return its report.

    Raises Interrupted when it was paused or canceled on the way, RunError, SourceError or a
    database error when it cannot go on; what is committed stays, and `resume` continues.
    """
    options = options.check()
    with translated(), database.engine.begin() as connection:
        run_id = uuid.uuid4()
        directory = make_directory(home, run_id)
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
        manifest = Manifest.load(run)
        sources = (*manifest.audit, *manifest.leads)
        changed = manifest.fingerprints != [source.fingerprint() for source in sources]
        if changed and run.records_read is None:
            raise RunError(
                "A source has changed since the run began: cancel the run and start it anew."
            )
        if manifest.boot != _boot():
            raise RunError(
                "The machine was restarted, so the run's working files cannot be trusted: cancel "
                "it and start the same backfill anew. What it wrote is not written twice."
            )
        runs.move(connection, run, RunStatus.RUNNING)
    return _go(database, run.id, manifest, listener)


def _go(
    database: Database, run_id: uuid.UUID, manifest: Manifest, listener: Listener | None
) -> Report:
    with database.engine.connect() as connection, translated():
        with connection.begin():
            run = runs.get_run(connection, str(run_id))
        watch = Stopwatch(listener, dict(run.seconds_by_step))
        try:
            return _steps(database, connection, run, manifest, watch)
        except Interrupted as stop:
            _stop(connection, run, watch, _AFTER_WISH[RunWish(stop.wish)], None)
            raise
        except KeyboardInterrupt:
            _stop(connection, run, watch, RunStatus.PAUSED, None)
            raise Interrupted(RunWish.PAUSE) from None
        except BackstoryError as failed:
            _stop(connection, run, watch, RunStatus.FAILED, str(failed))
            raise


_AFTER_WISH = {RunWish.PAUSE: RunStatus.PAUSED, RunWish.CANCEL: RunStatus.CANCELED}


def _stop(
    connection: Connection, run: Run, watch: Stopwatch, status: RunStatus, error: str | None
) -> None:
    """Leave a run in a state from which it goes on, as far as the database still answers."""
    watch.end()
    try:
        with translated():
            connection.rollback()
            with connection.begin():
                runs.note(connection, run.id, seconds=watch.seconds)
                runs.move(connection, run, status, error=error)
    except BackstoryError:
        return  # the first error is the one to tell; `resume` takes a run without live workers


def _steps(
    database: Database, connection: Connection, run: Run, manifest: Manifest, watch: Stopwatch
) -> Report:
    directory = Path(run.spill_dir)
    spill = Spill(directory, manifest.partitions)
    work = Work(
        url=database.url,
        schema=database.schema,
        run_id=run.id,
        stage=PartitionStage.READ,
        task=_link(connection, run, manifest, watch),
        segments=manifest.segments,
        listed=manifest.options.listed,
        retry_options=_retry_options(manifest.options),
        first_load=False,
    )
    watch.begin("read")
    _lay_out(connection, work, len(manifest.segments))
    finish_stage(connection, work, manifest.options.workers, watch.tell)
    read = _records_read(connection, run)
    find_later_records(spill)
    watch.begin("write", total=read)
    work = replace(work, stage=PartitionStage.WRITE, first_load=_first_load(connection, run, read))
    _lay_out(connection, work, manifest.partitions)
    finish_stage(connection, work, manifest.options.workers, watch.tell)
    watch.begin("check")
    report = finish(connection, run.id, manifest.options, watch)
    spill.remove()
    return report


def _link(connection: Connection, run: Run, manifest: Manifest, watch: Stopwatch) -> ReadTask:
    directory = Path(run.spill_dir)
    known = directory / "known-leads" if manifest.options.listed else None
    with connection.begin():
        erased = erased_keys(connection)
    if not run.findings:
        watch.begin("link")
        with connection.begin():
            runs.note(connection, run.id, findings=_link_listed(connection, run, manifest))
    return read_task(manifest, directory, known, erased)


def _link_listed(connection: Connection, run: Run, manifest: Manifest) -> dict[str, Any]:
    options = manifest.options
    leads = LeadList(manifest.leads, options)
    from backstory.store.linking import link_leads

    outcome = link_leads(
        connection, leads, run_id=run.id, source=LeadSource.LIST, hub_limit=options.hub_limit
    )
    if options.listed:
        save_known_leads(connection, leads, Path(run.spill_dir))
    return outcome.as_json() | leads.findings()


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
        empty: bool = connection.execute(sql("is_first_load")).scalar_one()
        if not empty or read < FIRST_LOAD_RECORDS:
            return False
        connection.execute(sql("drop_search_index"))
        runs.note(connection, run.id, first_load=True)
    return True


def _retry_options(options: BackfillOptions) -> dict[str, Any]:
    """Return what a retry of a quarantined record must know of the run that met it."""
    return {
        "columns": dict(options.columns),
        "assume_tz": options.assume_tz,
        "unknown_actor": options.unknown_actor,
        "region": options.region,
        "listed": options.listed,
    }


__all__ = ["LeadList", "Manifest", "Told", "resume", "start"]
