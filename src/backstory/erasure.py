"""Erases one customer wherever its words are held, and proves it; exports one customer before that.

The one exception to a log that only grows. What was erased leaves keyed hashes behind, so that no
run, retry or live event brings it back.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection

from backstory.errors import RecordRefused, RunError, Transient, UsageError
from backstory.model import TombstoneKind
from backstory.runs.run import short_id
from backstory.store.backfill import add_own_audit, lock_leads
from backstory.store.engine import Database, translated
from backstory.store.erasure import (
    Scope,
    count_rows,
    remove_rows,
    rows_of,
    scope_of,
    tables_of_customers,
)
from backstory.store.erasure_search import Proof, search
from backstory.store.redaction import quarantined_naming, redact
from backstory.store.statements import sql
from backstory.store.tombstones import bury, grave_of
from backstory.store.words import Words, words_of

ACTION = "customer_erased"
PROVED = "erasure_proved"
_TRIES = 5
# The first PostgreSQL that forgets samples when it is asked to.
_CLEARS_SAMPLES = (18,)
# What the sums of a finished run are taken over: see `backfill.finish.sums`.
_SUMMED = frozenset({"audit_log", "messages", "skips", "quarantine", "conflicts"})
OUT_OF_REACH = (
    "Backups and dumps that were made before: they hold what they held.",
    "The write-ahead log and its archive, until PostgreSQL has recycled them; replicas follow.",
    "The agent's own log and lists of leads, which were only read: erase there too.",
    "What cannot be read in that log and does not name a lead: it may be quarantined again.",
    "Exports, reports and logs that somebody has kept, and what a language model was shown.",
    "Working files of runs on other machines.",
    "Pages of the database's files, until they are written anew.",
    "Before PostgreSQL 18 the planner's samples of tables that have no row any more.",
)


@dataclass(frozen=True)
class ErasurePlan:
    """What an erasure would remove, by table, and the runs that it waits for."""

    customer_id: UUID
    customers: int
    leads: int
    removed: dict[str, int]
    unfinished_runs: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the plan as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ErasureReport:
    """What was removed and redacted, by table, and the proof."""

    customer_id: UUID
    customers: int
    leads: int
    removed: dict[str, int]
    redacted: dict[str, int]
    directories_removed: int
    proof: Proof
    seconds: float
    out_of_reach: tuple[str, ...] = field(default=OUT_OF_REACH)

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return asdict(self) | {"proof": self.proof.as_json()}


# --- looking ---------------------------------------------------------------------------------


def plan_erasure(connection: Connection, customer_id: UUID) -> ErasurePlan:
    """Return what erasing a customer would remove; writes nothing.

    Raises UsageError for a customer that nobody is, or that was erased.
    """
    with translated():
        scope, _ = _found(connection, customer_id)
        unfinished = connection.execute(sql("unfinished_runs")).all()
        return ErasurePlan(
            customer_id=scope.customer_id,
            customers=len(scope.customers),
            leads=len(scope.leads),
            removed=count_rows(connection, scope),
            unfinished_runs=tuple(short_id(run.id) for run in unfinished),
        )


def export(connection: Connection, customer_id: UUID) -> Iterator[str]:
    """Yield, in pieces, one JSON object of all that is held of a customer, table by table.

    Raises UsageError, before anything is yielded, for a customer that nobody is.
    """
    with translated():
        scope, _ = _found(connection, customer_id)
        head = {"customer_id": scope.customer_id, "customers": scope.customers}
        yield f'{orjson.dumps(head).decode()[:-1]},"tables":{{'
        for place, table in enumerate(sorted(tables_of_customers(), key=lambda each: each.name)):
            yield f'{"," if place else ""}\n"{table.name}":['
            for number, row in enumerate(rows_of(connection, table, scope)):
                written = orjson.dumps(row, option=orjson.OPT_SORT_KEYS).decode()
                yield f"{',' if number else ''}\n{written}"
            yield "]"
        yield "}}\n"


def _found(connection: Connection, customer_id: UUID) -> tuple[Scope, Words]:
    """Return whom an id stands for, quarantined records included, and what names them."""
    scope = _scope(connection, customer_id)
    words = words_of(connection, scope)
    return replace(scope, quarantined=tuple(quarantined_naming(connection, scope, words))), words


def _scope(connection: Connection, customer_id: UUID) -> Scope:
    since = grave_of(connection, customer_id)
    if since is not None:
        told = f"Customer {customer_id} was erased at {since.at:%Y-%m-%d %H:%M} UTC"
        raise UsageError(f"{told}: {_what_is_left(connection, since.digest)}")
    return scope_of(connection, customer_id)


def _what_is_left(connection: Connection, digest: bytes) -> str:
    """Say what became of an erasure: what to look for went with it."""
    asked = {"audit_id": f"{PROVED}:{digest.hex()}"}
    found = connection.execute(sql("payload_of_deed"), asked).scalar()
    if found is None:
        return (
            "its rows are gone, but the search for what may be left did not end, and what to "
            "search for went with them. VACUUM (ANALYZE) gives up the space that they had."
        )
    if not found["left"]:
        return "nothing was left of it."
    named = ", ".join(f"{column} ({rows})" for column, rows in found["left"].items())
    return (
        f"its rows are gone, and words of it were left in {named}. What to search for went with "
        "the rows, so no second erasure can find them: look for them there, and remove them."
    )


# --- erasing ---------------------------------------------------------------------------------


def erase(database: Database, customer_id: UUID, *, home: Path) -> ErasureReport:
    """Remove a customer's words in one transaction, then search for what may be left of them.

    Raises RunError while a run over a log is unfinished, since its files hold what it has read;
    UsageError for a customer that nobody is, or that was erased; Transient if other writers were
    quicker again and again. The database is then as it was.
    """
    started = perf_counter()
    # Before it, too: who is killed right after the transaction has nothing left to sweep.
    with translated(), database.engine.connect() as connection:
        directories = _sweep(connection, home)
    done = _erase_at_last(database, customer_id)
    _vacuum(database, done.removed | done.redacted)
    with translated(), database.engine.connect() as connection:
        directories += _sweep(connection, home)
        proof = search(connection, done.scope, done.words)
    _write_down(database, proof, done.digests)
    return ErasureReport(
        customer_id=done.scope.customer_id,
        customers=len(done.scope.customers),
        leads=len(done.scope.leads),
        removed=done.removed,
        redacted=done.redacted,
        directories_removed=directories,
        proof=proof,
        seconds=round(perf_counter() - started, 3),
    )


def _write_down(database: Database, proof: Proof, digests: Iterable[bytes]) -> None:
    """Keep what the proof said, in names of columns: whoever erases again is told by it."""
    left = {f"{hit.table}.{hit.column}": hit.rows for hit in proof.left}
    with translated(), database.engine.begin() as connection:
        for each in digests:
            add_own_audit(
                connection, run_id=None, action=PROVED, subject=each.hex(), payload={"left": left}
            )


@dataclass(frozen=True)
class _Done:
    scope: Scope
    words: Words
    removed: dict[str, int]
    redacted: dict[str, int]
    digests: tuple[bytes, ...]


def _erase_at_last(database: Database, customer_id: UUID) -> _Done:
    for left in reversed(range(_TRIES)):
        try:
            with translated(), database.engine.begin() as connection:
                return _erase(connection, customer_id)
        except (Transient, RecordRefused):
            # Somebody wrote a row of the customer while its others were being removed.
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


def _erase(connection: Connection, customer_id: UUID) -> _Done:
    """Erase inside the open transaction; locks in the order of linking: linking, leads, rows."""
    connection.execute(sql("lock_linking"))
    lock_leads(connection, (lead.bytes for lead in _scope(connection, customer_id).leads))
    # Only now: what nobody could read may have been quarantined until the locks were held.
    scope, words = _found(connection, customer_id)
    connection.execute(sql("hold_runs"))
    connection.execute(sql("hold_erased_customers"), {"customers": list(scope.customers)})
    _refuse_unfinished(connection)
    removed = remove_rows(connection, scope)
    _tell_runs(connection, removed)
    redacted = redact(connection, scope, words)
    bury(connection, TombstoneKind.LEAD, (lead.bytes for lead in scope.leads))
    people = (customer.bytes for customer in scope.customers)
    digests = tuple(bury(connection, TombstoneKind.CUSTOMER, people))
    counts = {table: sum(runs.values()) for table, runs in sorted(removed.items())}
    done = _Done(scope, words, counts, redacted, digests)
    add_own_audit(
        connection,
        run_id=None,
        action=ACTION,
        subject=digests[0].hex(),
        payload={"removed": done.removed, "redacted": redacted, "leads": len(scope.leads)},
    )
    return done


def _refuse_unfinished(connection: Connection) -> None:
    runs = connection.execute(sql("unfinished_runs")).all()
    if runs:
        named = ", ".join(f"{short_id(run.id)} ({run.status})" for run in runs)
        raise RunError(
            f"Runs are unfinished, and their working files hold what they have read: {named}. "
            "Let each end, or `backstory cancel` it, then erase. Nothing was changed."
        )


def _tell_runs(connection: Connection, removed: Mapping[str, Mapping[UUID | None, int]]) -> None:
    """Tell runs how many of their rows went, so that their sums still come out."""
    for table in _SUMMED & removed.keys():
        for run, rows in removed[table].items():
            if run is not None:
                told = {"run_id": run, "tables": [table], "rows": rows}
                connection.execute(sql("note_taken_away"), told)


def _vacuum(database: Database, touched: Mapping[str, int]) -> None:
    """Give up the space of what was deleted, and the planner's samples of all that ever was."""
    with translated(), database.engine.connect() as connection:
        apart = connection.execution_options(isolation_level="AUTOCOMMIT")
        columns = apart.execute(sql("columns_that_can_hold_words"))
        for table in sorted({row.table_name for row in columns}):
            work = "VACUUM (ANALYZE)" if table in touched else "ANALYZE"
            apart.exec_driver_sql(f'{work} "{table}"')
            left = apart.exec_driver_sql(f'SELECT EXISTS (SELECT FROM "{table}")').scalar()
            # Of a table without rows the samples stay as they were.
            if not left and (apart.dialect.server_version_info or ()) >= _CLEARS_SAMPLES:
                apart.execute(sql("clear_samples"), {"table": table})


def _sweep(connection: Connection, home: Path) -> int:
    """Remove working files that runs of this machine left behind when they had ended."""
    there = {}
    for directory in (home / "runs").glob("*-*-*-*-*"):
        there[directory.name] = directory
    ended = connection.execute(sql("ended_runs"), {"ids": list(there)}).scalars().all()
    for run in ended:
        shutil.rmtree(there[str(run)], ignore_errors=True)
    return len(ended)
