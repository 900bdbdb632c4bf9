"""Decides what a batch of records means for the database, without touching it.

The executor writes what is decided here and the planner adds it up: a plan cannot differ from the
run it plans.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, Protocol

from backstory.backfill.counts import Counts
from backstory.backfill.order import Later
from backstory.extract.identity import conversation_id, customer_id
from backstory.extract.judge import Record
from backstory.extract.parse import from_microseconds
from backstory.model import Role

_LEAD_KEY, _CREATED, _SEQ, _ID, _HASH, _LEAD, _ROLE = 0, 1, 2, 3, 4, 6, 10
_USER = Role.USER.encode()
by_lead = itemgetter(_LEAD_KEY)


class LeadFacts(NamedTuple):
    """What the database knows of a lead and its first conversation."""

    customer_id: bytes
    channel: str
    contact: str | None
    stage: str | None
    created_at: datetime | None
    has_conversation: bool


class Facts(Protocol):
    """Where a decision gets its knowledge: a database, or the absence of one."""

    def leads(self, keys: Sequence[bytes]) -> Mapping[bytes, LeadFacts]:
        """Return the leads that are known, by key."""
        ...

    def unknown(self, ids: Sequence[bytes], hashes: Sequence[bytes]) -> Mapping[int, bool]:
        """Return the places of records not held with this content, and whether held otherwise."""
        ...


class NoFacts:
    """Knows nothing: the facts of a database that is not there yet."""

    def leads(self, keys: Sequence[bytes]) -> Mapping[bytes, LeadFacts]:
        """Return no lead."""
        del keys
        return {}

    def unknown(self, ids: Sequence[bytes], hashes: Sequence[bytes]) -> Mapping[int, bool]:
        """Return every record as new."""
        del hashes
        return dict.fromkeys(range(len(ids)), False)


@dataclass(frozen=True)
class LeadShare:
    """What a batch brings to one lead; `facts` is None for a lead nobody listed."""

    key: bytes
    external_id: str
    facts: LeadFacts | None
    records: list[Record]

    @property
    def first_at(self) -> datetime:
        """When the first of the new messages was sent: a duplicate or a conflict is none."""
        return from_microseconds(self.records[0][_CREATED])

    @property
    def conversation_id(self) -> bytes:
        """The lead's first conversation: all that a backfill writes goes there."""
        return conversation_id(self.external_id, 0)

    @property
    def customer_id(self) -> bytes:
        """The lead's customer; an unlisted lead gets one of its own."""
        return self.facts.customer_id if self.facts else customer_id(self.external_id)

    @property
    def last_at(self) -> datetime:
        """When the last of the new messages was sent."""
        return from_microseconds(max(record[_CREATED] for record in self.records))

    @property
    def last_incoming_at(self) -> datetime | None:
        """When the customer last spoke in the new messages."""
        heard = [record[_CREATED] for record in self.records if record[_ROLE] == _USER]
        return from_microseconds(max(heard)) if heard else None


@dataclass(frozen=True)
class Decision:
    """What is to be written of a batch, and what the rest of it counts as."""

    shares: list[LeadShare]
    conflicts: list[tuple[Record, int]]
    counts: Counts = field(default_factory=dict)


def decide(
    records: Sequence[Record],
    *,
    later: Mapping[int, Later],
    facts: Facts,
    listed: bool,
) -> Decision:
    """Decide on records of whole leads, sorted; `listed`: the leads came from a list."""
    known = facts.leads([key for key, _ in groupby(records, by_lead)])
    new, conflicts, duplicates = _sort_out(records, later, facts)
    shares = []
    seen = 0
    derived = 0
    new_conversations = 0
    for key, _ in groupby(records, by_lead):
        found = known.get(key)
        fresh = new.get(key, [])
        # A lead all of whose records lost against another lead's gets no conversation.
        seen += bool(fresh) or found is not None
        if fresh:
            shares.append(LeadShare(key, fresh[0][_LEAD].decode(), found, fresh))
            derived += found is None and not listed
            new_conversations += found is None or not found.has_conversation
    counts: Counts = {
        "records": len(records),
        "created": sum(len(share.records) for share in shares),
        "duplicate": duplicates,
        "conflict": len(conflicts),
        "leads_seen": seen,
        "leads_derived": derived,
        "conversations_created": new_conversations,
        "roles": _roles(shares),
    }
    return Decision(shares, conflicts, counts)


def _roles(shares: Sequence[LeadShare]) -> Counts:
    spoken = Counter(record[_ROLE] for share in shares for record in share.records)
    return {role.decode(): count for role, count in spoken.items()}


def _sort_out(
    records: Sequence[Record], later: Mapping[int, Later], facts: Facts
) -> tuple[dict[bytes, list[Record]], list[tuple[Record, int]], int]:
    unknown = facts.unknown([r[_ID] for r in records], [r[_HASH] for r in records])
    if not later and len(unknown) == len(records) and not any(unknown.values()):
        return {key: list(group) for key, group in groupby(records, by_lead)}, [], 0
    new: dict[bytes, list[Record]] = {}
    conflicts: list[tuple[Record, int]] = []
    for place, held_otherwise in sorted(unknown.items()):
        record = records[place]
        other = later.get(record[_SEQ])
        if held_otherwise or (other is not None and not other.equal):
            conflicts.append((record, other.twin if other else 0))
        elif other is None:
            new.setdefault(record[_LEAD_KEY], []).append(record)
    created = sum(map(len, new.values()))
    return new, conflicts, len(records) - created - len(conflicts)


@dataclass
class Pace:
    """How much goes into one transaction: whole leads, and records; adapts to the time it took.

    A batch takes about half a second, so that pause and cancel act within a second.
    """

    leads: int = 2000
    records: int = 4000

    def adapt(self, seconds: float) -> None:
        """Make the next batch larger or smaller by what the last one took."""
        if seconds < _QUICK_SECONDS:
            self.records = min(self.records * 2, _MOST_RECORDS)
        elif seconds > _SLOW_SECONDS:
            self.records = max(self.records // 2, _FEWEST_RECORDS)


_QUICK_SECONDS, _SLOW_SECONDS = 0.3, 0.7
_FEWEST_RECORDS, _MOST_RECORDS = 500, 16_000


def whole_leads(records: Iterable[Record], pace: Pace) -> Iterator[tuple[list[Record], bool]]:
    """Cut sorted records into batches of whole leads, at the pace that holds when each begins.

    A lead with more records than fit comes alone and in pages; the flag says that more of the
    same lead follows.
    """
    batch: list[Record] = []
    leads = 0
    for _, group in groupby(records, by_lead):
        pages = _pages(group, pace.records)
        page, more = next(pages)
        if batch and (more or leads >= pace.leads or len(batch) + len(page) > pace.records):
            yield batch, False
            batch, leads = [], 0
        if more:
            yield page, more
            yield from pages
        else:
            batch.extend(page)
            leads += 1
    if batch:
        yield batch, False


def _pages(group: Iterator[Record], limit: int) -> Iterator[tuple[list[Record], bool]]:
    page: list[Record] = []
    for record in group:
        if len(page) == limit:
            yield page, True
            page = []
        page.append(record)
    yield page, False
