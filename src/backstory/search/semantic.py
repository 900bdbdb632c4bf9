"""Search over the whole business by meaning, or by words and meaning together.

What is near in meaning comes through an index; filters never make it return less than there is, and
what the query excludes or has in quotes is such a filter.
There are no further pages: order by meaning has no place at which to go on.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection

from backstory.errors import Unanswerable, UsageError
from backstory.model import Embedder, MessageKind, SearchMode
from backstory.search.embed_question import meant
from backstory.search.text import (
    ONLY_LEAVES_OUT,
    Hit,
    SearchAnswer,
    SearchQuery,
    hits_of,
    scope_of,
    search_messages,
)
from backstory.search.wanted import Wanted, wanted
from backstory.store import embeddings as store
from backstory.store.search import Key

# So many of the best by words and by meaning are ranked together.
_CANDIDATES = 100
# What the best match by words is worth beside a cosine; those of one question lie .3 apart or so.
_WORDS = 0.3


class _Found(NamedTuple):
    """A candidate: its place by meaning, and its rank among those that match by words."""

    key: Key
    words: float


def search(
    connection: Connection,
    query: SearchQuery,
    *,
    mode: SearchMode = SearchMode.TEXT,
    embedder: Embedder | None = None,
) -> SearchAnswer:
    """Return the messages that match by words, by meaning, or by both.

    Words behind a minus are in none of them, phrases in quotes in each. Raises UsageError where
    meaning is asked for and no model serves, and for a query that cannot be. By words, it is
    `search_messages`.
    """
    if mode is SearchMode.TEXT:
        return search_messages(connection, query)
    if query.after:
        raise UsageError("A search by meaning has one page: ask for more with --limit.")
    scope = scope_of(query)
    wish = wanted(scope.text)
    if not wish.meant:
        raise Unanswerable(ONLY_LEAVES_OUT)
    _, meaning, _ = meant(connection, wish.meant, embedder=embedder, mode=mode)
    serving = store.serving_model(connection)
    if meaning is None or serving is None:
        raise UsageError("No message has been embedded: `backstory embed` does it.")
    limit = query.limit if mode is SearchMode.SEMANTIC else max(query.limit, _CANDIDATES)
    near = store.nearest(
        connection, scope, meaning.vector, model=serving, limit=limit, demanded=wish.demanded
    )
    if mode is SearchMode.HYBRID:
        near = _with_words(connection, query, near, meaning.vector, serving.name)
    return SearchAnswer(
        hits=hits_of(connection, scope.text, near[: query.limit]),
        next=None,
        total_at_least=len(near),
        capped=True,
        note=_note(query, mode, wish),
    )


def _note(query: SearchQuery, mode: SearchMode, wish: Wanted) -> str:
    """Return in sentences what was looked at."""
    if query.kind is MessageKind.EVENT:
        if mode is SearchMode.SEMANTIC:
            return "Events are not embedded, so none is near in meaning: --mode text finds them."
        return "Events are not embedded: these are found by their words alone."
    told = "Nearest in meaning come first; farther ones are left out."
    if wish.demanded:
        told += " What is quoted is in each of them, what has a minus before it in none."
    return told


def _with_words(
    connection: Connection,
    query: SearchQuery,
    near: Sequence[Key],
    vector: Sequence[float],
    model: str,
) -> list[Key]:
    """Rank what is near in meaning together with what matches by words."""
    matching = _matching(connection, query)
    best = max((hit.score for hit in matching), default=0.0) or 1.0
    found = {key.id: _Found(key, 0.0) for key in near}
    missing = [hit.id for hit in matching if hit.id not in found]
    cosines = store.cosines(connection, vector, missing, model=model)
    for hit in matching:
        cosine = found[hit.id].key.score if hit.id in found else cosines.get(hit.id, 0.0)
        found[hit.id] = _Found(Key(cosine, hit.created_at, hit.id), hit.score / best)
    ranked = [
        each.key._replace(score=each.key.score + _WORDS * each.words) for each in found.values()
    ]
    return sorted(ranked, reverse=True)


def _matching(connection: Connection, query: SearchQuery) -> Sequence[Hit]:
    """Return what matches by words: by all of them, and if those are few by any of them."""
    wide = replace(query, limit=_CANDIDATES)
    try:
        found = search_messages(connection, wide).hits
        if len(found) < query.limit and query.text.replace(" ", "").isalnum():
            any_word = " or ".join(query.text.split())
            found += search_messages(connection, replace(wide, text=any_word)).hits
    except UsageError:
        return ()  # only words that are in nearly every sentence: meaning has to do
    return list({hit.id: hit for hit in reversed(found)}.values())
