"""The place of a page in an answer, as an opaque string that fits one query only."""

import base64
import binascii
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, TypeVar

from backstory.errors import Unanswerable
from backstory.store.search import Key

_MOST_SEEN = 2**53
_Place = TypeVar("_Place")


@dataclass(frozen=True)
class Block:
    """A stretch of time whose matches are ranked together: from `floor` up to below `ceiling`.

    `walk` tells how it is read, `seen` how many matches the newer blocks had.
    """

    floor: datetime | None = None
    ceiling: datetime | None = None
    walk: bool = False
    seen: int = 0

    @property
    def partial(self) -> bool:
        """Whether there may be matches outside."""
        return self.floor is not None or self.ceiling is not None


@dataclass(frozen=True)
class Cursor:
    """Where a page begins: behind the match `after` in its block, or where a block begins."""

    block: Block = Block()
    after: Key | None = None


def encode(cursor: Cursor, query: str) -> str:
    """Return the cursor as text; `query` is a digest that must be the same when it comes back."""
    block, after = cursor.block, cursor.after
    floor, ceiling = (t and t.isoformat() for t in (block.floor, block.ceiling))
    place = after and [after.score, after.created_at.isoformat(), after.id.hex]
    return written([query, floor, ceiling, block.walk, block.seen, place])


def decode(text: str, query: str) -> Cursor:
    """Read a cursor back; raise Unanswerable if it is damaged or of another query."""
    return read_back(text, query, _cursor)


def digest_of(query: object) -> str:
    """Return what tells a query, without the page that is asked for, from every other."""
    return blake2b(repr(query).encode("utf-8", "replace"), digest_size=8).hexdigest()


def written(fields: Sequence[Any]) -> str:
    """Return the fields of a cursor as text; the first is the digest of its query."""
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


def read_back(text: str, query: str, place: Callable[..., _Place]) -> _Place:
    """Return what `place` makes of the fields behind the digest of the query.

    Raises Unanswerable if the text is damaged or of another query.
    """
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        of, *fields = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        found = place(*fields) if of == query else None
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error) as bad:
        raise Unanswerable("The cursor is damaged: ask again without it.") from bad
    if found is None:
        raise Unanswerable("The cursor belongs to another search: ask again without it.")
    return found


def moment_of(raw: Any) -> datetime | None:
    """Return a moment of a cursor; raise ValueError or TypeError for what is none."""
    if raw is None:
        return None
    moment = datetime.fromisoformat(raw)
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone")
    return moment


def id_of(raw: Any) -> uuid.UUID:
    """Return an id of a cursor; raise ValueError for what is none."""
    return uuid.UUID(hex=str(raw))


def _cursor(floor: Any, ceiling: Any, walk: Any, seen: Any, place: Any) -> Cursor:
    block = Block(moment_of(floor), moment_of(ceiling), bool(walk), _count(seen))
    return Cursor(block, place and _key(*place))


def _count(raw: Any) -> int:
    seen = int(raw)
    if not 0 <= seen <= _MOST_SEEN:
        raise ValueError("more than any table has")
    return seen


def _key(score: Any, moment: Any, key: Any) -> Key:
    at = moment_of(moment)
    if at is None:
        raise ValueError("a place without a time")
    return Key(float(score), at, id_of(key))
