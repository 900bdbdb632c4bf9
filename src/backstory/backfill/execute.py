"""Writes decided batches: whole conversations, their ledger and their cursor in one transaction.

When the database refuses a batch because of some record's content, the batch is halved, down to
one conversation and then to one record; that record is quarantined and all others are written.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

import orjson
from sqlalchemy import Connection

from backstory.audit.source import Source
from backstory.backfill.counts import Counts, add
from backstory.backfill.decide import (
    Decision,
    Facts,
    LeadFacts,
    LeadShare,
    NoFacts,
    Pace,
    by_lead,
    decide,
    whole_leads,
)
from backstory.backfill.order import Later
from backstory.backfill.read import place_of, source_of
from backstory.errors import DatabaseUnreachable, Interrupted, RecordRefused, Transient
from backstory.extract.judge import Left, Record, refused
from backstory.model import (
    CREATED_BY,
    SOURCE_BACKFILL,
    Channel,
    QuarantineStage,
)
from backstory.runs.claim import Claim, advance, renew
from backstory.store import backfill as store
from backstory.store.bulk import AUDIT_COLUMNS, MESSAGE_COLUMNS, RecordRows, copy_rows, uuid_array
from backstory.store.engine import driver_of, translated
from backstory.store.ledgers import LedgerRows, with_occurrence
from backstory.store.statements import sql

LEFT_CURSOR = b"\xff" * 16
_LEFT_ROWS = 2000
TRIES = 5


class DatabaseFacts:
    """What the database knows, as a decision asks for it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def leads(self, keys: Sequence[bytes]) -> Mapping[bytes, LeadFacts]:
        """Return the leads that are known, by key."""
        rows = self._connection.execute(sql("lead_facts"), {"keys": uuid_array(keys)})
        return {
            bytes(row.key): LeadFacts(
                bytes(row.customer_id),
                row.channel,
                row.contact,
                row.stage,
                row.created_at,
                row.has_conversation,
            )
            for row in rows
        }

    def unknown(self, ids: Sequence[bytes], hashes: Sequence[bytes]) -> Mapping[int, bool]:
        """Return the places of records not held with this content, and whether held otherwise."""
        return store.unknown_records(self._connection, ids, hashes)


class FirstLoadFacts(DatabaseFacts):
    """The same for an empty log: no record is looked up, the unique ids find out the rest."""

    unknown = NoFacts.unknown


