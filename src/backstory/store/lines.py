"""The lines of events in the tables: what is stale, what a run rendered, and by which rules."""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import orjson
from sqlalchemy import Connection, Engine, Row

from backstory.errors import UsageError
from backstory.extract.line_rules import LineRules, read_rules
from backstory.store.statements import sql

# Which rules are known to be kept in a database, so that live events need not keep them again.
_KEPT: "WeakKeyDictionary[Engine, set[str]]" = WeakKeyDictionary()


class Extent(NamedTuple):
    """How many messages have a line or might have, and how many of them other rules rendered."""

    events: int
    stale: int


class Rendered(NamedTuple):
    """The line of a message, "" for none."""

    id: uuid.UUID
    line: str


def keep_rules(connection: Connection, rules: LineRules) -> None:
    """Keep the rules by which lines are rendered, once for all: lines are checked by them."""
    if rules.name not in _KEPT.get(connection.engine, ()):
        written = orjson.dumps(rules.as_json()).decode()
        connection.execute(sql("keep_line_rules"), {"name": rules.name, "rules": written})


def rules_are_kept(connection: Connection, rules: LineRules) -> None:
    """Know, when that is committed, that the database has these rules."""
    _KEPT.setdefault(connection.engine, set()).add(rules.name)


def kept_rules(connection: Connection, name: str) -> LineRules | None:
    """Return the rules of a name; None if they are not here, or rendered in another way then."""
    given = connection.execute(sql("kept_line_rules"), {"name": name}).scalar()
    if given is None:
        return None
    try:
        rules = read_rules(given)
    except UsageError:
        return None
    return rules if rules.name == name else None


def extent(connection: Connection, rules: LineRules) -> Extent:
    """Return how many messages rules have to do with, and how many of them are stale."""
    return Extent(*connection.execute(sql("line_extent"), {"rules": rules.name}).one())


def stale_ids(
    connection: Connection, rules: LineRules, *, after: uuid.UUID, limit: int
) -> list[uuid.UUID]:
    """Return the next messages that other rules rendered, or none yet."""
    asked = {"rules": rules.name, "after": after, "limit": limit}
    return list(connection.execute(sql("stale_lines"), asked).scalars())


def leads_of(connection: Connection, ids: Iterable[uuid.UUID]) -> list[bytes]:
    """Return the keys of the leads whose messages these are."""
    found = connection.execute(sql("leads_of_messages"), {"ids": list(ids)}).scalars()
    return [bytes(key) for key in found]


def records(connection: Connection, ids: Iterable[uuid.UUID]) -> Sequence[Row[Any]]:
    """Return messages beside their records."""
    return connection.execute(sql("lines_to_render"), {"ids": list(ids)}).all()


def change(
    connection: Connection, lines: Sequence[Rendered], rules: LineRules, *, run_id: uuid.UUID
) -> int:
    """Write lines, and remember those that were there; return how many are other than before."""
    rows = [{"id": each.id, "line": each.line or None} for each in lines]
    asked = {"lines": orjson.dumps(rows).decode(), "rules": rules.name, "run_id": run_id}
    changed: int = connection.execute(sql("change_lines"), asked).scalar_one()
    return changed


def of_run(connection: Connection, run_id: uuid.UUID) -> int:
    """Return how many lines a run has left that taking it back would change."""
    found: int = connection.execute(sql("lines_of_run"), {"run_id": run_id}).scalar_one()
    return found


def restore(connection: Connection, run_id: uuid.UUID) -> int:
    """Give messages back the lines they had before a run; return how many.

    Where a later run rendered the message again, that run inherits what was there before.
    """
    asked = {"run_id": run_id}
    connection.execute(sql("hand_down_changes"), asked)
    restored = connection.execute(sql("restore_lines"), asked).rowcount
    connection.execute(sql("forget_changes"), asked)
    return restored
