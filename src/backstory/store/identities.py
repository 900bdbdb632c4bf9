"""Keeps `customer_identities` what the leads say: one verified row a key, shared rows for a hub.

A key that links is one row, `verified`, of the customer whose leads carry it. A hub links nobody:
it is a `shared` row of every customer whose leads carry it. A key that no lead carries any more
has no row. What was only claimed is never looked at.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from backstory.extract.assignment import Assignment, Census
from backstory.extract.identity import derived_id
from backstory.extract.leads import Key
from backstory.model import Heed, Provenance, heedless
from backstory.store.bulk import copy_rows, field, uuid_array
from backstory.store.engine import driver_of
from backstory.store.statements import sql

_KEYS_AT_ONCE = 5_000
_FIELDS = (6).to_bytes(2)
_COLUMNS = ("id", "customer_id", "kind", "value", "provenance", "run_id")
_NO_LEAD = -1

# What makes an identity the one it is: a shared one is many customers', the last part tells whose.
Name = tuple[Provenance, str, str, bytes]


def project_identities(
    connection: Connection,
    census: Census,
    assignment: Assignment,
    *,
    run_id: UUID | None,
    heed: Heed = heedless,
) -> None:
    """Bring the identities under every key of the census in line with its leads."""
    carriers = _Carriers(census, assignment)
    heed()
    any_known = connection.execute(sql("has_identities")).scalar_one()
    shared = _shared(connection, census, assignment)
    for start in range(0, carriers.keys, _KEYS_AT_ONCE):
        heed()
        keys = list(census.graph.keys(start, start + _KEYS_AT_ONCE))
        wanted = carriers.wanted(keys, start)
        known = _known(connection, keys, ()) if any_known else []
        for key in keys:
            known += shared.get(key, [])
        _write(connection, wanted, known, run_id=run_id)


class _Carriers:
    """Who carries which key: one customer for a key that links, all of them for a hub."""

    def __init__(self, census: Census, assignment: Assignment) -> None:
        self.keys = census.graph.key_count
        self._customer_of = assignment.customer_of
        self._first = array("i", [_NO_LEAD]) * self.keys
        hubs = {(hub.kind, hub.value) for hub in assignment.hubs}
        self._hubs: dict[int, set[bytes]] = {
            number: set() for number, key in enumerate(census.graph.keys()) if key in hubs
        }
        for lead, customer in enumerate(assignment.customer_of):
            for key in census.graph.carried(lead):
                if self._first[key] == _NO_LEAD:
                    self._first[key] = lead
                if key in self._hubs:
                    self._hubs[key].add(customer)

    def wanted(self, keys: Sequence[Key], start: int) -> dict[Name, bytes]:
        """Return the identities that should be, with their customers; `start` numbers the keys."""
        found: dict[Name, bytes] = {}
        for number, (kind, value) in enumerate(keys, start):
            if number in self._hubs:
                for customer in self._hubs[number]:
                    found[Provenance.SHARED, kind, value, customer] = customer
            elif self._first[number] != _NO_LEAD:
                customer = self._customer_of[self._first[number]]
                found[Provenance.VERIFIED, kind, value, b""] = customer
        return found


class Known(NamedTuple):
    """An identity as it stands; a merged customer may have the same shared one twice."""

    name: Name
    id: bytes
    customer: bytes


def _known(connection: Connection, keys: Sequence[Key], customers: Iterable[bytes]) -> list[Known]:
    """Return what stands: verified identities under `keys`, and all shared ones of `customers`."""
    rows = connection.execute(
        sql("known_identities"),
        {
            "kinds": [kind for kind, _ in keys],
            "values": [value for _, value in keys],
            "customers": uuid_array(customers),
        },
    )
    known = []
    for row in rows:
        whose = row.customer_id if row.provenance == Provenance.SHARED else b""
        name = (Provenance(row.provenance), row.kind, row.value, whose)
        known.append(Known(name, row.id, row.customer_id))
    return known


def _shared(
    connection: Connection, census: Census, assignment: Assignment
) -> dict[tuple[str, str], list[Known]]:
    """Return the shared identities of the customers that were there before, by key."""
    found: dict[tuple[str, str], list[Known]] = {}
    customers = {owner.id for owner in census.owners}
    customers.update(each.customer for each in assignment.founded if each.revived)
    pages = sorted(customers)
    for start in range(0, len(pages), _KEYS_AT_ONCE):
        for each in _known(connection, (), pages[start : start + _KEYS_AT_ONCE]):
            found.setdefault(each.name[1:3], []).append(each)
    return found


def _write(
    connection: Connection,
    wanted: Mapping[Name, bytes],
    known: Sequence[Known],
    *,
    run_id: UUID | None,
) -> None:
    gone = [each.id for each in known if each.name not in wanted]
    if gone:
        connection.execute(sql("drop_identities"), {"ids": uuid_array(gone), "run_id": run_id})
    moved = {
        each.id: wanted[each.name]
        for each in known
        if wanted.get(each.name, each.customer) != each.customer
    }
    if moved:
        parameters = {"ids": uuid_array(moved), "customers": uuid_array(moved.values())}
        connection.execute(sql("own_identities"), parameters | {"run_id": run_id})
    standing = {each.name for each in known}
    new = {name: customer for name, customer in wanted.items() if name not in standing}
    if new:
        rows = _rows(new, field(run_id.bytes if run_id else None))
        copy_rows(driver_of(connection), "customer_identities", _COLUMNS, rows)


def _rows(new: Mapping[Name, bytes], run: bytes) -> Iterator[bytes]:
    for (provenance, kind, value, whose), customer in new.items():
        yield b"".join(
            (
                _FIELDS,
                field(derived_id("identity", kind, value, whose.hex())),
                field(customer),
                field(kind.encode()),
                field(value.encode()),
                field(provenance.encode()),
                run,
            )
        )
