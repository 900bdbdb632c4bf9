"""Reads a list of leads against the database: what is new, what changed, and whom that concerns.

The list is read once, in batches. Leads the database has just so are dropped at once; new and
changed ones wait in a temporary file while the keys they carry are followed to every known lead
that is connected to them, for only those can change hands.
"""

import pickle
from array import array
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple, Self

import orjson
from sqlalchemy import Connection

from backstory.extract.assignment import Apart, Census, Owner
from backstory.extract.identity import lead_id
from backstory.extract.leads import Key, LeadRecord, identity_keys
from backstory.extract.parse import canonical_json
from backstory.model import Heed, IdentityKind, heedless
from backstory.store.bulk import uuid_array
from backstory.store.statements import sql

_LEADS_AT_ONCE = 2_000
_KEYS_AT_ONCE = 5_000
_KEPT_IN_MEMORY = 256 * 1024


class Listed(NamedTuple):
    """A lead as it is to be stored; `state` is JSON."""

    external_id: str
    channel: str
    psid: str | None
    phone_raw: str | None
    phone: str | None
    email: str | None
    name: str | None
    stage: str | None
    state: str
    moment: datetime | None

    @property
    def keys(self) -> tuple[Key, ...]:
        """What links this lead to others."""
        return identity_keys(self.channel, self.psid, self.phone, self.email)


def listed(lead: LeadRecord) -> Listed:
    """Return a record of a list as it is to be stored."""
    state = {} if lead.state_metadata is None else lead.state_metadata
    return Listed(
        lead.external_id,
        lead.channel.value,
        lead.messenger_psid,
        lead.phone_raw,
        lead.phone_e164,
        lead.email,
        lead.name,
        lead.stage,
        canonical_json(state).decode(),
        lead.created_at,
    )


def as_json(leads: Iterable[Listed]) -> str:
    """Return leads as the parameter of `compare_leads` and `update_leads`.

    One text is sent many times quicker than an array for each field.
    """
    rows = ({"id": lead_id(lead.external_id).hex()} | lead._asdict() for lead in leads)
    return orjson.dumps(list(rows)).decode()


class KnownLead(NamedTuple):
    """A lead the database has, with what decides whose it is."""

    external_id: str
    keys: tuple[Key, ...]
    created_at: datetime | None
    owner: Owner


class Difference(NamedTuple):
    """A listed lead that is new (`owner` None) or changes; `dropped` are keys it had before."""

    place: int
    lead: Listed
    owner: Owner | None
    dropped: tuple[Key, ...]


class Knowledge:
    """What the tables know, seen through one transaction; nothing without a connection.

    `heed` is called before every page of questions; it may raise.
    """

    def __init__(self, connection: Connection | None, heed: Heed = heedless) -> None:
        self.heed = heed
        self._connection = connection
        self._leads = connection if connection and self._one("has_leads") else None

    def _one(self, name: str) -> Any:
        return self._connection and self._connection.execute(sql(name)).scalar_one()

    def compare(self, batch: Sequence[Listed], *, sparing: bool) -> Iterable[Difference]:
        """Return what a batch adds or changes; a sparing source blanks nothing.

        The database compares: it alone knows when two JSON values are equal to it.
        """
        self.heed()
        if self._leads is None:
            return [Difference(place, lead, None, ()) for place, lead in enumerate(batch)]
        parameters = {"leads": as_json(batch), "sparing": sparing}
        rows = self._leads.execute(sql("compare_leads"), parameters)
        return [self._difference(row, batch[row.place]) for row in rows]

    @staticmethod
    def _difference(row: Any, lead: Listed) -> Difference:
        if row.customer_id is None:
            return Difference(row.place, lead, None, ())
        # The columns of the statement, from channel to moment, are the fields of a listed lead.
        changed = Listed(lead.external_id, *row[3:12])
        before = identity_keys(row.was_channel, row.was_psid, row.was_phone, row.was_email)
        dropped = tuple(key for key in before if key not in changed.keys)
        return Difference(row.place, changed, _owner(row), dropped)

    def with_keys(self, keys: Sequence[Key]) -> Iterable[KnownLead]:
        """Return the leads that carry any of these keys."""
        self.heed()
        if self._leads is None:
            return ()
        values: dict[IdentityKind, list[str]] = {kind: [] for kind in IdentityKind}
        for kind, value in keys:
            values[kind].append(value)
        pairs = [value.split(":", 1) for value in values[IdentityKind.MESSENGER]]
        rows = self._leads.execute(
            sql("leads_with_keys"),
            {
                "channels": [channel for channel, _ in pairs],
                "psids": [psid for _, psid in pairs],
                "phones": values[IdentityKind.PHONE],
                "emails": values[IdentityKind.EMAIL],
            },
        )
        return map(_known_lead, rows)

    def leads_of(self, customers: Sequence[bytes]) -> Iterable[KnownLead]:
        """Return the leads of these customers."""
        return map(_known_lead, self._rows("leads_of_customers", customers))

    def standing(self, ids: Sequence[bytes]) -> dict[bytes, bool]:
        """Return which of these customers exist, and whether they are free to be taken up again."""
        return {row.id: row.free for row in self._rows("standing_customers", ids)}

    def apart(self, owners: Sequence[Owner]) -> Apart:
        """Return which of these customers a person took apart."""
        rows = self._rows("taken_apart", [owner.id for owner in owners])
        return {(row.survivor, row.absorbed) for row in rows}

    def _rows(self, name: str, ids: Sequence[bytes]) -> Iterator[Any]:
        if self._connection is not None:
            for page in _pages(ids, _KEYS_AT_ONCE):
                self.heed()
                yield from self._connection.execute(sql(name), {"ids": uuid_array(page)})


