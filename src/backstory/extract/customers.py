"""Which leads are the same person: connected components over the identities that leads carry.

Two leads that share a key are one customer. Messenger ids always link. A phone or an e-mail
address that more leads carry than the hub limit is looked at twice: when those leads stand for at
most that many otherwise unconnected identities it links them (one person who wrote thirty times),
else it is a hub, an office line, and links nobody. The answer depends on the set of leads alone,
never on their order.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from backstory.extract.leads import Key
from backstory.model import Heed, IdentityKind, heedless

HUB_LIMIT = 25
# A lead carries at most one key of each kind.
_SLOTS = len(IdentityKind)
_NONE = -1
_HEED_PLACES = 50_000


class Hub(NamedTuple):
    """A key that links nobody: how many leads carry it, for how many unconnected identities."""

    kind: IdentityKind
    value: str
    leads: int
    identities: int


class UnionFind:
    """Disjoint sets of the numbers below `size`; a set is named by its smallest number."""

    def __init__(self, size: int) -> None:
        self._parent = array("i", range(size))

    def find(self, number: int) -> int:
        """Return the smallest number in the set of `number`."""
        parent = self._parent
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    def union(self, one: int, other: int) -> None:
        """Make the two sets one."""
        one, other = self.find(one), self.find(other)
        self._parent[max(one, other)] = min(one, other)


@dataclass(frozen=True)
class Partition:
    """`component[n]` is the smallest number among the leads that are the same person as lead n."""

    component: "array[int]"
    hubs: tuple[Hub, ...]


class LeadGraph:
    """Leads, by number, and the keys they carry: compact, for millions of leads."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._keys: list[str] = []
        self._carried = array("i")

    def __len__(self) -> int:
        return len(self._carried) // _SLOTS

    def add(self, keys: Sequence[Key]) -> int:
        """Add a lead with its keys; return its number."""
        numbers = [self.note(key) for key in keys]
        self._carried.extend(numbers + [_NONE] * (_SLOTS - len(numbers)))
        return len(self) - 1

    @property
    def key_count(self) -> int:
        """How many keys there are."""
        return len(self._keys)

    def note(self, key: Key) -> int:
        """Return the number of a key, whether a lead carries it or not."""
        text = f"{key[0]}:{key[1]}"
        number = self._numbers.setdefault(text, len(self._keys))
        if number == len(self._keys):
            self._keys.append(text)
        return number

    def keys(self, start: int = 0, stop: int | None = None) -> Iterator[Key]:
        """Yield keys in the order of their numbers, which is that of their first appearance."""
        for text in self._keys[start:stop]:
            kind, _, value = text.partition(":")
            yield IdentityKind(kind), value

    def carried(self, lead: int) -> Iterator[int]:
        """Yield the numbers of the keys that a lead carries."""
        for key in self._carried[lead * _SLOTS : (lead + 1) * _SLOTS]:
            if key != _NONE:
                yield key

    def partition(self, hub_limit: int = HUB_LIMIT, heed: Heed = heedless) -> Partition:
        """Return who is the same person, and the keys that linked nobody; `heed` may raise."""
        frequent = self._frequent(hub_limit)
        sets = UnionFind(len(self))
        self._link(sets, excluded=frequent, heed=heed)
        behind = self._identities_behind(frequent, sets)
        hubs = {key for key, identities in behind.items() if len(identities) > hub_limit}
        self._link(sets, excluded=hubs, heed=heed)
        component = array("i", (sets.find(lead) for lead in range(len(self))))
        return Partition(component, self._report(hubs, behind))

    def _frequent(self, hub_limit: int) -> set[int]:
        """Return the phones and e-mail addresses that more leads than the limit carry."""
        leads = array("i", bytes(4 * len(self._keys)))
        for key in self._carried:
            if key != _NONE:
                leads[key] += 1
        always = f"{IdentityKind.MESSENGER}:"
        return {
            number
            for number, text in enumerate(self._keys)
            if leads[number] > hub_limit and not text.startswith(always)
        }

    def _link(self, sets: UnionFind, *, excluded: set[int], heed: Heed) -> None:
        """Join the leads that share a key, but for the excluded ones."""
        first = array("i", [_NONE]) * len(self._keys)
        for place, key in enumerate(self._carried):
            if place % _HEED_PLACES == 0:
                heed()
            if key == _NONE or key in excluded:
                continue
            if first[key] == _NONE:
                first[key] = place // _SLOTS
            else:
                sets.union(first[key], place // _SLOTS)

    def _identities_behind(
        self, frequent: set[int], sets: UnionFind
    ) -> dict[int, set[tuple[bool, int]]]:
        """Return for each frequent key the unconnected identities of the leads that carry it.

        A lead with a key that links counts as its component. A lead whose only other key is
        frequent too counts as that key: thirty leads with one phone and one address are one person.
        """
        behind: dict[int, set[tuple[bool, int]]] = {key: set() for key in frequent}
        if not frequent:
            return behind
        for lead in range(len(self)):
            keys = set(self.carried(lead))
            shared = keys & frequent
            linking = keys - shared
            for key in shared:
                others = (
                    {(True, sets.find(lead))} if linking else {(False, k) for k in shared - {key}}
                )
                behind[key] |= others
        return behind

    def _report(self, hubs: set[int], behind: dict[int, set[tuple[bool, int]]]) -> tuple[Hub, ...]:
        if not hubs:
            return ()
        leads = dict.fromkeys(hubs, 0)
        for key in self._carried:
            if key in leads:
                leads[key] += 1
        return tuple(
            sorted(
                Hub(kind, value, leads[number], len(behind[number]))
                for number, (kind, value) in enumerate(self.keys())
                if number in hubs
            )
        )


def same_person(
    leads: Iterable[tuple[str, Sequence[Key]]], *, hub_limit: int = HUB_LIMIT
) -> tuple[frozenset[frozenset[str]], tuple[Hub, ...]]:
    """Return the groups of leads, by id, that are one person each, and the hubs.

    The readable form of `LeadGraph`, for small lists.
    """
    graph = LeadGraph()
    names = []
    for name, keys in leads:
        names.append(name)
        graph.add(keys)
    found = graph.partition(hub_limit)
    groups: dict[int, set[str]] = {}
    for name, component in zip(names, found.component, strict=True):
        groups.setdefault(component, set()).add(name)
    return frozenset(map(frozenset, groups.values())), found.hubs