@dataclass
class Writer:
    """Writes the partitions of one run over one connection."""

    connection: Connection
    run_id: uuid.UUID
    log: str
    sources: Sequence[Source]
    listed: bool
    retry_options: Mapping[str, Any]
    line_rules: str
    first_load: bool
    committed: Callable[[Counts], None]
    # A rehearsal puts savepoints of one transaction in the place of transactions.
    begin: Callable[[], AbstractContextManager[object]]
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        self._rows = RecordRows(
            log=self.log,
            run_id=self.run_id.bytes,
            source=SOURCE_BACKFILL,
            created_by=CREATED_BY,
            line_rules=self.line_rules,
        )
        self._ledger = LedgerRows(
            self.log,
            self.run_id.bytes,
            self.retry_options,
            place_of=partial(place_of, self.sources),
            columns_of=lambda seq: source_of(self.sources, seq).columns,
        )
        self._facts: Facts = DatabaseFacts(self.connection)

    # -- a partition ---------------------------------------------------------------------------

    def write_partition(
        self,
        claim: Claim,
        taken: Callable[[], Iterator[Record]],
        later: Mapping[int, Later],
        left: list[Left],
    ) -> None:
        """Write what is not committed yet of a partition, from the claim's cursor on.

        `taken` reads its records, from the first: again when a lead's pages must be read again.
        Raises Interrupted when the run is asked to pause, LeaseLost when another worker took over.
        """
        for attempt in range(TRIES):
            try:
                self._write_taken(claim, taken(), later)
                break
            except (Transient, RecordRefused) as met:
                if attempt == TRIES - 1 or not is_worth_another_try(met):
                    raise
                self.first_load = False  # somebody else writes here too: look every record up
        self._write_left(claim, left)
        with self.begin():
            advance(self.connection, claim, cursor=claim.cursor, counts=claim.counts, done=True)

    def _write_taken(
        self, claim: Claim, taken: Iterator[Record], later: Mapping[int, Later]
    ) -> None:
        rest = (record for record in taken if record[0] > claim.cursor)
        batches = whole_leads(rest, self.pace)
        for records, more in batches:
            if more:
                pages = _with_rest_of_lead(records, batches)
                self._commit(claim, lambda: self._write_long_lead(claim, pages, later), tries=1)  # noqa: B023 - done at once
            else:
                self._write_batch(claim, records, later)

    def _write_batch(self, claim: Claim, records: list[Record], later: Mapping[int, Later]) -> None:
        started = time.monotonic()
        try:
            self._commit(claim, lambda: (self._write(records, later), records[-1][0]))
        except RecordRefused:
            self._write_halves(claim, records, later)
        self.pace.adapt(time.monotonic() - started)

    def _write_halves(
        self, claim: Claim, records: list[Record], later: Mapping[int, Later]
    ) -> None:
        leads = [list(group) for _, group in groupby(records, by_lead)]
        if len(leads) == 1:
            self._commit(claim, lambda: (self._salvage(records, later), records[-1][0]))
            return
        middle = len(leads) // 2
        for half in (leads[:middle], leads[middle:]):
            flat = [record for lead in half for record in lead]
            self._write_batch(claim, flat, later)

    def _write_long_lead(
        self, claim: Claim, pages: Iterator[list[Record]], later: Mapping[int, Later]
    ) -> tuple[Counts, bytes]:
        """Write one lead page by page in the open transaction: it shows when it is complete."""
        counts: Counts = {}
        key = b""
        for page in pages:
            key = page[0][0]
            heed(self.connection, claim)
            more = self._salvage(page, later)
            _add_page(counts, more)
        return counts, key

    # -- a transaction -------------------------------------------------------------------------

    def _commit(
        self, claim: Claim, work: Callable[[], tuple[Counts, bytes]], *, tries: int = TRIES
    ) -> None:
        """Do `work` and move the claim on in one transaction; once more if two writers met."""
        for attempt in range(tries):
            careful = attempt > 0 or not self.first_load
            self._facts = (
                DatabaseFacts(self.connection) if careful else FirstLoadFacts(self.connection)
            )
            try:
                with translated(), self.begin():
                    store.tune_for_load(self.connection)
                    heed(self.connection, claim)
                    more, cursor = work()
                    counts = add(orjson.loads(orjson.dumps(claim.counts)), more)
                    advance(self.connection, claim, cursor=cursor, counts=counts, done=False)
            except (Transient, RecordRefused) as met:
                if attempt == tries - 1 or not is_worth_another_try(met):
                    raise
                continue
            claim.cursor, claim.counts = cursor, counts
            self.committed(more)
            return

    def _write(self, records: list[Record], later: Mapping[int, Later]) -> Counts:
        store.lock_leads(self.connection, (key for key, _ in groupby(records, by_lead)))
        decision = decide(records, later=later, facts=self._facts, listed=self.listed)
        self._write_decision(decision)
        counts = decision.counts
        counts["conflict_rows"] = store.add_rows(
            self.connection,
            "conflicts",
            [self._ledger.conflict(*row) for row in decision.conflicts],
        )
        return counts

    def _write_decision(self, decision: Decision) -> None:
        shares = decision.shares
        unlisted = [share for share in shares if share.facts is None]
        if unlisted:
            store.add_leads(self.connection, [_new_lead(share) for share in unlisted], self.run_id)
        fresh = [s for s in shares if s.facts is None or not s.facts.has_conversation]
        if fresh:
            store.add_conversations(
                self.connection, [_new_conversation(share) for share in fresh], self.run_id
            )
        driver = driver_of(self.connection)
        with translated():
            records = (record for share in shares for record in share.records)
            copy_rows(driver, "audit_log", AUDIT_COLUMNS, self._rows.audit(records))
            copy_rows(driver, "messages", MESSAGE_COLUMNS, self._messages(shares))
        touched = [
            (share.conversation_id, share.last_at, share.last_incoming_at)
            for share in shares
            if share.facts is not None and share.facts.has_conversation
        ]
        if touched:
            store.touch_conversations(self.connection, touched, self.run_id)

    def _messages(self, shares: Sequence[LeadShare]) -> Iterator[bytes]:
        for share in shares:
            yield from self._rows.messages(share.records, share.conversation_id, share.customer_id)

    # -- what makes no message -----------------------------------------------------------------

    def _salvage(self, records: list[Record], later: Mapping[int, Later]) -> Counts:
        """Write all records of one lead but the ones the database refuses, halving each time."""
        try:
            with translated(), self.connection.begin_nested():
                return self._write(records, later)
        except RecordRefused as refusal:
            if refusal.code == _UNIQUE and isinstance(self._facts, FirstLoadFacts):
                raise
            if len(records) == 1:
                return self._quarantine_refused(records[0], refusal)
        middle = len(records) // 2
        counts = self._salvage(records[:middle], later)
        more = self._salvage(records[middle:], later)
        return _add_page(counts, more)

    def _quarantine_refused(self, record: Record, refusal: RecordRefused) -> Counts:
        left = refused(record, refusal.code, str(refusal))
        row = self._ledger.quarantined(left, 0, QuarantineStage.WRITE)
        return {
            "records": 1,
            "leads_seen": len(self._facts.leads([record[0]])),
            "quarantined": 1,
            "quarantine_rows": store.add_quarantine(self.connection, [row]),
        }

    def _write_left(self, claim: Claim, left: list[Left]) -> None:
        """Write a row for each record that was skipped or quarantined when it was read."""
        numbered = list(with_occurrence(left))
        start = int.from_bytes(claim.cursor[16:24]) if claim.cursor.startswith(LEFT_CURSOR) else 0
        for begin in range(start, len(numbered), _LEFT_ROWS):
            part = numbered[begin : begin + _LEFT_ROWS]
            cursor = LEFT_CURSOR + (begin + len(part)).to_bytes(8)
            self._commit(claim, lambda part=part, cursor=cursor: (self._leave(part), cursor))  # type: ignore[misc]  # bound early on purpose

    def _leave(self, part: list[tuple[Left, int]]) -> Counts:
        skipped = [self._ledger.skipped(*pair) for pair in part if pair[0].raw is None]
        quarantined = [
            self._ledger.quarantined(*pair, QuarantineStage.PARSE)
            for pair in part
            if pair[0].raw is not None
        ]
        counts: Counts = {
            "records": len(part),
            "quarantined": len(quarantined),
            "skip_rows": store.add_rows(self.connection, "skips", skipped),
            "quarantine_rows": store.add_quarantine(self.connection, quarantined),
        }
        for left, _ in part:
            if left.raw is None:
                add(counts, {"skipped": {left.reason: 1}})
        return counts


