"""The last step of a run: what only its end can do, and the sum of all outcomes from the rows."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from backstory.audit.source import Kind
from backstory.backfill.counts import Counts, total_of
from backstory.backfill.fit import misfits
from backstory.backfill.manifest import Manifest
from backstory.backfill.report import Report, make_report, warnings_of
from backstory.errors import RecordRefused
from backstory.extract.identity import conversation_id
from backstory.model import CREATED_BY, PartitionStage, RunMode, RunStatus
from backstory.runs import run as runs
from backstory.runs.progress import Stopwatch
from backstory.runs.wish import heed, heeding
from backstory.store import backfill as store
from backstory.store.engine import translated
from backstory.store.statements import sql
from backstory.version import VERSION

AUDIT_ACTION = "backfill_conversations_messages"
_PAGE = 2000
_REFUSED_SHOWN = 20
_NAME_SHOWN = 80
_ANALYZE_RECORDS = 1000


def finish(
    connection: Connection, run_id: uuid.UUID, manifest: Manifest, watch: Stopwatch
) -> Report:
    """Complete a run whose partitions are all done: index, empty conversations, sums, report.

    Raises Interrupted where something else was wished of it: the index is not built a second time.
    """
    refused = add_empty_conversations(connection, run_id)
    ensure_search_index(connection)
    with connection.begin():
        heed(connection, run_id)
        run = runs.get_run(connection, str(run_id))
        ledger = stage_counts(connection, run_id, PartitionStage.WRITE)
        read = stage_counts(connection, run_id, PartitionStage.READ)
        rows = connection.execute(sql("rows_of_run"), {"run_id": run_id}).one()._asdict()
        if ledger.get("created", 0) > _ANALYZE_RECORDS:
            connection.execute(sql("analyze_loaded"))
        errors = [
            *sums(ledger, read, rows, taken_away=run.findings.get("taken_away", {})),
            *refused,
            *misfits_of_log(manifest, read, run.findings),
            *run.findings.get("errors", []),
        ]
        watch.end()
        options = manifest.options
        considered = run.findings["leads_listed"] if options.listed else ledger.get("leads_seen", 0)
        derived = ledger.get("leads_derived", 0)
        report = make_report(
            run_id=str(run_id),
            mode=options.mode,
            counts=ledger,
            conversations=(rows["conversations"], max(considered - rows["conversations"], 0)),
            leads=(
                run.findings["leads_linked"] + derived,
                run.findings["customers_created"] + derived,
            ),
            errors=errors,
            warnings=warnings_of(ledger, read, run.findings),
            seconds_by_step=watch.seconds,
        )
        store.add_own_audit(
            connection, run_id=run_id, action=AUDIT_ACTION, payload=_audit_payload(report, run)
        )
        runs.note(connection, run_id, seconds=watch.seconds, report=report.as_json())
        # Who wishes something from now on waits for this row, and is told that the run is done.
        heed(connection, run_id)
        runs.move(connection, run, RunStatus.DONE)
    return report


def misfits_of_log(manifest: Manifest, read: Counts, findings: Mapping[str, Any]) -> list[str]:
    """Return what is odd about the log as a whole; what a retry reads need not fit anything."""
    if manifest.options.mode is RunMode.RETRY:
        return []
    leads = findings.get("leads_named", [])
    return misfits(Kind.AUDIT, manifest.audit, read.get("sources", {}), leads)


def stage_counts(connection: Connection, run_id: uuid.UUID, stage: PartitionStage) -> Counts:
    """Return the committed counts of one stage of a run, added up."""
    rows = connection.execute(sql("partition_counts"), {"run_id": run_id, "stage": stage})
    return total_of(row.counts for row in rows)


_COUNTED = ("audit_log", "messages", "skips", "quarantine", "conflicts")


def sums(
    ledger: Counts, read: Counts, rows: Mapping[str, int], *, taken_away: Mapping[str, int]
) -> list[str]:
    """Return a sentence for each sum that does not come out, from committed rows alone.

    `taken_away` are rows of the run that went with another one, whose rollback was forced.
    """
    rows = {table: rows[table] + taken_away.get(table, 0) for table in _COUNTED}
    outcomes = sum(
        ledger.get(name, 0) for name in ("created", "duplicate", "conflict", "quarantined")
    ) + sum(ledger.get("skipped", {}).values())
    expected = {
        "records with an outcome": (outcomes, read.get("records_read", 0)),
        "audit_log rows": (rows["audit_log"], ledger.get("created", 0)),
        "messages": (rows["messages"], ledger.get("created", 0)),
        "skip rows": (rows["skips"], ledger.get("skip_rows", 0)),
        "quarantine rows": (rows["quarantine"], ledger.get("quarantine_rows", 0)),
        "conflict rows": (rows["conflicts"], ledger.get("conflict_rows", 0)),
    }
    return [
        f"Outcomes do not add up: {what} {found:,}, expected {wanted:,}."
        for what, (found, wanted) in expected.items()
        if found != wanted
    ]


def add_empty_conversations(connection: Connection, run_id: uuid.UUID) -> list[str]:
    """Give every lead that has none its first conversation; return those the database refuses."""
    after = None
    refused: list[str] = []
    look = heeding(connection, run_id)
    while True:
        with connection.begin():
            look()
            values = {"after": after, "limit": _PAGE}
            page = connection.execute(sql("leads_without_conversation"), values).all()
            if not page:
                return refused[:_REFUSED_SHOWN]
            store.lock_leads(connection, (row.id.bytes for row in page))
            # Again, now that nobody else adds any: another run may have, before the lock.
            held = {row.id for row in page}
            there = connection.execute(sql("leads_without_conversation"), values).all()
            refused += _add(connection, run_id, [row for row in there if row.id in held])
            after = page[-1].id


def _add(connection: Connection, run_id: uuid.UUID, leads: Sequence[Any]) -> list[str]:
    try:
        with translated(), connection.begin_nested():
            store.add_conversations(connection, [_empty(lead) for lead in leads], run_id)
    except RecordRefused as refusal:
        if len(leads) == 1:
            name = leads[0].external_id[:_NAME_SHOWN]
            return [f"The conversation of lead {name!r} was refused: {refusal}."]
        middle = len(leads) // 2
        halves = (leads[:middle], leads[middle:])
        return [each for half in halves for each in _add(connection, run_id, half)]
    return []


def _empty(lead: Any) -> store.NewConversation:
    return store.NewConversation(
        conversation_id(lead.external_id, 0),
        lead.id.bytes,
        lead.customer_id.bytes,
        lead.channel,
        lead.contact,
        lead.stage,
        lead.created_at,
        None,
        None,
    )


def ensure_search_index(connection: Connection) -> None:
    """Build the search index if a first load dropped it, else sort in what is pending."""
    with connection.begin():
        connection.execute(sql("lock_search_index"))
        connection.execute(sql("tune_for_index"))
        connection.execute(sql("ensure_search_index"))
        connection.execute(sql("clean_search_index"))


def _audit_payload(report: Report, run: runs.Run) -> dict[str, Any]:
    return {
        "timestamp": run.created_at.isoformat(),
        "stats": {
            "conversationsCreated": report.conversations_created,
            "conversationsSkipped": report.conversations_skipped,
            "messagesCreated": report.messages_created,
            "messagesSkipped": report.messages_skipped,
            "auditsProcessed": report.audits_processed,
            "auditsSkipped": report.audits_skipped,
            "errors": len(report.errors) + report.records_quarantined,
        },
        "script": CREATED_BY,
        "version": VERSION,
    }
