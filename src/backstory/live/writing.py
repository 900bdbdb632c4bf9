"""Writes events that were read: a batch is one transaction, and each event gets its own outcome.

Locks are taken in one order by whoever writes: the lock on linking, if a lead is new or changes,
then those of the leads, sorted, then rows. So no two of a live writer, a backfill, a rollback and
a merge can wait for each other.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from backstory.errors import Busy, DatabaseUnreachable, RecordRefused, Transient
from backstory.extract.judge import Left, Taken, refused
from backstory.extract.leads import LeadRecord
from backstory.live.reading import LiveOptions, Reading
from backstory.model import Channel, EventOutcome, LeadSource, QuarantineStage
from backstory.store import backfill as store
from backstory.store.engine import translated
from backstory.store.ledgers import LedgerRows
from backstory.store.lines import keep_rules, rules_are_kept
from backstory.store.linking import link_leads
from backstory.store.live import (
    Held,
    Known,
    NewThread,
    Placed,
    Thread,
    append_and_commit,
    begin_conversations,
    differing,
    look_up,
)

# Begins a transaction, which is committed, or rolled back, at the end of the context.
Begin = Callable[[], AbstractContextManager[Connection]]
TRIES = 5
# Two writers met: the same id was just written, or a lead just changed hands.
_MET = frozenset({"23503", "23505"})


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of an event: created, duplicate, conflict, skipped or quarantined.

    `record_id` is that of the record and of its message, for the first three; the conversation and
    the customer are those of the message that is there. `reason` is a code, `message` a sentence.
    """

    outcome: EventOutcome
    audit_id: str | None = None
    record_id: UUID | None = None
    conversation_id: UUID | None = None
    customer_id: UUID | None = None
    reason: str | None = None
    message: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the same as JSON."""
        return {name: None if value is None else str(value) for name, value in asdict(self).items()}


class Writer:
    """Writes the events of one log, each batch in a transaction that `begin` gives.

    Many threads may share it if each call of `begin` gives a connection of its own, as that of an
    engine does.
    """

    def __init__(self, begin: Begin, options: LiveOptions) -> None:
        self._begin = begin
        self.options = options
        self.ledger = LedgerRows(
            options.log,
            None,
            options.for_retry,
            place_of=lambda _: "",
            columns_of=lambda _: options.columns,
        )

    def write(self, readings: Sequence[Reading]) -> list[Recorded]:
        """Write a batch and return, when it is committed, what became of each event.

        Where the database refuses one of the records, each has a transaction of its own, and the
        refused one is quarantined. Raises Transient or a database error; nothing is written then,
        or, where a lost connection leaves that open, the same events can be given again.
        """
        try:
            done = self._commit(readings, linking=True)
        except RecordRefused as refusal:
            if len(readings) > 1:
                return [self.write([reading])[0] for reading in readings]
            done = self._commit([_refused(readings[0], refusal)], linking=True)
        return [done[place] for place in range(len(readings))]

    def write_known(self, readings: Sequence[Reading]) -> list[Recorded | None]:
        """Do the same for events of leads that are known and as they are said to be.

        All others are left to `write`, and None here: their leads must be linked first, and linking
        may have to wait for a large list of leads.
        """
        try:
            done = self._commit(readings, linking=False)
        except RecordRefused as refusal:
            if len(readings) > 1:
                return [self.write_known([reading])[0] for reading in readings]
            done = self._commit([_refused(readings[0], refusal)], linking=False)
        return [done.get(place) for place in range(len(readings))]

    def _commit(self, readings: Sequence[Reading], *, linking: bool) -> dict[int, Recorded]:
        """Write until all is written, but for what must be linked if not `linking`."""
        done: dict[int, Recorded] = {}
        rest = list(range(len(readings)))
        link_first = False
        for _ in range(TRIES):
            if not rest:
                return done
            try:
                with translated(), self._begin() as connection:
                    batch = _Batch(self, connection, [readings[place] for place in rest])
                    outcomes = batch.write(linking=link_first)
            except _LinkFirst as unlinked:
                link_first = linking
                if not linking:
                    rest = [each for n, each in enumerate(rest) if n not in unlinked.places]
            except (Transient, RecordRefused) as met:
                if not _may_be_repeated(met):
                    raise
            else:
                done |= {rest[place]: outcome for place, outcome in outcomes.items()}
                rest = [place for place in rest if place not in done]
        if rest:
            raise Transient("Other writers were quicker, again and again: repeat the same call.")
        return done


class _LinkFirst(Exception):
    """Leads are new or have changed: the lock on linking comes before all others."""

    def __init__(self, places: set[int]) -> None:
        super().__init__("Link first.")
        self.places = places


def _may_be_repeated(met: Transient | RecordRefused) -> bool:
    """Tell whether it was another writer, and nothing was written: the next try may do better."""
    if isinstance(met, RecordRefused):
        return met.code in _MET
    return not isinstance(met, DatabaseUnreachable | Busy)


def _refused(reading: Reading, refusal: RecordRefused) -> Reading:
    """Return an event that the database would not take, to be quarantined."""
    if isinstance(reading.judged, Left):
        raise refusal
    left = refused(reading.judged, refusal.code, str(refusal))
    return replace(reading, judged=left, key=None, lead=None)


class _Batch:
    """One transaction: what it is about, and what it knows."""

    def __init__(self, writer: Writer, connection: Connection, readings: Sequence[Reading]) -> None:
        self._ledger = writer.ledger
        self._options = writer.options
        self._connection = connection
        self._readings = list(readings)
        self._keys = {key for reading in readings for key in reading.keys}
        self._known = Known({}, {})

    def write(self, *, linking: bool) -> dict[int, Recorded]:
        """Write the batch, commit it, and return what became of its events, by their place.

        An event that somebody else wrote in the same moment is not among them: look again. Raises
        _LinkFirst if leads must be linked and `linking` is not said.
        """
        if linking:
            self._link()
        self._look(locking=not linking)
        unlinked = set() if linking else self._unlinked()
        if unlinked:
            raise _LinkFirst(unlinked)
        return self._leave() | self._take()

    def _look(self, *, locking: bool) -> None:
        """Learn what is known, and leave aside what is of leads that were erased."""
        moments = [each.moment for each in self._readings if each.moment is not None]
        if not self._keys:
            return
        since = min(moments, default=datetime.now(UTC))
        self._known = look_up(
            self._connection, self._keys, self._records(), since=since, locking=locking
        )
        leads = self._known.leads
        self._readings = [
            each.without_lead() if any(leads[key].erased for key in each.keys) else each
            for each in self._readings
        ]

    def _records(self) -> dict[int, Taken]:
        """Return what may become messages, by place."""
        return {
            place: reading.judged
            for place, reading in enumerate(self._readings)
            if isinstance(reading.judged, Taken)
        }

    # -- leads ---------------------------------------------------------------------------------

    def _unlinked(self) -> set[int]:
        """Return the places of new events whose lead is new, or not what its transport says."""
        said: dict[int, LeadRecord] = {}
        unknown = set()
        for place, reading in enumerate(self._readings):
            if reading.key is None or place in self._known.held:
                continue
            makes_known = reading.lead is not None or isinstance(reading.judged, Taken)
            if not self._known.leads[reading.key].known:
                unknown |= {place} if makes_known else set()
            elif reading.lead is not None:
                said[place] = reading.lead
        return unknown | (differing(self._connection, said) if said else set())

    def _link(self) -> None:
        """Create or update the leads of what is new, and link them; take the locks of all."""
        self._look(locking=False)
        said: dict[bytes, LeadRecord] = {}
        for place, reading in enumerate(self._readings):
            if reading.key is None or place in self._known.held:
                continue
            lead = _said_of_lead(reading, known=self._known.leads[reading.key].known)
            if lead is not None:
                before = said.get(reading.key)
                said[reading.key] = lead if before is None else _together(before, lead)
        link_leads(
            self._connection,
            said.values(),
            run_id=None,
            source=LeadSource.LIVE,
            hub_limit=self._options.hub_limit,
            also_locking=self._keys,
        )

    # -- what makes a message ------------------------------------------------------------------

    def _take(self) -> dict[int, Recorded]:
        """Append records that are new, in their conversations; say of each what it was."""
        records = self._records()
        firsts: dict[bytes, int] = {}
        for place, record in records.items():
            firsts.setdefault(record.record_id, place)
        new = {
            place: record
            for place, record in records.items()
            if place not in self._known.held and firsts[record.record_id] == place
        }
        threads = self._place(new)
        again = self._met_again(records, firsts, threads)
        rows = [
            Placed(record, threads[place].id, self._readings[place].seq)
            for place, record in new.items()
        ]
        if not rows:
            return again
        rules = self._options.rules
        rendered = any(each.record.line is not None for each in rows)
        if rendered:
            keep_rules(self._connection, rules)
        customers = append_and_commit(
            self._connection, self._options.log, rows, line_rules=rules.name
        )
        if rendered:
            rules_are_kept(self._connection, rules)
        outcomes = {}
        for record_id, customer in customers.items():
            place = firsts[record_id]
            thread = UUID(bytes=threads[place].id)
            outcomes[place] = _recorded(EventOutcome.CREATED, new[place], thread, customer)
        return again | outcomes

    def _place(self, records: Mapping[int, Taken]) -> dict[int, Thread]:
        """Return the conversations that were open when things happened, opening new ones."""
        begun: list[NewThread] = []
        placed: dict[int, Thread] = {}
        for place, record in sorted(records.items(), key=lambda pair: pair[1].created_us):
            lead = self._known.leads[record.lead_key]
            if not lead.known:
                raise Transient("A lead was taken back while its event was written; repeat it.")
            thread = lead.thread_at(record.moment)
            if thread is None:
                thread = lead.begin()
                started_at = (lead.created_at if thread.ordinal == 0 else None) or record.moment
                begun.append(NewThread(lead, thread, started_at))
            placed[place] = thread
        if begun:
            begin_conversations(self._connection, begun)
        return placed

    def _met_again(
        self,
        records: Mapping[int, Taken],
        firsts: Mapping[bytes, int],
        threads: Mapping[int, Thread],
    ) -> dict[int, Recorded]:
        """Say of records whose ids are taken whether by the same; keep those that lost."""
        outcomes = {}
        lost = []
        for place, record in records.items():
            first = firsts[record.record_id]
            held = self._known.held.get(place)
            if held is None:
                if first == place:
                    continue
                same = records[first].content_hash == record.content_hash
                held = Held(same, UUID(bytes=threads[first].id), None)
            outcome = EventOutcome.DUPLICATE if held.same else EventOutcome.CONFLICT
            outcomes[place] = _recorded(outcome, record, held.conversation_id, held.customer_id)
            if not held.same:
                position = self._readings[place].place
                lost.append(self._ledger.conflict(record, 0) | {"position": position})
        store.add_rows(self._connection, "conflicts", lost)
        return outcomes

    # -- what makes none -----------------------------------------------------------------------

    def _leave(self) -> dict[int, Recorded]:
        """Keep a row of each record that was left aside, with the reason."""
        outcomes = {}
        skips, quarantined = [], []
        for place, reading in enumerate(self._readings):
            left = reading.judged
            if isinstance(left, Taken):
                continue
            skipped = left.raw is None
            if skipped:
                skips.append(self._ledger.skipped(left, 0) | {"position": reading.place})
            else:
                # What could be read is here because the database refused it.
                stage = QuarantineStage.WRITE if reading.event else QuarantineStage.PARSE
                row = self._ledger.quarantined(left, 0, stage)
                quarantined.append(row | {"position": reading.place})
            outcomes[place] = Recorded(
                EventOutcome.SKIPPED if skipped else EventOutcome.QUARANTINED,
                left.audit_id,
                reason=left.reason,
                message=left.message or None,
            )
        store.add_rows(self._connection, "skips", skips)
        if quarantined:
            store.add_quarantine(self._connection, quarantined)
        return outcomes


def _recorded(
    outcome: EventOutcome, record: Taken, conversation: UUID | None, customer: UUID | None
) -> Recorded:
    return Recorded(
        outcome, record.audit_id.decode(), UUID(bytes=record.record_id), conversation, customer
    )


def _said_of_lead(reading: Reading, *, known: bool) -> LeadRecord | None:
    """Return what is to be taken of an event's lead; the first event of a lead makes it known."""
    if known:
        return reading.lead
    if reading.lead is not None:
        return replace(reading.lead, created_at=reading.lead.created_at or reading.moment)
    if isinstance(reading.judged, Left):
        return None
    external_id = reading.judged.lead_external_id.decode()
    return LeadRecord(external_id, created_at=reading.moment)


def _together(before: LeadRecord, after: LeadRecord) -> LeadRecord:
    """Return what two events say of one lead: the later one's word, the earlier one's time."""
    said: dict[str, Any] = {
        each.name: getattr(after, each.name)
        for each in fields(after)
        if getattr(after, each.name) not in (None, {}, Channel.OTHER)
    }
    times = [each.created_at for each in (before, after) if each.created_at is not None]
    return replace(before, **said | {"created_at": min(times, default=None)})
