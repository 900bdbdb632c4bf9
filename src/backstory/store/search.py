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
    """A query as the index reads it: how many words, the part it can look up, messages in all."""

    words: int
    needed: str
    messages: float


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


def begin_search(connection: Connection, words: str) -> Reading:
    """Read the query, and set up the rest of the caller's transaction for searching."""
    with translated():
        row = connection.execute(sql("search_begin"), {"text": words}).one()
    return Reading(words=row.words, needed=row.needed, messages=row.messages or 0.0)


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


def floor_below(connection: Connection, scope: Scope, *, window: int) -> datetime | None:
    """Return the time of the scope's message with `window` newer ones, None if it has fewer."""
    with translated():
        row = connection.execute(sql("search_floor"), asdict(scope) | {"window": window})
        return row.scalar_one_or_none()


def estimated_matches(connection: Connection, scope: Scope) -> float:
    """Return how many matches the planner expects in the scope."""
    page = _page(scope, walk=False, after=None, limit=1)
    nodes = _plan(connection, "search_matches", page)
    return float(max(n["Plan Rows"] for n in nodes if n.get("Subplan Name") == "CTE ranked"))


def estimated_messages(connection: Connection, scope: Scope) -> float:
    """Return how many messages of any words the planner expects in the scope."""
    nodes = _plan(connection, "search_floor", asdict(scope) | {"window": 0})
    return float(max(node["Plan Rows"] for node in nodes))


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
