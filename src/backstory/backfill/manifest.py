"""What a run works on: its sources cut into segments and partitions, its leads, its directory."""

import itertools
import os
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from backstory.audit.source import Kind, Segment, Source, open_sources, segment_sources
from backstory.backfill.options import UNKNOWN_ACTOR, BackfillOptions
from backstory.backfill.read import KnownLeads, ReadTask
from backstory.errors import RunError, SourceError
from backstory.extract.identity import lead_id
from backstory.extract.judge import Keys
from backstory.extract.leads import LeadRecord
from backstory.extract.line_rules import RENDERER
from backstory.model import RunMode
from backstory.runs import run as runs
from backstory.runs.run import Run
from backstory.store.statements import sql

PARTITION_BYTES = 3 * 1024 * 1024
MAX_PARTITIONS = 1024
SEGMENT_BYTES = 2 * 1024 * 1024
SEGMENTS_PER_WORKER = 4
# To be raised when the records in spill files change; their lines are among them.
SPILL_FORM = f"2.{RENDERER}"


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
    spill_form: str = SPILL_FORM

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
        if vars(manifest).get("spill_form") != SPILL_FORM:
            raise RunError(
                f"Run {runs.short_id(run.id)} was begun by another version of Backstory, whose "
                "working files this one cannot read: cancel it and start the same backfill anew. "
                "What it wrote stays and is not written twice."
            )
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
    # What a retry reads is our own file; whatever its lines look like, they are records.
    for source in () if options.mode is RunMode.RETRY else (*audit, *leads):
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
        boot=current_boot(),
    )


def current_boot() -> str:
    """Return what changes when the machine is started again."""
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


def save_known_leads(
    connection: Connection | None, leads: Iterable[LeadRecord], directory: Path
) -> Path:
    """Write the keys of all listed leads and of those we know already; return the file."""
    listed = (lead_id(lead.external_id) for lead in leads)
    file = directory / "known-leads"
    KnownLeads(itertools.chain(listed, _lead_keys(connection))).save(file)
    return file


def _lead_keys(connection: Connection | None) -> Iterator[bytes]:
    """Yield the keys of the leads we know; nothing is asked before the first is wanted."""
    if connection is not None:
        streamed = connection.execute(sql("lead_keys"), execution_options={"yield_per": 1000})
        yield from (bytes(row.key) for row in streamed)


def read_task(manifest: Manifest, directory: Path, known: Path | None, erased: Keys) -> ReadTask:
    """Return what a process needs to read the manifest's segments."""
    options = manifest.options
    return ReadTask(
        log=options.log,
        sources=manifest.audit,
        spill=directory,
        partitions=manifest.partitions,
        assume_tz=options.assume_tz,
        unknown_actor=UNKNOWN_ACTOR[options.unknown_actor],
        known=known,
        erased=erased,
        lines=options.rules,
    )
