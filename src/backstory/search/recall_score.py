"""Scores the messages of one customer against a question; pure, and every part of it has a name.

A message is worth what it says itself (BM25 over the customer's own messages), what its neighbours
in the conversation say, and what it looks like: who speaks, whether it answers a question asked in
these words, whether it holds a time where a time is wanted. `docs/decisions/0012` says where the
weights come from.
"""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from operator import mul

from backstory.search.recall_question import Question
from backstory.store.recall import Columns, TurnFlag

K1 = 0.9
B = 0.4
# A pause longer than this ends a stretch: what lies on both sides are no neighbours.
PAUSE = timedelta(hours=6).total_seconds()
# What a word counts that stands so many messages before (positive) or behind a message.
DECAY = {0: 1.0, 1: 0.9, 2: 0.6, 3: 0.4, 4: 0.3, -1: 0.6, -2: 0.4, -3: 0.2}
REACH = max(DECAY)
# What counts more comes later, and stays.
_RISING = sorted(DECAY.items(), key=lambda step: step[1])
_NEAR_SCALE = 5.0

# What each part counts. `date` is kept at half of what was best: a date may be an appointment's
# rather than the message's.
BY_PLACE = {
    "words": 0.2,  # BM25 of the question's words in the message
    "nearby": 0.82,  # the share of the question's words in it or near it, by rarity
    "answer": 0.16,  # BM25 of the message before it, if that one asks
    "topic": 0.23,  # BM25 of the best message in the stretch
    "speaker": 1.6,  # written by the one the question names
    "date": 2.0,  # written when the question says
    "asks": -0.55,  # ends with a question
    "replies": 0.36,  # the message before it ends with a question
}
# In standard deviations of the customer's messages.
BY_MEANING = {
    "meaning": 0.5,  # how near the message is to the question
    "meaning before": 0.25,  # how near the message before it is
    "meaning behind": 0.12,  # and the one behind it
    "meaning around": 0.3,  # the mean of its stretch
}
# A message this near has to do with the question though it shares no word with it.
_NEAR = 1.0
BY_LOOK = {
    "time": 1.1,  # words of time, where the question wants a time
    "number": 0.9,  # a number, where it wants one
    "name": 1.6,  # a name or a title, where it wants one
    "names": 0.3,  # names and titles, up to two
    "of oneself": 0.6,  # the one the question names speaks of himself
}
_PLACE_WEIGHTS = tuple(BY_PLACE.values())
_MEANING_WEIGHTS = tuple(BY_MEANING.values())
# As plain numbers: an enum takes a microsecond for what is asked thousands of times a call.
_OPENS, _APART, _ASKS, _ENDS_ASKING, _SPEAKS, _EVENT, _TALK = (flag.value for flag in TurnFlag)
# The lower flags, up to the last that counts in a turn's own score.
_LOWER = 2 * _SPEAKS - 1

# These two are for texts in small letters: to ignore the case costs three times as much.
_TIMES = re.compile(
    r"\b(?:yesterday|today|tonight|tomorrow|ago|last|next|since|recently|just"
    r"|this (?:week|month|year|morning|weekend|summer|past)|weeks?|weekend|months?|years?"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march|april|may|june|july"
    r"|august|september|october|november|december|\d{4})\b"
)
_NUMBERS = re.compile(
    r"\b(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|couple|few|several|dozen|once"
    r"|twice)\b"
)
# What stands before a capital is looked at behind it, so that a capital is looked for first.
_NAMES = re.compile(r'["A-Z](?:(?<=")|(?<=[a-z,] [A-Z])[a-z]+)')
_PROPER = re.compile(r"[A-Z](?<=[a-z,;:)] [A-Z])[a-z]{2,}")
_FIRST_PERSON = re.compile(r"\b(?:I|I'm|I've|I'll|my|we|we're|our|me|mine)\b")


@dataclass(frozen=True)
class Corpus:
    """What words are worth in a customer: messages, their mean length, messages with a word."""

    messages: int
    mean_length: float
    frequency: Mapping[str, int]

    def rarity(self, word: str) -> float:
        """Return BM25's inverse document frequency of a word, 0 for one that nobody says."""
        frequency = self.frequency.get(word, 0)
        if not frequency:
            return 0.0
        return math.log(1 + (self.messages - frequency + 0.5) / (frequency + 0.5))

    def density(self, length: int) -> float:
        """Return what BM25 multiplies a word's rarity with in a text of this length.

        A word counts once however often it occurs: in messages that made no difference.
        """
        return (K1 + 1) / (1 + K1 * (1 - B + B * length / max(self.mean_length, 1.0)))


