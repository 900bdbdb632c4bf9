"""Text search over the messages of a business: web-style queries, ranked, paged, safe to show.

A query is read as on the web: words must all occur, `"hot tub"` is a phrase, `or` is or, `-word`
excludes. Matches are ordered by score, then time, then id. When a query has so many matches that
ranking them all would be slow, they are ranked in blocks, the newest first, and the answer says so:
pages then go through one block after the other, and still show every match once.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from backstory.errors import Unanswerable, UsageError
from backstory.extract.identity import lead_id
from backstory.extract.parse import clean_text
from backstory.model import Channel, MessageKind, Role
from backstory.search import snippet
from backstory.search.cursor import Block, Cursor, decode, digest_of, encode
from backstory.search.ranking import SMALL, Way, choose
from backstory.search.snippet import Fragment, fragments, shown
from backstory.store import search as store

MAX_QUERY_CHARS = 1_000
MAX_LIMIT = 100
RANK_LIMIT = 150
ONLY_LEAVES_OUT = (
    "The query says only what to leave out, which is nearly everything else: "
    "add a word to look for."
)
# A block this much thinner than expected means that the words are not spread evenly over time.
_THIN = 0.2


@dataclass(frozen=True)
class SearchQuery:
    """What to look for, and where; `since` is inside, `until` is the first moment outside.

    `lead` is the business's own id of a lead. `after` is the `next` of the page before.
    `rank_limit` is about how many matches a block has when there are too many to rank them all;
    None ranks them all, however long it takes.
    """

    text: str
    role: Role | None = None
    kind: MessageKind | None = None
    channel: Channel | None = None
    customer_id: uuid.UUID | None = None
    lead: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 10
    after: str | None = None
    rank_limit: int | None = RANK_LIMIT


@dataclass(frozen=True)
class Hit:
    """One message that was found; names and snippet are fit to be shown, `lead` is as it came."""

    id: uuid.UUID
    conversation_id: uuid.UUID
    customer_id: uuid.UUID
    lead: str
    customer: str | None
    role: Role
    kind: MessageKind
    channel: Channel
    author: str | None
    created_at: datetime
    score: float
    snippet: tuple[Fragment, ...]

    def snippet_html(self) -> str:
        """Return the snippet as safe HTML with `<mark>` around matches."""
        return snippet.as_html(self.snippet)

    def snippet_plain(self) -> str:
        """Return the snippet as one line of text."""
        return snippet.plain(self.snippet)


@dataclass(frozen=True)
class SearchAnswer:
    """A page of hits; `next` continues it (a page may be short, only None means the end).

    `total_at_least` is the number of matches, or of those ranked so far when `capped`, and then
    `note` says in a sentence what was ranked.
    """

    hits: tuple[Hit, ...]
    next: str | None
    total_at_least: int
    capped: bool
    note: str | None


def search_messages(connection: Connection, query: SearchQuery) -> SearchAnswer:
    """Return a page of the messages that match; raise UsageError for a query that says nothing.

    Sets `jit` and `work_mem` for the rest of the caller's transaction, and writes nothing.
    """
    search = _Search(connection, scope_of(query), query)
    digest = digest_of(replace(query, limit=1, after=None))
    start = decode(query.after, digest) if query.after else Cursor()
    if start.after is None:
        block, page = search.first_page(start.block)
    else:
        block, page = start.block, search.next_page(start.block, start.after)
    return _answer(search, block, page, digest)


@dataclass(frozen=True)
class _Search:
    """What stays the same while one page is looked for."""

    connection: Connection
    scope: store.Scope
    query: SearchQuery

    def first_page(self, block: Block) -> tuple[Block, store.Candidates]:
        """Decide how far down the block that begins at its ceiling goes, and rank it."""
        inside = _within(self.scope, block)
        way = self._way(inside)
        if way.window is not None:
            floor = store.reading(self.connection, inside, window=way.window).floor
            newest = replace(block, floor=floor, walk=True)
            page = self._page(newest, None)
            if floor is None or page.ranked >= _THIN * (self.query.rank_limit or 0):
                return newest, page
        rest = replace(block, walk=way.walk and way.window is None)
        return rest, self._page(rest, None)

    def next_page(self, block: Block, after: store.Key) -> store.Candidates:
        """Go on in a block as it was begun."""
        _readable(store.reading(self.connection, self.scope, window=None))
        return self._page(block, after)

    def _page(self, block: Block, after: store.Key | None) -> store.Candidates:
        # One match more than is shown tells whether there is a next page.
        limit = self.query.limit + 1
        inside = _within(self.scope, block)
        return store.matches(self.connection, inside, walk=block.walk, after=after, limit=limit)

    def _way(self, inside: store.Scope) -> Way:
        probe = SMALL if inside.narrowed else None
        reading = _readable(store.reading(self.connection, inside, window=probe))
        if probe is not None and reading.floor is None:
            return Way(walk=True)
        population = reading.messages
        if probe is not None or not population:
            population = store.estimated_messages(self.connection, inside)
        choice = partial(
            choose,
            matches=store.estimated_matches(self.connection, inside),
            population=population,
            total=max(reading.messages, population),
        )
        way = choice(rank_limit=self.query.rank_limit)
        if way.window is None or store.newest_are_near(self.connection, inside, window=way.window):
            return way
        return choice(rank_limit=None)


def _within(scope: store.Scope, block: Block) -> store.Scope:
    since = max((t for t in (scope.since, block.floor) if t), default=None)
    until = min((t for t in (scope.until, block.ceiling) if t), default=None)
    return replace(scope, since=since, until=until)


def _answer(search: _Search, block: Block, page: store.Candidates, digest: str) -> SearchAnswer:
    keys = page.keys[: search.query.limit]
    return SearchAnswer(
        hits=hits_of(search.connection, search.scope.text, keys),
        next=_next(search, block, page, digest),
        total_at_least=block.seen + page.ranked,
        capped=block.partial,
        note=_note(block, page.ranked) if block.partial else None,
    )


def hits_of(connection: Connection, words: str, keys: Sequence[store.Key]) -> tuple[Hit, ...]:
    """Return what a reader sees at these places; what was taken away meanwhile is left out."""
    rows = store.found(connection, words, [key.id for key in keys])
    return tuple(_hit(rows[key.id], key) for key in keys if key.id in rows)


def _next(search: _Search, block: Block, page: store.Candidates, digest: str) -> str | None:
    limit = search.query.limit
    if len(page.keys) > limit:
        return encode(Cursor(block, page.keys[limit - 1]), digest)
    if block.floor is not None:
        return encode(Cursor(Block(ceiling=block.floor, seen=block.seen + page.ranked)), digest)
    return None


def _note(block: Block, ranked: int) -> str:
    span = " and ".join(
        f"{word} {moment:%Y-%m-%d %H:%M} UTC"
        for word, moment in (("since", block.floor), ("before", block.ceiling))
        if moment
    )
    return (
        f"Too many messages match to rank them all at once: these are the best of the {ranked:,} "
        f"matches {span}. More words or less time rank them all; the next pages go back in time."
    )


def _hit(row: store.Found, key: store.Key) -> Hit:
    return Hit(
        id=row.id,
        conversation_id=row.conversation_id,
        customer_id=row.customer_id,
        lead=row.lead,
        customer=row.customer and shown(row.customer),
        role=Role(row.role),
        kind=MessageKind(row.kind),
        channel=Channel(row.channel),
        author=row.author and shown(row.author),
        created_at=key.created_at,
        score=key.score,
        snippet=fragments(row.marked),
    )


def scope_of(query: SearchQuery) -> store.Scope:
    """Check a query, and put it in the words of the store."""
    words = clean_text(query.text)[0].strip()
    if not words:
        raise Unanswerable('Say what to look for, for example: quote -mattress "hot tub".')
    if len(words) > MAX_QUERY_CHARS:
        raise UsageError(f"A query has at most {MAX_QUERY_CHARS} characters.")
    if not 1 <= query.limit <= MAX_LIMIT:
        raise UsageError(f"A page has 1 to {MAX_LIMIT} hits, not {query.limit}.")
    if query.rank_limit is not None and query.rank_limit < 1:
        raise UsageError("The number of matches to rank counts from 1.")
    require_zones(query.since, query.until)
    lead = None if query.lead is None else uuid.UUID(bytes=lead_id(clean_text(query.lead)[0]))
    return store.Scope(
        text=words,
        role=query.role,
        kind=query.kind,
        channel=query.channel,
        customer_id=query.customer_id,
        lead_id=lead,
        since=query.since,
        until=query.until,
    )


def require_zones(*moments: datetime | None) -> None:
    """Raise UsageError for a moment that could be anywhere on earth."""
    for moment in moments:
        if moment is not None and moment.tzinfo is None:
            raise UsageError("A time needs its zone, for example 2026-01-31T12:00:00Z.")


def _readable(reading: store.Reading) -> store.Reading:
    if not reading.words:
        raise Unanswerable(
            "The query has only words that are in nearly every sentence: add one that says more."
        )
    if reading.needed in {"", "T"}:
        raise Unanswerable(ONLY_LEAVES_OUT)
    return reading
