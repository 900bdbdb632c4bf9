"""Takes a customer's names out of rows that nobody owns: reports, deeds, before-images, merges."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection

from backstory.extract.erased import leads_named
from backstory.store.erasure import Scope
from backstory.store.statements import sql
from backstory.store.words import Words

_OF_RUNS = ("options", "findings", "report", "error")


def quarantined_naming(connection: Connection, scope: Scope, words: Words) -> list[UUID]:
    """Return the quarantined records whose bytes name the customer, read or not.

    However short a lead's id is, it is found where a record names its lead.
    """
    asked = {"words": words.spelled, "digits": words.phones}
    leads = {lead.bytes for lead in scope.leads}
    return [
        row.id
        for row in connection.execute(sql("quarantine_naming"), asked)
        if words.name(bytes(row.raw).decode("utf-8", "replace"))
        or any(key in leads for key in leads_named(bytes(row.raw), row.columns or {}))
    ]


def redact(connection: Connection, scope: Scope, words: Words) -> dict[str, int]:
    """Take the customer out of rows of nobody and of others; return how many rows changed."""
    steps: dict[str, Callable[[], int]] = {
        "audit_log": lambda: _own_log(connection, words),
        "backfill_runs": lambda: _runs(connection, words),
        "customer_merges": lambda: _merges(connection, words),
        "run_changes": lambda: _changes(connection, words),
        "run_partitions": lambda: _partitions(connection, scope, words),
    }
    found = {table: step() for table, step in steps.items()}
    return {table: count for table, count in found.items() if count}


def _own_log(connection: Connection, words: Words) -> int:
    """Delete deeds that were done to the customer; keep those of a run without the names."""
    gone: list[UUID] = []
    changed = 0
    for row in connection.execute(sql("deeds_naming"), {"words": words.told}).all():
        payload = words.redacted(row.payload)
        if payload == row.payload and not words.name(row.audit_id.partition(":")[2]):
            continue
        changed += 1
        if row.run_id is None:
            gone.append(row.id)
            continue
        written = orjson.dumps(payload)
        digest = blake2b(written, digest_size=16).digest()
        values = {"id": row.id, "payload": written.decode(), "hash": digest}
        connection.execute(sql("rewrite_deed"), values)
    connection.execute(sql("forget_deeds"), {"ids": gone})
    return changed


def _runs(connection: Connection, words: Words) -> int:
    changed = 0
    for row in connection.execute(sql("runs_naming"), {"words": words.told}).all():
        before = {name: getattr(row, name) for name in _OF_RUNS}
        after = words.redacted(before)
        if after != before:
            changed += 1
            written = {name: _written(after[name]) for name in _OF_RUNS if name != "error"}
            values = {"id": row.id, "error": after["error"], **written}
            connection.execute(sql("rewrite_run"), values)
    return changed


def _merges(connection: Connection, words: Words) -> int:
    changed = 0
    for row in connection.execute(sql("merges_naming"), {"words": words.naming}).all():
        reason, moved = words.without(row.reason), words.without(row.moved)
        if (reason, moved) != (row.reason, row.moved):
            changed += 1
            values = {"id": row.id, "reason": _written(reason), "moved": _written(moved)}
            connection.execute(sql("rewrite_merge"), values)
    return changed


def _changes(connection: Connection, words: Words) -> int:
    """Forget of others' rows what they had of the customer: a rollback leaves those columns."""
    changed = 0
    for row in connection.execute(sql("changes_naming"), {"words": words.naming}).all():
        before = words.without(row.before)
        if before != row.before:
            changed += 1
            values = {"id": row.id, "before": _written(before)}
            connection.execute(sql("rewrite_change"), values)
    connection.execute(sql("forget_empty_changes"))
    return changed


def _partitions(connection: Connection, scope: Scope, words: Words) -> int:
    """Clear cursors that stand at a lead, and examples of ids, in runs that have ended."""
    asked = {"words": words.naming, "leads": list(scope.leads)}
    changed = 0
    for row in connection.execute(sql("partitions_naming"), asked).all():
        counts = words.redacted(row.counts)
        if row.at_lead or counts != row.counts:
            changed += 1
            key = {name: getattr(row, name) for name in ("run_id", "stage", "number")}
            values = {"counts": _written(counts), "at_lead": row.at_lead}
            connection.execute(sql("rewrite_partition"), key | values)
    return changed


def _written(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
