"""The place of a page in an answer, as an opaque string that fits one query only."""

import base64
import binascii
import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backstory.errors import Unanswerable
from backstory.store.search import Key

_MOST_SEEN = 2**53


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
    fields = [query, floor, ceiling, block.walk, block.seen, place]
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


def decode(text: str, query: str) -> Cursor:
    """Read a cursor back; raise Unanswerable if it is damaged or of another query."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        fields = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        of, floor, ceiling, walk, seen, place = fields
        block = Block(_time(floor), _time(ceiling), bool(walk), _count(seen))
        cursor = Cursor(block, place and _key(*place))
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error) as bad:
        raise Unanswerable("The cursor is damaged: ask again without it.") from bad
    if of != query:
        raise Unanswerable("The cursor belongs to another search: ask again without it.")
    return cursor


def _time(raw: Any) -> datetime | None:
    if raw is None:
        return None
    moment = datetime.fromisoformat(raw)
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone")
    return moment


def _count(raw: Any) -> int:
    seen = int(raw)
    if not 0 <= seen <= _MOST_SEEN:
        raise ValueError("more than any table has")
    return seen


def _key(score: Any, moment: Any, key: Any) -> Key:
    at = _time(moment)
    if at is None:
        raise ValueError("a place without a time")
    return Key(float(score), at, uuid.UUID(hex=key))
