"""Weighs everything that a customer may mean against one another: fit, recency and kind."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from backstory.extract.parse import clean_text
from backstory.memory.ranking import Match, Ranked, Ranking, by_recall
from backstory.memory.telling import TALK, Kept, kept, messages
from backstory.model import MemorySource
from backstory.store.binding import Bound

MAX_QUERY_CHARS = 4_000
# What a score is made of; the shares come to 1.
FIT, RECENCY, KIND = 0.6, 0.25, 0.15
HALF_LIFE_DAYS = 120.0
_KINDS = {
    MemorySource.JOB: 1.0,
    MemorySource.ADDRESS: 0.8,
    MemorySource.NOTE: 0.6,
    MemorySource.LEAD: 0.6,
    MemorySource.MESSAGE: 0.3,
}
# Recall has ranked what was said, by its time too where a time is asked for: that it is old speaks
# against a job or an address, and hardly against the words that were meant.
_AGE_MATTERS = {MemorySource.MESSAGE: 0.08}
_MIDDLE_AGED = 0.5
_DAY = timedelta(days=1)
# Who says this means something from before without saying what: the last of its kind, most likely.
_POINTS_BACK = re.compile(
    r"\b(?:same|again|another|as (?:usual|before)|usual|last time|before|previous(?:ly)?|earlier"
    r"|back then|remember|regular)\b",
    re.IGNORECASE,
)
_POINTED_AT = {
    MemorySource.JOB: "job",
    MemorySource.ADDRESS: "address",
    MemorySource.LEAD: "contact",
}
_POINTED_FIT, _LESS_EACH = 0.8, 0.2


@dataclass(frozen=True)
class Weighed:
    """Something kept, how well it fits the question, and what it scores with all else."""

    kept: Kept
    match: Match
    score: float


def weigh(bound: Bound, query: str, *, talk: int, ranking: Ranking = by_recall) -> list[Weighed]:
    """Return what may be meant, best first, equal ones in an order of their own.

    All that is kept of the bound customer, and the best `talk` messages from before this talk.
    """
    asked = clean_text(query)[0][:MAX_QUERY_CHARS]
    things = list(_things(bound))
    texts = [thing.text for thing in things]
    ranked = ranking(bound, asked, texts, most=talk, talk_since=bound.now - TALK)
    matches = ranked.texts
    if _POINTS_BACK.search(asked):
        matches = tuple(_pointed_at(things, matches))
    weighed = [
        Weighed(thing, match, _score(thing.source, thing.at, match, bound.now))
        for thing, match in zip(things, matches, strict=True)
    ]
    return sorted([*weighed, *_messages(bound, ranked, talk)], key=_order)


def _things(bound: Bound) -> Iterator[Kept]:
    for thing in kept(bound):
        # Of the contact that speaks only what is older than this talk, if that says anything.
        if thing.id != bound.lead_id or (thing.address and _is_older(thing, bound)):
            yield thing


def _is_older(lead: Kept, bound: Bound) -> bool:
    return lead.at is None or lead.at < bound.now - TALK


def _pointed_at(things: Sequence[Kept], matches: Sequence[Match]) -> Iterator[Match]:
    """Yield the matches, better where something from before is meant: the latest first."""
    seen = dict.fromkeys(_POINTED_AT, 0)
    for thing, match in zip(things, matches, strict=True):
        if thing.source not in seen or thing.of_talk:
            yield match
            continue
        fit = _POINTED_FIT - _LESS_EACH * seen[thing.source]
        seen[thing.source] += 1
        if fit <= match.fit:
            yield match
        else:
            which = "the last" if seen[thing.source] == 1 else "an earlier"
            yield replace(match, fit=fit, hint=f"{which} {_POINTED_AT[thing.source]}")


def _messages(bound: Bound, ranked: Ranked, most: int) -> Iterator[Weighed]:
    """Yield the best messages; only they are read."""
    scores = {
        key: (_score(MemorySource.MESSAGE, at, match, bound.now), at)
        for key, (at, match) in ranked.messages.items()
    }
    best = sorted(scores, key=lambda key: (-scores[key][0], -scores[key][1].timestamp(), key))
    for said in messages(bound, best[:most]):
        if said.was_said:
            yield Weighed(said, ranked.messages[said.id][1], scores[said.id][0])


def _score(source: MemorySource, at: datetime | None, match: Match, now: datetime) -> float:
    recency = 0.0
    if at is not None:
        recency = 0.5 ** (max((now - at) / _DAY, 0.0) / HALF_LIFE_DAYS)
        recency = _MIDDLE_AGED + _AGE_MATTERS.get(source, 1.0) * (recency - _MIDDLE_AGED)
    return round(FIT * match.fit + RECENCY * recency + KIND * _KINDS[source], 4)


def _order(each: Weighed) -> tuple[float, float, str, UUID]:
    at = each.kept.at
    return -each.score, -at.timestamp() if at else 0.0, each.kept.source, each.kept.id
