"""Finds what a customer may mean from before: jobs, contacts, addresses, notes, messages.

Nothing of it may be used before it is confirmed; what was shown is written down, so that only that
can be.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backstory.errors import Refused
from backstory.memory.quoting import plain
from backstory.memory.ranking import Ranking, by_recall
from backstory.memory.telling import Kept
from backstory.memory.weighing import Weighed, weigh
from backstory.model import MemorySource
from backstory.store import memory as store
from backstory.store.binding import Bound

CONCISE_CHARS, DETAILED_CHARS = 160, 500
ID_FORM = re.compile(rf"(?:{'|'.join(MemorySource)})-[0-9a-f]{{16}}")
# Talk is plenty: beside other things no more than this share of the answer is messages.
_MESSAGES_SHARE = 0.6
_WORDS_SHOWN = 5
_WORD_CHARS = 30
_DAY = timedelta(days=1)
_MONTH_DAYS, _YEAR_DAYS = 60, 730


@dataclass(frozen=True)
class Candidate:
    """Something from before that the customer may mean; `score` goes from 0 to 1."""

    candidate_id: str
    source: MemorySource
    summary: str
    address: str | None
    last_interaction: datetime | None
    score: float
    why: str


def fetch(
    bound: Bound, query: str, *, k: int = 5, detailed: bool = False, ranking: Ranking = by_recall
) -> list[Candidate]:
    """Return up to `k` candidates, best first, and write down that they were shown.

    Raises Refused where there is no conversation in which they could be confirmed.
    """
    require_conversation(bound)
    weighed = weigh(bound, query, talk=k, ranking=ranking)
    best = _best([each for each in weighed if not each.kept.of_talk], k)
    found = [_candidate(bound, each, detailed=detailed) for each in best]
    store.remember_shown(bound, [as_shown(each.kept) for each in best])
    return found


def require_conversation(bound: Bound) -> None:
    """Raise Refused if nothing has been said to or by this lead yet."""
    if bound.conversation_id is None:
        raise Refused(
            "no_conversation",
            "There is no conversation with this contact yet, so nothing can be confirmed in it.",
            next_step="Record the customer's message first, then fetch again.",
        )


def as_shown(each: Kept) -> store.Shown:
    """Return what is written down when this is shown: its id is bound to its content."""
    return store.Shown(candidate_id_of(each), each.source, each.id, each.content_hash)


def candidate_id_of(each: Kept) -> str:
    """Return the id under which this is a candidate for as long as its content stays."""
    digest = hashlib.sha256(each.source.encode() + each.id.bytes + each.content_hash)
    return f"{each.source}-{digest.hexdigest()[:16]}"


def _best(weighed: Sequence[Weighed], k: int) -> list[Weighed]:
    """Return the first `k`, with messages beyond their share behind everything else."""
    most = max(1, int(k * _MESSAGES_SHARE))
    said = [each for each in weighed if each.kept.source is MemorySource.MESSAGE]
    late = {id(each) for each in said[most:]}
    return sorted(weighed, key=lambda each: id(each) in late)[:k]


def _candidate(bound: Bound, each: Weighed, *, detailed: bool) -> Candidate:
    return Candidate(
        candidate_id=candidate_id_of(each.kept),
        source=each.kept.source,
        summary=each.kept.told(DETAILED_CHARS if detailed else CONCISE_CHARS),
        address=each.kept.address,
        last_interaction=each.kept.at,
        score=each.score,
        why=_why(each, bound.now),
    )


def _why(each: Weighed, now: datetime) -> str:
    words = ", ".join(plain(word, _WORD_CHARS) for word in each.match.words[:_WORDS_SHOWN])
    reasons = [f"has {words}" if words else "", each.match.hint]
    told = ", ".join(filter(None, reasons)) or "no word in common"
    return f"{told}; {_ago(each.kept.at, now)}"


def _ago(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "of unknown date"
    days = (now - moment) // _DAY
    if days < 1:
        return "today" if days == 0 else "ahead"
    if days < _MONTH_DAYS:
        return "1 day ago" if days == 1 else f"{days} days ago"
    return f"{days // 30} months ago" if days < _YEAR_DAYS else f"{days // 365} years ago"
