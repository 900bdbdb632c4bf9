"""Knows a log again that was loaded whole: the same bytes, read the same way, all rows still there.

What a run made of them is then what it would make of them now, so that nothing is read twice. Any
doubt (another byte, an option, a row that is gone or changed, a record that was in conflict or
quarantined) means that the log is read.
"""

import hashlib
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection

from backstory.audit.source import Source
from backstory.audit.table import Table
from backstory.backfill.counts import Counts, total_of
from backstory.backfill.manifest import Manifest
from backstory.model import EXTRACTOR_VERSION, PartitionStage, RunMode
from backstory.runs import run as runs
from backstory.runs.run import Run
from backstory.store.statements import sql

# What a run's findings hold of this.
CONTENT, STATE, KNOWN_FROM = "content", "state_of_log", "known_from_run"
# Outcomes that another day may turn out otherwise, from the same bytes.
_OPEN_OUTCOMES = ("conflict", "quarantined")
_OPEN_REASONS = ("lead_not_found", "erased")


def is_known(connection: Connection, run: Run, manifest: Manifest) -> bool:
    """Tell whether the run's log was loaded before and still stands; if so, the run is filled in.

    Otherwise what stands for the log is kept, for the runs that come. Costs one reading of the
    files: about a second for a gigabyte.
    """
    if KNOWN_FROM in run.findings:
        return True
    with connection.begin():
        if _begun(connection, run):
            return False
        content = content_of(manifest)
        if content is None:
            return False
        earlier = _standing(connection, run, content)
        if earlier is None:
            runs.note(connection, run.id, findings={CONTENT: content})
            return False
        _take_over(connection, run, earlier)
    return True


def note_state(connection: Connection, run: Run, manifest: Manifest) -> None:
    """Keep how the log stands now that it is loaded, if the sources are still what was read."""
    with connection.begin():
        findings = runs.get_run(connection, str(run.id)).findings
        sources: list[Source] = [*manifest.audit, *manifest.leads]
        unchanged = manifest.fingerprints == [source.fingerprint() for source in sources]
        if CONTENT in findings and unchanged:
            state = _state_of_log(connection, run.log, until=None)
            runs.note(connection, run.id, findings={STATE: state})


def content_of(manifest: Manifest) -> str | None:
    """Return what stands for the bytes of a log and how they are read; None for tables, retries."""
    options = manifest.options
    files = [source for source in manifest.audit if not isinstance(source, Table)]
    if options.mode is RunMode.RETRY or len(files) < len(manifest.audit):
        return None
    told = {
        "files": [[type(source).__name__, _digest(source)] for source in files],
        "columns": dict(options.columns),
        "assume_tz": options.assume_tz,
        "unknown_actor": options.unknown_actor,
        "listed": options.listed,
        "extractor": EXTRACTOR_VERSION,
    }
    return hashlib.blake2b(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:64]


def _digest(source: Any) -> str:
    with Path(source.file.path).open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _begun(connection: Connection, run: Run) -> bool:
    values = {"run_id": run.id, "stage": PartitionStage.READ}
    return connection.execute(sql("partition_counts"), values).first() is not None


def _state_of_log(connection: Connection, log: str, *, until: str | None) -> dict[str, Any]:
    """Return how many records and messages of a log there are, and what stands for all of them.

    `until` leaves out what was received later: a log may grow without what is there changing.
    """
    row = connection.execute(sql("state_of_log"), {"log": log, "until": until}).one()
    return {"records": row.records, "hash": str(row.hash), "until": row.until.isoformat()}


def _standing(connection: Connection, run: Run, content: str) -> UUID | None:
    """Return a run that read the same, left nothing open, and whose log is as it left it."""
    asked = {"log": run.log, "content": content, "run_id": run.id}
    for earlier in connection.execute(sql("runs_of_content"), asked).all():
        ledger = _counts(connection, earlier.id, PartitionStage.WRITE)
        skipped = ledger.get("skipped", {})
        open_ends = [not ledger.get("records"), *(ledger.get(name) for name in _OPEN_OUTCOMES)]
        open_ends += [skipped.get(reason) for reason in _OPEN_REASONS]
        until = earlier.state["until"]
        if not any(open_ends) and _state_of_log(connection, run.log, until=until) == earlier.state:
            found: UUID = earlier.id
            return found
    return None


def _take_over(connection: Connection, run: Run, earlier: UUID) -> None:
    read = _counts(connection, earlier, PartitionStage.READ)
    ledger = as_seen_again(_counts(connection, earlier, PartitionStage.WRITE))
    for stage, counts in ((PartitionStage.READ, read), (PartitionStage.WRITE, ledger)):
        values = {"run_id": run.id, "stage": stage, "counts": orjson.dumps(counts).decode()}
        connection.execute(sql("add_done_partition"), values)
    learnt = {KNOWN_FROM: str(earlier)}
    runs.note(connection, run.id, records_read=read["records_read"], findings=learnt)


def as_seen_again(ledger: Counts) -> Counts:
    """Return what a ledger comes to when every record is met once more."""
    return {
        "records": ledger.get("records", 0),
        "created": 0,
        "duplicate": ledger.get("created", 0) + ledger.get("duplicate", 0),
        "conflict": 0,
        "leads_seen": ledger.get("leads_seen", 0),
        "leads_derived": 0,
        "conversations_created": 0,
        "roles": {},
        "skipped": ledger.get("skipped", {}),
    }


def _counts(connection: Connection, run_id: UUID, stage: PartitionStage) -> Counts:
    rows = connection.execute(sql("partition_counts"), {"run_id": run_id, "stage": stage})
    return total_of(row.counts for row in rows)
