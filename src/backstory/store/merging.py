"""Makes two customers one, and two again: each row that moves is listed, so that it can go back."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row

from backstory.errors import UsageError
from backstory.extract.assignment import Merge
from backstory.extract.identity import derived_id
from backstory.store.bulk import uuid_array
from backstory.store.engine import translated
from backstory.store.ownership import (
    LEADS,
    Displaced,
    Rows,
    Step,
    carry,
    remember,
    rows_of,
    with_followers,
)
from backstory.store.statements import sql

_FILLED_AT_ONCE = 5_000
_IDENTITIES = "customer_identities"
# What `moved` holds beside the lists of ids by table.
_KEYS = "customer_addresses.normalized_key"
_PRIMARIES = "customer_addresses.is_primary"

Record = Row[Any]
# A customer and a lead that has left it.
Departure = tuple[UUID, UUID]


def undo_merge(connection: Connection, merge_id: UUID) -> None:
    """Give the absorbed customer back what the merge took, and what came with its leads since.

    Linking will not join the two again. Raises UsageError for a merge that is unknown or undone.
    """
    with translated():
        connection.execute(sql("lock_linking"))
        record = connection.execute(sql("merge_by_id"), {"id": merge_id}).one_or_none()
        if record is None or record.undone_at is not None:
            state = "unknown" if record is None else "undone already"
            raise UsageError(f"Merge {merge_id} is {state}: nothing was changed.")
        departures = undo(connection, [record])
        connection.execute(sql("end_merges"), {"ids": [merge_id], "ended_by": None})
        settle_profiles(connection, departures, run_id=None)


def merge(connection: Connection, merges: Sequence[Merge], *, run_id: UUID | None) -> None:
    """Re-point everything that the absorbed customers have, and record it."""
    if not merges:
        return
    targets = {UUID(bytes=each.absorbed): UUID(bytes=each.survivor) for each in merges}
    connection.execute(sql("lock_customers"), {"ids": [*targets, *targets.values()]})
    rows = rows_of(connection, targets)
    # An identity may be dropped or go elsewhere in the same run: an undone merge cannot tell whose.
    identities = [step.row for step in rows[_IDENTITIES]]
    remember(connection, run_id, {_IDENTITIES: identities})
    moved = _by_origin(rows, carry(connection, rows))
    pairs = {"survivors": list(targets.values()), "absorbed": list(targets)}
    connection.execute(sql("absorb_customers"), pairs)
    earlier = {row.absorbed_id: row.merges for row in connection.execute(sql("merges_of"), pairs)}
    ids = [_free_id(*pair, taken=earlier[pair[1]]) for pair in zip(*pairs.values(), strict=True)]
    connection.execute(
        sql("record_merges"),
        pairs
        | {
            "ids": ids,
            "reasons": [_reason(each) for each in merges],
            "moved": [orjson.dumps(moved.get(absorbed, {})).decode() for absorbed in targets],
            "run_id": run_id,
        },
    )


def _free_id(survivor: UUID, absorbed: UUID, *, taken: Collection[UUID]) -> UUID:
    """Return the first id of a merge of these two that is free: earlier ones may be forgotten."""
    for ordinal in range(len(taken)):
        each = _merge_id(survivor, absorbed, ordinal)
        if each not in taken:
            return each
    return _merge_id(survivor, absorbed, len(taken))


def _merge_id(survivor: UUID, absorbed: UUID, ordinal: int) -> UUID:
    return UUID(bytes=derived_id("merge", str(survivor), str(absorbed), str(ordinal)))


def _reason(each: Merge) -> str:
    keys = [{"kind": kind, "value": value} for kind, value in each.keys]
    return orjson.dumps({"rule": "shared_identity", "keys": keys}).decode()


def _by_origin(rows: Rows, displaced: Displaced) -> dict[UUID, dict[str, Any]]:
    """Return for each absorbed customer its rows by table, and how its addresses had to change."""
    moved: dict[UUID, dict[str, Any]] = {}
    for table, steps in rows.items():
        for step in steps:
            mine = moved.setdefault(step.origin, {})
            mine.setdefault(str(table), []).append(str(step.row))
            if step.row in displaced.keys:
                mine.setdefault(_KEYS, {})[str(step.row)] = displaced.keys[step.row]
            if step.row in displaced.primaries:
                mine.setdefault(_PRIMARIES, []).append(str(step.row))
    return moved


def undo(
    connection: Connection, records: Sequence[Record], *, run_id: UUID | None = None
) -> list[Departure]:
    """Re-point what these merges moved, as far as it is still there; return which leads left whom.

    With a `run_id` every row is remembered for the rollback of that run.
    """
    survivors = {"ids": [record.survivor_id for record in records]}
    roots = {row.start: row.id for row in connection.execute(sql("root_customers"), survivors)}
    rows = with_followers(connection, _returning(records, roots))
    remember(connection, run_id, {name: [step.row for step in rows[name]] for name in rows})
    absorbed = [record.absorbed_id for record in records]
    remember(connection, run_id, {"customers": absorbed})
    connection.execute(sql("forget_answers"), {"customers": list(roots.values())})
    carry(connection, rows, run_id=run_id)
    keys = {row: key for each in records for row, key in each.moved.get(_KEYS, {}).items()}
    primaries = [row for each in records for row in each.moved.get(_PRIMARIES, ())]
    connection.execute(
        sql("restore_addresses"),
        {
            "ids": list(keys),
            "keys": list(keys.values()),
            "primaries": primaries,
            "customers": absorbed,
        },
    )
    connection.execute(sql("release_customers"), {"ids": absorbed})
    return [(step.origin, step.row) for step in rows.get(LEADS.name, ())]


def _returning(records: Sequence[Record], roots: Mapping[UUID, UUID]) -> dict[str, list[Step]]:
    rows: dict[str, list[Step]] = {}
    for record in records:
        for table, ids in record.moved.items():
            if table not in (_KEYS, _PRIMARIES):
                origin, target = roots[record.survivor_id], record.absorbed_id
                rows.setdefault(table, []).extend(Step(UUID(row), origin, target) for row in ids)
    return rows


def split(
    connection: Connection,
    *,
    revived: Sequence[bytes],
    targets: Mapping[UUID, UUID],
    run_id: UUID | None,
) -> list[Departure]:
    """Bring customers back from merges that hold no more, then move leads to where they belong.

    `targets` maps leads to customers: those that move, and those that share a customer with one
    that does and could be swept along. Returns which leads left which customer.
    """
    departures: list[Departure] = []
    if revived:
        ids = {"ids": [UUID(bytes=each) for each in revived]}
        records = connection.execute(sql("standing_merges"), ids).all()
        ended = [record.id for record in records]
        remember(connection, run_id, {"customer_merges": ended})
        departures += undo(connection, records, run_id=run_id)
        # A merge whose record went with a run that was taken back has nothing to undo but this.
        connection.execute(sql("release_customers"), ids)
        connection.execute(sql("end_merges"), {"ids": ended, "ended_by": "split"})
    owners = connection.execute(sql("owners_of_leads"), {"ids": list(targets)})
    steps = [Step(lead, owner, targets[lead]) for lead, owner in owners if owner != targets[lead]]
    rows = with_followers(connection, {LEADS.name: steps})
    remember(connection, run_id, {name: [step.row for step in rows[name]] for name in rows})
    connection.execute(sql("forget_answers"), {"customers": [step.origin for step in steps]})
    carry(connection, rows, run_id=run_id)
    return departures + [(step.origin, step.row) for step in steps]


def settle_profiles(
    connection: Connection, departures: Sequence[Departure], *, run_id: UUID | None
) -> None:
    """Take from customers what only departed leads say, and fill what is blank from the others."""
    leads = [lead for _, lead in departures]
    rows = connection.execute(sql("owners_of_leads"), {"ids": leads})
    owners = {row.id: row.customer_id for row in rows}
    left = [
        (customer, lead) for customer, lead in departures if owners.get(lead, customer) != customer
    ]
    if not left:
        return
    connection.execute(
        sql("unfill_customers"),
        {
            "customers": [customer for customer, _ in left],
            "leads": [lead for _, lead in left],
            "run_id": run_id,
        },
    )
    concerned = {customer for customer, _ in left} | set(owners.values())
    fill_profiles(connection, {each.bytes for each in concerned}, run_id=run_id)


def fill_profiles(
    connection: Connection, customers: Collection[bytes], *, run_id: UUID | None
) -> None:
    """Give customers, where they are blank, what their leads say; `customers` are their ids."""
    ids = sorted(customers)
    for start in range(0, len(ids), _FILLED_AT_ONCE):
        page = uuid_array(ids[start : start + _FILLED_AT_ONCE])
        connection.execute(sql("fill_customers"), {"ids": page, "run_id": run_id})
