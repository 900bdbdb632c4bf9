"""Scores the messages of one customer against a question; pure, and every part of it has a name.

A message is worth what it says itself (BM25 over the customer's own messages), what its neighbours
in the conversation say, and what it looks like: who speaks, whether the question before it was
asked in these words, whether it holds a time where a time is wanted. `docs/decisions/0012` says
where the weights come from.
"""

import math
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backstory.search.recall_question import Question

K1 = 0.9
B = 0.4
# A pause longer than this ends a stretch: what lies on both sides are no neighbours.
PAUSE = timedelta(hours=6)
# What a word counts that stands so many messages before (positive) or behind a message.
DECAY = {0: 1.0, 1: 0.9, 2: 0.6, 3: 0.4, 4: 0.3, -1: 0.6, -2: 0.4, -3: 0.2}
REACH = max(DECAY)
_NEAR_SCALE = 5.0

# What each part counts. The first five are about words and places; `date` is kept at half of what
# was best, because a date may be an appointment's rather than the message's.
WEIGHTS = {
    "words": 0.2,
    "nearby": 0.82,
    "answer": 0.16,
    "topic": 0.23,
    "speaker": 1.6,
    "date": 2.0,
    "asks": -0.55,
    "replies": 0.36,
    "time": 1.1,
    "number": 0.9,
    "name": 1.6,
    "names": 0.3,
    "of oneself": 0.6,
}

_TIMES = re.compile(
    r"\b(?:yesterday|today|tonight|tomorrow|ago|last|next|since|recently|just"
    r"|this (?:week|month|year|morning|weekend|summer|past)|weeks?|weekend|months?|years?"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march|april|may|june|july"
    r"|august|september|october|november|december|\d{4})\b",
    re.IGNORECASE,
)
_NUMBERS = re.compile(
    r"\b(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|couple|few|several|dozen|once"
    r"|twice)\b",
    re.IGNORECASE,
)
_NAMES = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+|\"")
_PROPER = re.compile(r"(?<=[a-z,;:)] )[A-Z][a-z]{2,}")
_FIRST_PERSON = re.compile(r"\b(?:I|I'm|I've|I'll|my|we|we're|our|me|mine)\b")


@dataclass(frozen=True)
class Turn:
    """A message as the ranking sees it; `counts` has the question's words in it, how often each.

    `length` counts the words of the index; `apart` tells that the message before it in the
    conversation is not the one before it in the list. `meaning` is how near it is to the question
    in meaning, in standard deviations over the customer's messages.
    """

    id: uuid.UUID
    conversation_id: uuid.UUID
    created_at: datetime
    speaker: frozenset[str]
    length: int
    asks: bool
    ends_asking: bool
    counts: Mapping[str, int]
    apart: bool = False
    meaning: float | None = None


@dataclass(frozen=True)
class Corpus:
    """What the words of a question are worth: messages, their mean length, messages a word."""

    messages: int
    mean_length: float
    frequency: Mapping[str, int]

    def rarity(self, word: str) -> float:
        """Return BM25's inverse document frequency of a word."""
        frequency = self.frequency.get(word, 0)
        return math.log(1 + (self.messages - frequency + 0.5) / (frequency + 0.5))


@dataclass
class Scored:
    """A message and the parts of its score, each already weighted."""

    turn: Turn
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """The sum of the parts."""
        return math.fsum(self.parts.values())


def words_of(turn: Turn, corpus: Corpus) -> float:
    """Return BM25 of the question's words in a message."""
    norm = K1 * (1 - B + B * turn.length / max(corpus.mean_length, 1.0))
    return math.fsum(
        corpus.rarity(word) * count * (K1 + 1) / (count + norm)
        for word, count in turn.counts.items()
    )


def in_context(turns: Sequence[Turn], question: Question, corpus: Corpus) -> list[dict[str, float]]:
    """Return what each turn is worth by its place among the others, unweighted."""
    words = [words_of(turn, corpus) if turn.counts else 0.0 for turn in turns]
    stretch = _stretches(turns)
    near = _near(turns, question, corpus, stretch)
    best: dict[int, float] = {}
    for place, value in zip(stretch, words, strict=True):
        best[place] = max(best.get(place, 0.0), value)
    found = []
    for number, turn in enumerate(turns):
        linked = number > 0 and stretch[number - 1] == stretch[number] and not turn.apart
        before = turns[number - 1] if linked else None
        found.append(
            {
                "words": words[number],
                "nearby": near[number],
                "answer": words[number - 1] if before is not None and before.asks else 0.0,
                "topic": best[stretch[number]],
                "speaker": float(question.speaker in turn.speaker),
                "date": question.time_weight(turn.created_at),
                "asks": float(turn.ends_asking),
                "replies": float(before is not None and before.ends_asking),
            }
        )
    return found


def in_itself(content: str, turn: Turn, question: Question) -> dict[str, float]:
    """Return what a turn is worth by what its text looks like, unweighted."""
    speaks = float(question.speaker in turn.speaker)
    return {
        "time": min(2.0, len(_TIMES.findall(content))) if question.wants_time else 0.0,
        "number": float(question.wants_number and _NUMBERS.search(content) is not None),
        "name": float(question.wants_name and _NAMES.search(content) is not None),
        "names": min(2.0, len(set(_PROPER.findall(content)))),
        "of oneself": speaks * float(_FIRST_PERSON.search(content) is not None),
    }


def weighted(values: Mapping[str, float]) -> dict[str, float]:
    """Return the parts of a score: values times weights, without those that count nothing."""
    return {name: WEIGHTS[name] * value for name, value in values.items() if value}


def _stretches(turns: Sequence[Turn]) -> list[int]:
    """Return for each turn the number of its stretch: one conversation, without a long pause."""
    numbers, current = list[int](), 0
    for number, turn in enumerate(turns):
        before = turns[number - 1] if number else turn
        if (
            turn.conversation_id != before.conversation_id
            or turn.created_at - before.created_at > PAUSE
        ):
            current += 1
        numbers.append(current)
    return numbers


def _near(
    turns: Sequence[Turn], question: Question, corpus: Corpus, stretch: Sequence[int]
) -> list[float]:
    """Return the share of the question's words that stand in or near each turn, by rarity."""
    rarity = {word: corpus.rarity(word) for word in question.words if corpus.frequency.get(word)}
    total = math.fsum(rarity.values())
    if not total:
        return [0.0] * len(turns)
    nearest: list[dict[str, float]] = [{} for _ in turns]
    for number, turn in enumerate(turns):
        if turn.counts:
            for to, decay in _reached(turns, number, stretch):
                held = nearest[to]
                for word in turn.counts:
                    if held.get(word, 0.0) < decay:
                        held[word] = decay
    return [
        _NEAR_SCALE * math.fsum(rarity.get(w, 0.0) * decay for w, decay in held.items()) / total
        for held in nearest
    ]


def _reached(turns: Sequence[Turn], number: int, stretch: Sequence[int]) -> list[tuple[int, float]]:
    """Return the turns that lie near one, with what its words count there."""
    reached = [(number, DECAY[0])]
    for step in (1, -1):
        to = number + step
        while (decay := DECAY.get(to - number)) and 0 <= to < len(turns):
            if stretch[to] != stretch[number] or turns[to if step > 0 else to + 1].apart:
                break
            reached.append((to, decay))
            to += step
    return reached
