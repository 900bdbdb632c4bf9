"""Decides which customer each lead belongs to, given who belongs to whom now: pure, no I/O.

A component of leads that has customers keeps the one who was there first; the others are merged
into it. A component that has none gets a customer founded by its earliest lead, under an id that
only depends on that lead. Where a customer's leads fall apart, because a lead changed or a key
became a hub, the component with the founding lead keeps the customer and the others leave.
"""

from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Self

from backstory.extract.customers import Hub, LeadGraph, Partition
from backstory.extract.identity import customer_id, derived_id
from backstory.extract.leads import Key
from backstory.extract.parse import from_microseconds, microseconds
from backstory.model import Heed, heedless

# A lead without a time comes after every lead that has one.
_UNKNOWN_TIME = 1 << 62
_NOBODY = -1
_MOST_KEYS_TOLD = 20


class Owner(NamedTuple):
    """A customer as it stands: since when it is there, and its id; the first sorts first."""

    since: int
    id: bytes

    @classmethod
    def at(cls, since: datetime, id_: bytes) -> Self:
        """Return the customer that is there since this moment."""
        return cls(microseconds(since), id_)


class Founding(NamedTuple):
    """A customer to be made for a lead, or taken up again: one merged away, or without leads."""

    customer: bytes
    lead: int
    revived: bool


class Merge(NamedTuple):
    """A customer to be absorbed by another, and keys that both are known by."""

    survivor: bytes
    absorbed: bytes
    keys: tuple[Key, ...]


class Move(NamedTuple):
    """A lead that leaves its customer for another one."""

    lead: int
    origin: bytes
    target: bytes


# Which of these customers exist: id -> whether it is free, merged into another or without a lead.
Standing = Callable[[Sequence[bytes]], Mapping[bytes, bool]]
# Pairs of customers that a person took apart again.
Apart = Collection[tuple[bytes, bytes]]


class Census:
    """The leads in question, by number: their keys, their age and their present customer."""

    def __init__(self) -> None:
        self.graph = LeadGraph()
        self.external_ids: list[str] = []
        self.owners: list[Owner] = []
        self._created = array("q")
        self._owner = array("i")
        self._owner_numbers: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self.external_ids)

    def add(
        self,
        external_id: str,
        keys: Sequence[Key],
        *,
        created_at: datetime | None,
        owner: Owner | None = None,
    ) -> int:
        """Add a lead, `owner` None for a new one; return its number."""
        self.external_ids.append(external_id)
        self._created.append(microseconds(created_at) if created_at else _UNKNOWN_TIME)
        self._owner.append(_NOBODY if owner is None else self._owner_number(owner))
        return self.graph.add(keys)

    def _owner_number(self, owner: Owner) -> int:
        number = self._owner_numbers.setdefault(owner.id, len(self.owners))
        if number == len(self.owners):
            self.owners.append(owner)
        return number

    def owner(self, lead: int) -> Owner | None:
        """Return the present customer of a lead."""
        number = self._owner[lead]
        return None if number == _NOBODY else self.owners[number]

    def created_at(self, lead: int) -> datetime | None:
        """Return when a lead came, if that is known."""
        count = self._created[lead]
        return None if count == _UNKNOWN_TIME else from_microseconds(count)

    def age(self, lead: int) -> tuple[int, str]:
        """Return what sorts leads from the first to the last."""
        return self._created[lead], self.external_ids[lead]


@dataclass(frozen=True)
class Assignment:
    """What is to be done; `customer_of[n]` is the customer of lead n when it is done."""

    customer_of: list[bytes]
    founded: list[Founding] = field(default_factory=list)
    merges: list[Merge] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    hubs: tuple[Hub, ...] = ()
    linked: int = 0


def assign(
    census: Census,
    hub_limit: int,
    *,
    standing: Standing,
    apart: Apart = frozenset(),
    heed: Heed = heedless,
) -> Assignment:
    """Decide on every lead of the census; `heed` is called on the way, and may raise."""
    partition = census.graph.partition(hub_limit, heed)
    component = partition.component
    founder = _founders(census, component)
    heed()
    kept_by = _keepers(census, component, founder)
    target, absorbed = _survivors(kept_by, apart)
    founded = _found(census, component, founder, taken=target, standing=standing)
    heed()
    target.update({component[each.lead]: each.customer for each in founded})
    customer_of = _customers(census, component, target=target, kept_by=kept_by, absorbed=absorbed)
    heed()
    leaving = _moves(census, customer_of, absorbed=absorbed)
    return Assignment(
        customer_of=customer_of,
        founded=founded,
        merges=_explained(census, partition, absorbed, kept_by),
        moves=leaving,
        hubs=partition.hubs,
        linked=sum(_is_linked(census.owner(n), customer) for n, customer in enumerate(customer_of)),
    )


def _is_linked(owner: Owner | None, customer: bytes) -> bool:
    return owner is None or owner.id != customer


