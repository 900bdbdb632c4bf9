"""Removes customers whom a rollback left without leads, and merges that tell of nobody else.

A customer stays on whom anything hangs that somebody wrote, and one that a merge needs: a merge of
a run that stands, or any by which leads came that are still there and could go back.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, exists, func, select

from backstory.model import Provenance
from backstory.store.ownership import among
from backstory.store.statements import sql
from backstory.store.tables import Base, Customer, CustomerIdentity, CustomerMerge

_CUSTOMERS = Base.metadata.tables[Customer.__tablename__]
_IDENTITIES = Base.metadata.tables[CustomerIdentity.__tablename__]
_MERGES = Base.metadata.tables[CustomerMerge.__tablename__]
# What a person or an agent says of a customer, and no lead.
_WRITTEN = ("company_name", "language", "timezone")


def remove_leftovers(connection: Connection, concerned: Collection[UUID]) -> set[UUID]:
    """Delete who is left over of these customers, and of all that were ever merged with them."""
    ids = {"ids": sorted(concerned)}
    ever = connection.execute(sql("customers_ever_merged"), ids).scalars().all()
    going = set(connection.execute(_bare(ever)).scalars())
    going.difference_update(
        connection.execute(sql("needed_by_merges"), {"ids": sorted(going)}).scalars()
    )
    while needed := _merged_into(connection, going):
        going -= needed
    if going:
        gone = {"ids": sorted(going)}
        for statement in ("forget_merges_of", "drop_uncarried", "remove_customers"):
            connection.execute(sql(statement), gone)
    return going


def pointing_at_customers() -> list[Any]:
    """Return every column by which a row names a customer."""
    return [
        key.parent
        for table in Base.metadata.sorted_tables
        for key in table.foreign_keys
        if key.column is _CUSTOMERS.c.id
    ]


def _bare(ids: Collection[UUID]) -> Select[Any]:
    """Return the query for those of these customers on whom nothing hangs but merges."""
    hanging: list[ColumnElement[bool]] = []
    for column in pointing_at_customers():
        if column.table in (_CUSTOMERS, _MERGES):
            continue
        rows = exists().where(column == _CUSTOMERS.c.id)
        if column.table is _IDENTITIES:
            rows = rows.where(_IDENTITIES.c.provenance == Provenance.CLAIMED.value)
        hanging.append(rows)
    of = _CUSTOMERS.c
    unwritten = [of[name].is_(None) for name in _WRITTEN]
    return select(of.id).where(
        among(of.id, ids),
        ~of.do_not_contact,
        func.cardinality(of.tags) == 0,
        *unwritten,
        *(~each for each in hanging),
    )


def _merged_into(connection: Connection, going: Collection[UUID]) -> set[UUID]:
    """Return which of these customers others are merged into that stay."""
    of = _CUSTOMERS.c
    rows = connection.execute(
        select(of.id, of.merged_into_id).where(among(of.merged_into_id, going))
    )
    return {survivor for absorbed, survivor in rows if absorbed not in going}