class Ranking:
    """The turns of a customer against one question, scored by words, places and meaning.

    `meanings` are how near each turn is to the question, in standard deviations; empty without a
    model.
    """

    def __init__(
        self,
        turns: Columns,
        question: Question,
        corpus: Corpus,
        meanings: Sequence[float] = (),
    ) -> None:
        self._turns = turns
        self._meanings = meanings
        self._question = question
        self._rarity = [corpus.rarity(word) for word in question.words]
        self._where = _by_word(turns, len(question.words))
        self._stretch, self._run = _stretches(turns)
        self._words = self._bm25(corpus)
        self._nearby = self._spread()
        self._topic = self._tops()
        self._dated = question.time_weights(turns.moments)
        self._around = self._means()

    def best(self, limit: int, *, spoken: bool = False) -> list[tuple[float, int]]:
        """Return scores and numbers of the best turns; of equals the latest, then by id.

        None of them is of the talk that is going on, and with `spoken` none is an event.
        """
        moments, ids, flags = self._turns.moments, self._turns.ids, self._turns.flags
        passed_over = _TALK | _EVENT if spoken else _TALK
        ordered = sorted(
            (-score, -moments[number], ids[16 * number : 16 * number + 16], number)
            for score, number in self._scores()
            if not flags[number] & passed_over
        )
        return [(-score, number) for score, _, _, number in ordered[:limit]]

    def parts(self, number: int) -> dict[str, float]:
        """Return the parts of a turn's score by words, place and meaning, weighted."""
        parts = _weighted(BY_PLACE, self._values(number))
        if self._meanings:
            parts |= _weighted(BY_MEANING, self._meaning(number))
        return parts

    @property
    def most_look(self) -> float:
        """The most that the looks of a text can add to a score."""
        asked = self._question
        most = (2 * asked.wants_time, asked.wants_number, asked.wants_name, 2, bool(asked.speaker))
        return math.fsum(map(mul, BY_LOOK.values(), most))

    def looks(self, number: int, content: str) -> dict[str, float]:
        """Return the parts of a turn's score by what its text looks like, weighted."""
        asked = self._question
        speaks = self._turns.flags[number] & _SPEAKS
        small = content.lower() if asked.wants_time or asked.wants_number else ""
        values = (
            min(2, len(_TIMES.findall(small))) if asked.wants_time else 0,
            asked.wants_number and _NUMBERS.search(small) is not None,
            asked.wants_name and _NAMES.search(content) is not None,
            min(2, len(set(_PROPER.findall(content)))),
            speaks and _FIRST_PERSON.search(content) is not None,
        )
        return _weighted(BY_LOOK, map(float, values))

    def words_in(self, number: int) -> tuple[str, ...]:
        """Return the question's words that a turn holds."""
        held = zip(self._question.words, self._where, strict=True)
        return tuple(word for word, where in held if number in where)

    def _grounded(self) -> Iterable[int]:
        """Return the turns that have anything to do with the question."""
        if self._question.words:
            meant = [number for number, near in enumerate(self._meanings) if near >= _NEAR]
            return {*self._nearby, *self._dated, *meant}
        speaking = (n for n, f in enumerate(self._turns.flags) if f & _SPEAKS)
        return {*self._dated, *speaking}

    def _scores(self) -> Iterator[tuple[float, int]]:
        """Yield the scores of the turns that have to do with the question.

        The sum of what `parts` tells, at a tenth of the price.
        """
        words, nearby, answer, topic, speaker, date, asks, replies = _PLACE_WEIGHTS
        own = [
            speaker * bool(f & _SPEAKS) + asks * bool(f & _ENDS_ASKING) for f in range(_LOWER + 1)
        ]
        flags, run, stretch = self._turns.flags, self._run, self._stretch
        said, near, tops, dated = self._words, self._nearby, self._topic, self._dated
        for number in self._grounded():
            score = words * said[number] + nearby * near.get(number, 0.0)
            score += own[flags[number] & _LOWER] + topic * tops[stretch[number]]
            if number and flags[number - 1] & _ASKS and run[number - 1] == run[number]:
                score += answer * said[number - 1]
                score += replies * bool(flags[number - 1] & _ENDS_ASKING)
            if dated:
                score += date * dated.get(number, 0.0)
            if self._meanings:
                score += sum(map(mul, _MEANING_WEIGHTS, self._meaning(number)))
            yield score, number

    def _values(self, number: int) -> tuple[float, ...]:
        """Return the unweighted parts of a turn by words and place, in the order of BY_PLACE."""
        flags = self._turns.flags
        before = flags[number - 1] if number and self._run[number - 1] == self._run[number] else 0
        return (
            self._words[number],
            self._nearby.get(number, 0.0),
            self._words[number - 1] if before & _ASKS else 0.0,
            self._topic[self._stretch[number]],
            1.0 if flags[number] & _SPEAKS else 0.0,
            self._dated.get(number, 0.0),
            1.0 if flags[number] & _ENDS_ASKING else 0.0,
            1.0 if before & _ENDS_ASKING else 0.0,
        )

    def _meaning(self, number: int) -> tuple[float, ...]:
        """Return the unweighted parts of a turn by meaning, in the order of BY_MEANING."""
        if not self._meanings:
            return ()
        near, run = self._meanings, self._run
        here = run[number]
        return (
            near[number],
            near[number - 1] if run[number - 1] == here else 0.0,
            near[number + 1] if run[number + 1] == here else 0.0,
            self._around[self._stretch[number]],
        )

    def _means(self) -> list[float]:
        """Return the mean meaning of each stretch."""
        if not self._meanings:
            return []
        sums, counts = [0.0] * len(self._topic), [0] * len(self._topic)
        for stretch, near in zip(self._stretch, self._meanings, strict=True):
            sums[stretch] += near
            counts[stretch] += 1
        return [total / count for total, count in zip(sums, counts, strict=True)]

    def _bm25(self, corpus: Corpus) -> list[float]:
        """Return what each turn's own words are worth."""
        found, lengths = [0.0] * len(self._turns.lengths), self._turns.lengths
        for rarity, where in zip(self._rarity, self._where, strict=True):
            for turn in where:
                found[turn] += rarity * corpus.density(lengths[turn])
        return found

    def _tops(self) -> list[float]:
        """Return what the best turn of each stretch is worth by its words."""
        found = [0.0] * (self._stretch[-1] + 1 if self._stretch else 0)
        for turn in {turn for where in self._where for turn in where}:
            stretch = self._stretch[turn]
            found[stretch] = max(found[stretch], self._words[turn])
        return found

    def _spread(self) -> dict[int, float]:
        """Return the share of the question's words that stand in or near a turn, by rarity."""
        total = math.fsum(self._rarity)
        run, found = self._run, dict[int, float]()
        for rarity, where in zip(self._rarity, self._where, strict=True):
            held: dict[int, float] = {}
            for step, decay in _RISING:
                for turn in where:
                    if run[turn + step] == run[turn]:
                        held[turn + step] = decay
            share = _NEAR_SCALE * rarity / total if total else 0.0
            for turn, decay in held.items():
                found[turn] = found.get(turn, 0.0) + share * decay
        return found


