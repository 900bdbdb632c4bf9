"""What a text search reads from the tables: estimates, a floor in time, and ranked pages."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, TextClause, text

from backstory.store.engine import translated
from backstory.store.statements import sql, statements


@dataclass(frozen=True)
class Scope:
    """The words looked for and where; None filters nothing, `until` is the first moment outside."""

    text: str
    role: str | None = None
    kind: str | None = None
    channel: str | None = None
    customer_id: uuid.UUID | None = None
    lead_id: uuid.UUID | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def narrowed(self) -> bool:
        """Whether an index on something else than words leads to a part of the messages."""
        return (self.customer_id or self.lead_id or self.since or self.until) is not None


class Reading(NamedTuple):
    """A query as the index reads it, and what it is asked of.

    `words` counts its words, `needed` is the part that can be looked up; `messages` is how many
    there are in all, about; `floor` is the time of the message that has `window` newer ones in the
    scope, None if there are fewer.
    """

    words: int
    needed: str
    messages: float
    floor: datetime | None


class Key(NamedTuple):
    """The place of a match in the order of an answer."""

    score: float
    created_at: datetime
    id: uuid.UUID


class Candidates(NamedTuple):
    """A page of places in the order of an answer, and how many were ranked for it."""

    keys: list[Key]
    ranked: int


class Found(NamedTuple):
    """A message that was found; `marked` has U+FDD0 and U+FDD1 around what matched."""

    id: uuid.UUID
    conversation_id: uuid.UUID
    customer_id: uuid.UUID
    lead: str
    customer: str | None
    role: str
    kind: str
    channel: str
    author: str | None
    marked: str


def reading(connection: Connection, scope: Scope, *, window: int | None) -> Reading:
    """Read the query, and set up the rest of the caller's transaction for searching."""
    with translated():
        row = connection.execute(sql("search_reading"), asdict(scope) | {"window": window}).one()
    return Reading(row.words, row.needed, row.messages or 0.0, row.floor)


def matches(
    connection: Connection, scope: Scope, *, walk: bool, after: Key | None, limit: int
) -> Candidates:
    """Return the best `limit` matches behind `after`; `walk` reads the scope without the index."""
    page = _page(scope, walk=walk, after=after, limit=limit)
    with translated():
        rows = connection.execute(sql("search_matches"), page).all()
    ranked = rows[0].candidates if rows else 0
    return Candidates([Key(row.score, row.created_at, row.id) for row in rows], ranked)


def found(connection: Connection, words: str, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Found]:
    """Return what a reader sees of these messages, by id."""
    with translated():
        rows = connection.execute(sql("search_hits"), {"text": words, "ids": list(ids)})
        return {row.id: Found(*row) for row in rows}


def estimated_matches(connection: Connection, scope: Scope) -> float:
    """Return how many matches the planner expects in the scope."""
    page = _page(scope, walk=False, after=None, limit=1)
    nodes = _plan(connection, "search_matches", page)
    return float(max(n["Plan Rows"] for n in nodes if n.get("Subplan Name") == "CTE ranked"))


def estimated_messages(connection: Connection, scope: Scope) -> float:
    """Return how many messages of any words the planner expects in the scope."""
    nodes = _plan(connection, "search_reading", asdict(scope) | {"window": 0})
    return float(max(node["Plan Rows"] for node in nodes))


def newest_are_near(connection: Connection, scope: Scope, *, window: int) -> bool:
    """Whether an index leads to the scope's newest messages, so that nothing need be sorted."""
    nodes = _plan(connection, "search_reading", asdict(scope) | {"window": window})
    return all(node["Node Type"] != "Sort" for node in nodes)


def _page(scope: Scope, *, walk: bool, after: Key | None, limit: int) -> dict[str, Any]:
    score, moment, key = after or (None, None, None)
    place = {"after_score": score, "after_time": moment, "after_id": key}
    return asdict(scope) | place | {"walk": walk, "limit": limit}


@cache
def _explained(name: str) -> TextClause:
    return text(f"EXPLAIN (FORMAT JSON) {statements()[name].body}")


def _plan(connection: Connection, name: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    with translated():
        plan = connection.execute(_explained(name), parameters).scalar_one()
    return list(_nodes(plan[0]["Plan"]))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