def _known_lead(row: Any) -> KnownLead:
    keys = identity_keys(row.channel, row.messenger_psid, row.phone_e164, row.email)
    return KnownLead(row.external_id, keys, row.created_at, _owner(row))


def _owner(row: Any) -> Owner:
    return Owner.at(row.customer_since, row.customer_id)


def _pages(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while page := list(islice(iterator, size)):
        yield page


class Intake:
    """A list of leads as the database sees it. Use as a context: it holds a temporary file."""

    def __init__(self, knowledge: Knowledge, *, sparing: bool) -> None:
        self.census = Census()
        self.created = 0
        self.changed = 0
        self.repeated = 0
        self.conflicting = 0
        # How many leads the list has.
        self.distinct = 0
        self.knowledge = knowledge
        self._sparing = sparing
        self._changed: set[str] = set()
        self._seen: set[str] = set()
        self._file: IO[bytes] = SpooledTemporaryFile(_KEPT_IN_MEMORY)  # noqa: SIM115 - see __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, leads: Iterable[LeadRecord]) -> None:
        """Read the whole list, then find every known lead it may concern."""
        for batch in _pages(self._first_of_each(leads), _LEADS_AT_ONCE):
            differences = list(self.knowledge.compare(batch, sparing=self._sparing))
            for difference in differences:
                self._take(difference)
            pickle.dump([each.lead for each in differences], self._file, pickle.HIGHEST_PROTOCOL)
        self._follow_keys()

    def revisit(self, customers: Sequence[bytes], keys: Iterable[Key]) -> None:
        """Find the leads of these customers, and every lead connected to them or to these keys."""
        self._add_known(self.knowledge.leads_of(customers))
        for key in keys:
            self.census.graph.note(key)
        self._follow_keys()

    def _first_of_each(self, leads: Iterable[LeadRecord]) -> Iterator[Listed]:
        """Yield the first lead of every id, and count the others."""
        places: dict[str, int] = {}
        contents = array("q")
        for record in leads:
            lead = listed(record)
            content = hash(lead)
            place = places.setdefault(lead.external_id, len(contents))
            if place == len(contents):
                contents.append(content)
                yield lead
            else:
                self.repeated += 1
                self.conflicting += contents[place] != content
        self.distinct = len(contents)

    def _take(self, difference: Difference) -> None:
        lead = difference.lead
        self.census.add(lead.external_id, lead.keys, created_at=lead.moment, owner=difference.owner)
        for key in difference.dropped:
            self.census.graph.note(key)
        if difference.owner is None:
            self.created += 1
        else:
            self.changed += 1
            self._changed.add(lead.external_id)
            self._seen.add(lead.external_id)

    def _follow_keys(self) -> None:
        """Add every known lead that is connected, however far, to one in the census."""
        asked = 0
        while keys := list(self.census.graph.keys(asked, asked + _KEYS_AT_ONCE)):
            asked += len(keys)
            self._add_known(self.knowledge.with_keys(keys))

    def _add_known(self, leads: Iterable[KnownLead]) -> None:
        for lead in leads:
            if lead.external_id not in self._seen:
                self._seen.add(lead.external_id)
                self.census.add(
                    lead.external_id, lead.keys, created_at=lead.created_at, owner=lead.owner
                )

    def differences(self) -> Iterator[tuple[list[tuple[int, Listed]], list[Listed]]]:
        """Yield, batch by batch, the new leads with their census numbers, and the changed ones."""
        self._file.seek(0)
        number = 0
        while number < self.created + self.changed:
            batch: list[Listed] = pickle.load(self._file)  # noqa: S301 - our own, unnamed file
            numbered = list(enumerate(batch, number))
            number += len(batch)
            yield (
                [pair for pair in numbered if pair[1].external_id not in self._changed],
                [lead for lead in batch if lead.external_id in self._changed],
            )