def _by_word(turns: Columns, words: int) -> list[set[int]]:
    """Return for each word the turns that have it."""
    where: list[set[int]] = [set() for _ in range(words)]
    for turn, word in turns.postings:
        where[word].add(turn)
    return where


def _stretches(turns: Columns) -> tuple[list[int], list[int]]:
    """Return for each turn the numbers of its stretch, and of its run of true neighbours.

    A stretch is of one conversation, without a long pause. A run ends besides where turns between
    two listed ones were not read. Behind the runs stand some that are nobody's, so that a place
    before the first turn or behind the last is in no run.
    """
    moments = turns.moments
    ends = {n for n, flag in enumerate(turns.flags) if flag & _OPENS}
    ends.update(n for n, (then, now) in enumerate(pairwise(moments), 1) if now - then > PAUSE)
    apart = ends.union(n for n, flag in enumerate(turns.flags) if flag & _APART)
    return _numbered(ends, len(moments)), [*_numbered(apart, len(moments)), *[-1] * REACH]


def _numbered(starts: Collection[int], count: int) -> list[int]:
    """Return for each of `count` places how many starts are before it or at it, from 0 on."""
    found: list[int] = []
    for number, (start, end) in enumerate(pairwise([*sorted({0, *starts}), count])):
        found += [number] * (end - start)
    return found


def _weighted(weights: Mapping[str, float], values: Iterable[float]) -> dict[str, float]:
    return {
        name: weight * value
        for (name, weight), value in zip(weights.items(), values, strict=True)
        if value
    }


def frequencies(turns: Columns, words: Sequence[str]) -> dict[str, int]:
    """Return how many of the turns have each word."""
    found = [0] * len(words)
    for _, word in turns.postings:
        found[word] += 1
    return dict(zip(words, found, strict=True))
