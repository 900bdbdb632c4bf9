"""Links leads to customers inside the caller's transaction, or says what linking would do.

Reading (`store.intake`) and deciding who belongs to whom (`extract.assignment`) are the same for
both; only `link_leads` writes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection

from backstory.extract.assignment import Assignment, Census, assign
from backstory.extract.customers import HUB_LIMIT, Hub
from backstory.extract.identity import lead_id
from backstory.extract.leads import Key, LeadRecord
from backstory.extract.parse import microseconds
from backstory.model import Heed, LeadSource, heedless
from backstory.store.backfill import lock_leads
from backstory.store.bulk import copy_rows, field, uuid_array
from backstory.store.engine import driver_of, translated
from backstory.store.identities import project_identities
from backstory.store.intake import Intake, Knowledge, Listed, as_json
from backstory.store.merging import fill_profiles, merge, settle_profiles, split
from backstory.store.statements import sql
from backstory.store.tombstones import erased_leads

_LEAD_COLUMNS = (
    *("id", "external_id", "customer_id", "channel", "messenger_psid", "phone_raw", "phone_e164"),
    *("email", "name", "stage", "state_metadata", "created_at", "source", "run_id"),
)
_LEAD_FIELDS = len(_LEAD_COLUMNS).to_bytes(2)
_CUSTOMER_COLUMNS = ("id", "created_at", "run_id")
_CUSTOMER_FIELDS = len(_CUSTOMER_COLUMNS).to_bytes(2)
_JSONB_VERSION = b"\x01"
_MANY_LEADS = 1_000
_AT_ONCE = 5_000

T = TypeVar("T")


@dataclass(frozen=True)
class LinkOutcome:
    """What linking did, or would do.

    `leads_linked` counts leads, new or known, that were given to a customer they were not with
    before; `splits` counts the customers that known leads left for. Numbers are of distinct leads.
    """

    leads_listed: int
    leads_created: int
    leads_changed: int
    leads_linked: int
    customers_created: int
    merges: int
    splits: int
    hubs: tuple[Hub, ...]
    leads_repeated: int
    leads_conflicting: int

    @property
    def findings(self) -> tuple[str, ...]:
        """What a person should know, in sentences."""
        return tuple(_findings(self))


def _findings(outcome: LinkOutcome) -> Iterator[str]:
    for hub in outcome.hubs:
        yield (
            f"The {hub.kind} {hub.value} is carried by {hub.leads} leads of {hub.identities} "
            "otherwise unconnected identities: it links nobody."
        )
    if outcome.leads_conflicting:
        several = "leads are" if outcome.leads_conflicting > 1 else "lead is"
        yield (
            f"{outcome.leads_conflicting:,} {several} listed again with other content: "
            "the first in the list was taken."
        )
    if outcome.splits:
        several = "other customers" if outcome.splits > 1 else "other customer"
        yield (
            f"Known leads were given to {outcome.splits:,} {several}, because what linked "
            "them changed or became a hub."
        )


def link_leads(
    connection: Connection,
    leads: Iterable[LeadRecord],
    *,
    run_id: UUID | None,
    source: LeadSource,
    hub_limit: int = HUB_LIMIT,
    also_locking: Iterable[bytes] = (),
    heed: Heed = heedless,
) -> LinkOutcome:
    """Take the leads and link them, in the open transaction of `connection`.

    A list says all there is about a lead; any other source adds, and blanks nothing. With a
    `run_id` (of a row in `backfill_runs`) everything can be undone by `unlinking.unlink_run`.
    `also_locking` are keys of further leads that the transaction will write to. `heed` is called
    again and again on the way; what it raises ends the transaction.
    """
    with translated():
        connection.execute(sql("lock_linking"))
        with Intake(Knowledge(connection, heed), sparing=source is not LeadSource.LIST) as intake:
            assignment = _decide(intake, _not_erased(connection, leads), hub_limit)
            # Whoever writes messages of a lead that may change hands does so before or after.
            lock_leads(connection, (*_known_keys(intake.census), *also_locking))
            _Writer(connection, run_id, source, heed).write(intake, assignment)
            return _outcome(intake, assignment)


def plan_links(
    connection: Connection | None,
    leads: Iterable[LeadRecord],
    *,
    source: LeadSource = LeadSource.LIST,
    hub_limit: int = HUB_LIMIT,
) -> LinkOutcome:
    """Return what `link_leads` would, writing nothing; without a database, or in an empty one."""
    with translated():
        there = connection is not None and connection.execute(sql("has_schema")).scalar_one()
        knowledge = Knowledge(connection if there else None)
        with Intake(knowledge, sparing=source is not LeadSource.LIST) as intake:
            return _outcome(intake, _decide(intake, leads, hub_limit))


def relink(
    connection: Connection, customers: Iterable[UUID], keys: Iterable[Key], *, hub_limit: int
) -> set[UUID]:
    """Decide again about the leads of these customers, and all that these keys connect.

    No run answers for it: nothing of it is remembered, and a merge of no run that it ends is as if
    it had never been. Returns the customers whose leads it looked at.
    """
    with Intake(Knowledge(connection), sparing=True) as intake:
        intake.revisit([each.bytes for each in customers], keys)
        assignment = _assign(intake, hub_limit)
        revived = [_uuid(each.customer) for each in assignment.founded if each.revived]
        ended = connection.execute(sql("merges_of_no_run"), {"ids": revived}).scalars().all()
        _Writer(connection, None, LeadSource.LIST).write(intake, assignment)
        connection.execute(sql("forget_merges_by_id"), {"ids": list(ended)})
        return {_uuid(owner.id) for owner in intake.census.owners}


def _not_erased(connection: Connection, leads: Iterable[LeadRecord]) -> Iterable[LeadRecord]:
    """Leave out leads that were erased, also while the caller was reading them."""
    erased = erased_leads(connection)
    return (lead for lead in leads if lead_id(lead.external_id) not in erased)


def _known_keys(census: Census) -> Iterator[bytes]:
    """Yield the keys of the leads that have a customer by now."""
    for lead, external_id in enumerate(census.external_ids):
        if census.owner(lead) is not None:
            yield lead_id(external_id)


def _decide(intake: Intake, leads: Iterable[LeadRecord], hub_limit: int) -> Assignment:
    intake.read(leads)
    return _assign(intake, hub_limit)


def _assign(intake: Intake, hub_limit: int) -> Assignment:
    return assign(
        intake.census,
        hub_limit,
        standing=intake.knowledge.standing,
        apart=intake.knowledge.apart(intake.census.owners),
        heed=intake.knowledge.heed,
    )


def _outcome(intake: Intake, assignment: Assignment) -> LinkOutcome:
    return LinkOutcome(
        leads_listed=intake.distinct,
        leads_created=intake.created,
        leads_changed=intake.changed,
        leads_linked=assignment.linked,
        customers_created=sum(not each.revived for each in assignment.founded),
        merges=len(assignment.merges),
        splits=len({(move.origin, move.target) for move in assignment.moves}),
        hubs=assignment.hubs,
        leads_repeated=intake.repeated,
        leads_conflicting=intake.conflicting,
    )


class _Writer:
    """Applies an assignment; what is shared by all its steps."""

    def __init__(
        self,
        connection: Connection,
        run_id: UUID | None,
        source: LeadSource,
        heed: Heed = heedless,
    ) -> None:
        self._connection = connection
        self._heed = heed
        self._run_id = run_id
        self._run = field(run_id.bytes if run_id else None)
        self._source = source

    def write(self, intake: Intake, assignment: Assignment) -> None:
        """Write customers first and their profiles last: each step needs the one before."""
        census = intake.census
        if not len(census):
            return
        self._add_customers(census, assignment)
        for new, changed in intake.differences():
            self._heed()
            self._add_leads(new, assignment)
            self._change_leads(changed)
        departures = split(
            self._connection,
            revived=[each.customer for each in assignment.founded if each.revived],
            targets=_targets(census, assignment),
            run_id=self._run_id,
        )
        self._heed()
        merge(self._connection, assignment.merges, run_id=self._run_id)
        self._heed()
        project_identities(
            self._connection, census, assignment, run_id=self._run_id, heed=self._heed
        )
        if intake.created >= _MANY_LEADS:
            self._connection.execute(sql("analyze_links"))
        self._heed()
        settle_profiles(self._connection, departures, run_id=self._run_id)
        concerned = set(assignment.customer_of[: intake.created + intake.changed])
        concerned.update(each.survivor for each in assignment.merges)
        for page in _pages(sorted(concerned)):
            self._heed()
            fill_profiles(self._connection, page, run_id=self._run_id)

    def _add_customers(self, census: Census, assignment: Assignment) -> None:
        parameters = {"run_id": self._run_id}
        moment = self._connection.execute(sql("linking_moment"), parameters).scalar_one()
        for page in _pages([each for each in assignment.founded if not each.revived]):
            self._heed()
            rows = (
                b"".join(
                    (
                        _CUSTOMER_FIELDS,
                        field(each.customer),
                        _time(census.created_at(each.lead) or moment),
                        self._run,
                    )
                )
                for each in page
            )
            copy_rows(driver_of(self._connection), "customers", _CUSTOMER_COLUMNS, rows)

    def _add_leads(self, leads: list[tuple[int, Listed]], assignment: Assignment) -> None:
        if leads:
            rows = (self._row(lead, assignment.customer_of[number]) for number, lead in leads)
            copy_rows(driver_of(self._connection), "leads", _LEAD_COLUMNS, rows)

    def _row(self, lead: Listed, customer: bytes) -> bytes:
        return b"".join(
            (
                _LEAD_FIELDS,
                field(lead_id(lead.external_id)),
                field(lead.external_id.encode()),
                field(customer),
                field(lead.channel.encode()),
                _text(lead.psid),
                _text(lead.phone_raw),
                _text(lead.phone),
                _text(lead.email),
                _text(lead.name),
                _text(lead.stage),
                field(_JSONB_VERSION + lead.state.encode()),
                _time(lead.moment),
                field(self._source.encode()),
                self._run,
            )
        )

    def _change_leads(self, leads: list[Listed]) -> None:
        if not leads:
            return
        source = self._source.value if self._source is LeadSource.LIST else None
        self._connection.execute(
            sql("update_leads"),
            {"leads": as_json(leads), "source": source, "run_id": self._run_id},
        )
        ids = uuid_array(lead_id(lead.external_id) for lead in leads)
        self._connection.execute(sql("follow_leads"), {"ids": ids, "run_id": self._run_id})


def _pages(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))


def _targets(census: Census, assignment: Assignment) -> dict[UUID, UUID]:
    """Return where each lead goes, or stays, whose customer some lead leaves."""
    leaving = {move.lead: move.target for move in assignment.moves}
    origins = {move.origin for move in assignment.moves}
    targets = {}
    for lead in range(len(census)) if origins else ():
        owner = census.owner(lead)
        if owner is not None and owner.id in origins:
            key = lead_id(census.external_ids[lead])
            targets[_uuid(key)] = _uuid(leaving.get(lead, owner.id))
    return targets


def _uuid(raw: bytes) -> UUID:
    return UUID(bytes=raw)


def _text(value: str | None) -> bytes:
    return field(None if value is None else value.encode())


def _time(moment: datetime | None) -> bytes:
    return field(None if moment is None else microseconds(moment).to_bytes(8, signed=True))