def _founders(census: Census, component: Sequence[int]) -> "array[int]":
    """Return for each component, by its name, its earliest lead."""
    founder = array("i", range(len(component)))
    for lead, name in enumerate(component):
        if name != lead and census.age(lead) < census.age(founder[name]):
            founder[name] = lead
    return founder


def _keepers(census: Census, component: Sequence[int], founder: Sequence[int]) -> dict[Owner, int]:
    """Return which component keeps each customer: that of its founding lead, or the earliest."""
    holders: dict[Owner, set[int]] = {}
    home: dict[Owner, int] = {}
    for lead, name in enumerate(component):
        owner = census.owner(lead)
        if owner is not None:
            holders.setdefault(owner, set()).add(name)
            if customer_id(census.external_ids[lead]) == owner.id:
                home[owner] = name
    earliest = {
        owner: min(names, key=lambda name: census.age(founder[name]))
        for owner, names in holders.items()
    }
    return earliest | home


def _survivors(
    kept_by: Mapping[Owner, int], apart: Apart
) -> tuple[dict[int, bytes], dict[bytes, bytes]]:
    """Return the customer of each component that keeps one, and who is absorbed by whom."""
    together: dict[int, list[bytes]] = {}
    absorbed: dict[bytes, bytes] = {}
    for owner, name in sorted(kept_by.items()):
        group = together.setdefault(name, [])
        if any((one, owner.id) in apart or (owner.id, one) in apart for one in group if apart):
            continue
        group.append(owner.id)
        if group[0] != owner.id:
            absorbed[owner.id] = group[0]
    return {name: group[0] for name, group in together.items()}, absorbed


def _found(
    census: Census,
    component: Sequence[int],
    founder: Sequence[int],
    *,
    taken: Collection[int],
    standing: Standing,
) -> list[Founding]:
    """Give a customer to every component without one, under the first id that is free."""
    names = [name for lead, name in enumerate(component) if name == lead]
    waiting = [founder[name] for name in names if name not in taken]
    founded: list[Founding] = []
    ordinal = 0
    while waiting:
        ids = [_customer_id(census.external_ids[lead], ordinal) for lead in waiting]
        exists = standing(ids)
        pairs = list(zip(waiting, ids, strict=True))
        # A customer of that id who stands has other leads: keep off.
        founded += [
            Founding(each, lead, revived=each in exists)
            for lead, each in pairs
            if exists.get(each, True)
        ]
        waiting = [lead for lead, each in pairs if not exists.get(each, True)]
        ordinal += 1
    return founded


def _customer_id(external_id: str, ordinal: int) -> bytes:
    if ordinal == 0:
        return customer_id(external_id)
    return derived_id("customer", external_id, str(ordinal))


def _customers(
    census: Census,
    component: Sequence[int],
    *,
    target: Mapping[int, bytes],
    kept_by: Mapping[Owner, int],
    absorbed: Mapping[bytes, bytes],
) -> list[bytes]:
    """Return the customer of each lead; who was taken apart by a person stays apart."""
    customers = []
    for lead, name in enumerate(component):
        owner = census.owner(lead)
        stays = owner is not None and kept_by[owner] == name and owner.id not in absorbed
        customers.append(owner.id if owner is not None and stays else target[name])
    return customers


def _moves(
    census: Census, customer_of: Sequence[bytes], *, absorbed: Mapping[bytes, bytes]
) -> list[Move]:
    """Return the leads that go elsewhere than their customer does."""
    moves = []
    for lead, customer in enumerate(customer_of):
        owner = census.owner(lead)
        if owner is not None and absorbed.get(owner.id, owner.id) != customer:
            moves.append(Move(lead, owner.id, customer))
    return moves


def _explained(
    census: Census,
    partition: Partition,
    absorbed: Mapping[bytes, bytes],
    kept_by: Mapping[Owner, int],
) -> list[Merge]:
    """Return the merges with the keys that an absorbed customer shares with others."""
    names = {name for owner, name in kept_by.items() if owner.id in absorbed}
    members: dict[int, list[int]] = {name: [] for name in names}
    for lead, name in enumerate(partition.component):
        if name in names:
            members[name].append(lead)
    hubs = {(hub.kind, hub.value) for hub in partition.hubs}
    return [
        Merge(
            absorbed[owner.id],
            owner.id,
            _shared_keys(census, members[name], owner, hubs),
        )
        for owner, name in sorted(kept_by.items())
        if owner.id in absorbed
    ]


def _shared_keys(
    census: Census, leads: Iterable[int], owner: Owner, hubs: Collection[tuple[str, str]]
) -> tuple[Key, ...]:
    own: set[int] = set()
    others: set[int] = set()
    for lead in leads:
        (own if census.owner(lead) == owner else others).update(census.graph.carried(lead))
    keys = [key for number in own & others for key in census.graph.keys(number, number + 1)]
    return tuple(sorted(set(keys) - set(hubs))[:_MOST_KEYS_TOLD])