def _add_page(counts: Counts, more: Counts) -> Counts:
    """Add what another page of the same lead came to; the lead itself is counted once."""
    once = counts.get("leads_seen", 0) or more["leads_seen"]
    add(counts, more)["leads_seen"] = once
    return counts


_UNIQUE = "23505"


def is_worth_another_try(met: Transient | RecordRefused) -> bool:
    """Tell whether two writers met: look again at what is there, then decide anew."""
    if isinstance(met, RecordRefused):
        return met.code == _UNIQUE
    # A commit whose answer was lost may have gone through: only a resumed run reads the ledger.
    return not isinstance(met, DatabaseUnreachable)


def heed(connection: Connection, claim: Claim) -> None:
    """Keep the claim, and raise Interrupted if the run is asked to pause or to stop."""
    wanted = renew(connection, claim)
    if wanted is not None:
        raise Interrupted(wanted)


def _with_rest_of_lead(
    first: list[Record], batches: Iterator[tuple[list[Record], bool]]
) -> Iterator[list[Record]]:
    yield first
    for page, more in batches:
        yield page
        if not more:
            return


def _new_lead(share: LeadShare) -> store.NewLead:
    return store.NewLead(share.key, share.external_id, share.customer_id, share.first_at)


def _new_conversation(share: LeadShare) -> store.NewConversation:
    facts = share.facts
    return store.NewConversation(
        share.conversation_id,
        share.key,
        share.customer_id,
        facts.channel if facts else Channel.OTHER,
        facts.contact if facts else None,
        facts.stage if facts else None,
        (facts.created_at if facts else None) or share.first_at,
        share.last_at,
        share.last_incoming_at,
    )
