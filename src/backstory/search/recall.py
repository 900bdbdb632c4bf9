"""Recall inside one customer: all of the customer's messages are ranked together for a question.

Deterministic, and each hit tells the parts of its score. Only rows of the one customer are read.
Up to LARGE messages all are scored here; of more, those that the database found best by their
words and their meaning, with their neighbours.
"""

import math
import uuid
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import Connection

from backstory.errors import UsageError
from backstory.extract.parse import clean_text
from backstory.model import Embedder, Embedders, SearchMode
from backstory.search.embed_question import meant
from backstory.search.recall_question import Question, read_question
from backstory.search.recall_score import K1, REACH, B, Corpus, Ranking, frequencies
from backstory.store import recall as store

MAX_QUERY_CHARS = 4_000
MAX_K = 100
# More words than that are no question; the longest are the rarest.
_MAX_WORDS = 64
# A customer with more messages is ranked by the database first.
LARGE = 5_000
# So many of them are looked at with their neighbours.
_FINALISTS = 200
# Messages that hardly differ in meaning say nothing by it.
_NO_DEVIATION = 1e-6
# So many of the best by words and place are read as texts at most, or twice as many as are wanted.
_SHORTLIST = 60
# Two sums of the same numbers in another order differ by less than this, and are equal.
_ROUNDING, _DIGITS = 1e-8, 9


@dataclass(frozen=True)
class RecallHit:
    """A message that matters for the question; `parts` add up to `score`, the largest first."""

    message_id: uuid.UUID
    conversation_id: uuid.UUID
    created_at: datetime
    score: float
    parts: Mapping[str, float]
    words: tuple[str, ...]
    content: str
    attachment_text: str | None

    @property
    def why(self) -> str:
        """The parts in words, as `nearby 3.10, words 2.21 (adopt, agenc), speaker 1.60`."""
        held = f" ({', '.join(self.words)})" if self.words else ""
        return ", ".join(
            f"{name} {value:.2f}{held if name == 'words' else ''}"
            for name, value in self.parts.items()
        )


@dataclass(frozen=True)
class TextMatch:
    """What a text that is no message is worth, on the scale of the hits, and the words it has."""

    score: float
    words: tuple[str, ...]


@dataclass(frozen=True)
class Recalled:
    """The hits, best first; `ranked` is how many messages the customer has.

    `mode` is how they were ranked, and `note` says why not by meaning although a model was given.
    `beside` has a match for each other text that was given, in their order.
    """

    hits: tuple[RecallHit, ...]
    ranked: int
    mode: SearchMode
    note: str | None = None
    beside: tuple[TextMatch, ...] = ()


def recall(
    connection: Connection,
    customer_id: uuid.UUID,
    query: str,
    *,
    k: int = 10,
    embedder: Embedder | None = None,
    embedders: Embedders | None = None,
    mode: SearchMode | None = None,
    now: datetime | None = None,
    beside: Sequence[str] = (),
    spoken: bool = False,
    talk: store.Talk | None = None,
) -> Recalled:
    """Return the `k` messages of one customer that matter most for a question or a remark.

    With the `embedder` of the model that serves, or `embedders` among which it is, meaning counts
    beside the words; `mode` wants words alone, meaning alone or both, and without one it is what
    can be had. `now` is what "yesterday" in the question is counted from. Other texts of the
    customer (notes, jobs, addresses) are ranked `beside` them, by their words: each counts as a
    conversation of one message, and words are as rare as they are in the messages and these texts
    together. The `talk` that is going on is neighbours, and no hits, and with `spoken` so are
    events; what told an agent how to behave (text of the system) is neither. Raises UsageError for
    a `k`, a query or a mode that cannot be; a customer who never spoke of it has no hits.
    """
    text = _checked(query, k)
    mode, meaning, note = meant(connection, text, mode=mode, embedder=embedder, embedders=embedders)
    story = store.story(
        connection,
        customer_id,
        text,
        beside=beside,
        meaning=meaning,
        talk=talk,
        most=LARGE,
        most_words=_MAX_WORDS,
    )
    now = now or datetime.now(UTC)
    asked = _Asked.of(connection, customer_id, text, story, now=now, meaning=meaning, talk=talk)
    ranking, turns, frequency = asked.ranking(connection, by_words=mode is not SearchMode.SEMANTIC)
    shortlist = _shortlist(ranking, k, spoken=spoken)
    numbers = [number for _, number in shortlist]
    texts = store.texts(connection, customer_id, turns, numbers) if numbers else {}
    best = _best(ranking, turns, shortlist, texts, k)
    hits = tuple(_hit(ranking, turns, number, looks, texts[number]) for number, looks in best)
    return Recalled(hits, asked.messages, mode, note, asked.matches(frequency))


def _shortlist(ranking: Ranking, k: int, *, spoken: bool) -> list[tuple[float, int]]:
    """Return scores and numbers of the turns whose texts have to be looked at.

    One that cannot come among the first `k` whatever it looks like is none of them.
    """
    best = ranking.best(max(_SHORTLIST, 2 * k), spoken=spoken)
    least = best[k - 1][0] - ranking.most_look - _ROUNDING if len(best) > k else -math.inf
    return [(score, number) for score, number in best if score >= least]


def _best(
    ranking: Ranking,
    turns: store.Columns,
    shortlist: Iterable[tuple[float, int]],
    texts: Mapping[int, store.Said],
    k: int,
) -> list[tuple[int, dict[str, float]]]:
    """Return the best `k`, and what they look like; of equals the latest, then by id."""
    final: list[tuple[float, float, bytes, int]] = []
    looks: dict[int, dict[str, float]] = {}
    enough, most_look = -math.inf, ranking.most_look
    for score, number in shortlist:
        # What comes now is worth less and less; what was taken away meanwhile is in no texts.
        if score + most_look < enough - _ROUNDING:
            break
        if number in texts:
            looks[number] = ranking.looks(number, texts[number].content)
            whole = round(score + sum(looks[number].values()), _DIGITS)
            insort(final, (-whole, -turns.moments[number], turns.key(number), number))
            enough = -final[k - 1][0] if len(final) >= k else enough
    return [(number, looks[number]) for *_, number in final[:k]]


@dataclass(frozen=True)
class _Asked:
    """A question to one customer's messages: what is looked for, and how much there is.

    `turns` are all of them, None if there are too many; `cosines` how near these are in meaning.
    """

    question: Question
    wanted: store.Wanted
    messages: int
    mean_length: float
    beside: Sequence[Sequence[str]]
    turns: store.Columns | None
    cosines: Mapping[bytes, float]
    meaning: store.Meaning | None

    @classmethod
    def of(
        cls,
        connection: Connection,
        customer_id: uuid.UUID,
        text: str,
        story: store.Story,
        *,
        now: datetime,
        meaning: store.Meaning | None,
        talk: store.Talk | None,
    ) -> "_Asked":
        """Read the question as the index and the customer's authors make of it."""
        turns, names = story.turns, story.names
        if turns is None:
            authors = store.authors(connection, customer_id)
            names = {author.name: author.words for author in authors if author.name}
            messages = sum(author.messages for author in authors)
            length = sum(author.length for author in authors)
        else:
            messages, length = len(turns.lengths), sum(turns.lengths)
        question = read_question(text, story.asked, authors=names, now=now)
        if turns is not None:
            turns = turns.asked_for(story.asked, question.words).heard(question.speaker)
        wanted = store.Wanted(customer_id, question.words, question.speaker, talk)
        return cls(
            question,
            wanted,
            messages,
            mean_length=length / max(messages, 1),
            beside=story.beside,
            turns=turns,
            cosines=story.cosines,
            meaning=meaning,
        )

    def ranking(
        self, connection: Connection, *, by_words: bool
    ) -> tuple[Ranking, store.Columns, Mapping[str, int]]:
        """Score the turns of the customer: all of them, or the best with their neighbours.

        Returns them too, and how many messages have each word.
        """
        if self.turns is not None:
            turns = self.turns
            frequency: Mapping[str, int] = frequencies(turns, self.question.words)
            meanings = self._deviations(turns, self.cosines)
        else:
            turns, frequency, meanings = self._of_many(connection)
        if not by_words:
            turns = replace(turns, postings=[])
        return Ranking(turns, self.question, self._corpus(frequency), meanings), turns, frequency

    def _of_many(
        self, connection: Connection
    ) -> tuple[store.Columns, Mapping[str, int], list[float]]:
        """Return the best turns with their neighbours, the frequencies, and their meanings."""
        best = self._best(connection)
        ids = [*best.ids, *self._others(connection)]
        nearest = self._nearest(connection)
        ids += nearest.ids if nearest else []
        turns = store.turns_around(connection, self.wanted, ids, reach=REACH)
        turns = turns.heard(self.question.speaker)
        if nearest is None or self.meaning is None:
            return turns, best.frequency, []
        every = [turns.id(number) for number in range(len(turns.moments))]
        cosines = store.cosines(connection, self.wanted, self.meaning, every)
        return turns, best.frequency, self._deviations(turns, cosines, nearest)

    @property
    def _finalists(self) -> int:
        """How many are looked at with their neighbours: half by words, half by meaning."""
        return _FINALISTS if self.meaning is None else _FINALISTS // 2

    def _nearest(self, connection: Connection) -> store.Nearest | None:
        if self.meaning is None:
            return None
        return store.best_by_meaning(connection, self.wanted, self.meaning, limit=self._finalists)

    def _deviations(
        self,
        turns: store.Columns,
        cosines: Mapping[bytes, float],
        all_of: store.Nearest | None = None,
    ) -> list[float]:
        """Return how near each turn is in meaning, in standard deviations over all messages.

        One that is not embedded yet is as near as any.
        """
        if self.meaning is None:
            return []
        if all_of is None:
            count = max(len(cosines), 1)
            mean = math.fsum(cosines.values()) / count
            deviation = math.sqrt(math.fsum((c - mean) ** 2 for c in cosines.values()) / count)
        else:
            mean, deviation = all_of.mean, all_of.deviation
        scale = 1 / deviation if deviation > _NO_DEVIATION else 0.0
        keys = map(turns.key, range(len(turns.moments)))
        return [(cosines.get(key, mean) - mean) * scale for key in keys]

    def matches(self, found: Mapping[str, int]) -> tuple[TextMatch, ...]:
        """Score the texts that are no messages; `found` is how many messages have each word."""
        held = [frozenset(text) for text in self.beside]
        frequency = {
            word: found.get(word, 0) + sum(word in text for text in held)
            for word in self.question.words
        }
        turns = store.Columns(
            ids=bytes(16 * len(held)),
            moments=[0.0] * len(held),
            lengths=[len(text) for text in self.beside],
            flags=[int(store.TurnFlag.OPENS)] * len(held),
            authors=[None] * len(held),
            roles=[""] * len(held),
            postings=[
                (number, place)
                for number, text in enumerate(held)
                for place, word in enumerate(self.question.words)
                if word in text
            ],
        )
        ranking = Ranking(turns, self.question, self._corpus(frequency))
        return tuple(
            TextMatch(sum(ranking.parts(number).values()), ranking.words_in(number))
            for number in range(len(held))
        )

    def _corpus(self, frequency: Mapping[str, int]) -> Corpus:
        return Corpus(self.messages, self.mean_length, frequency)

    def _best(self, connection: Connection) -> store.Best:
        return store.best_by_words(
            connection,
            self.wanted,
            limit=self._finalists,
            messages=self.messages,
            mean_length=max(self.mean_length, 1.0),
            k1=K1,
            b=B,
        )

    def _others(self, connection: Connection) -> list[uuid.UUID]:
        """Return messages that the question points to otherwise than by words."""
        found: list[uuid.UUID] = []
        anyone = replace(self.wanted, speaker=None)
        for span in self.question.spans:
            limit = _FINALISTS // len(self.question.spans)
            found += store.latest(
                connection, anyone, limit=limit, since=span.since, until=span.until
            )
        if not self.question.words and self.question.speaker:
            found += store.latest(connection, self.wanted, limit=_FINALISTS)
        return found


def _checked(query: str, k: int) -> str:
    text = clean_text(query)[0].strip()
    if not text:
        raise UsageError("There is nothing to recall by: give the question or the latest words.")
    if not 1 <= k <= MAX_K:
        raise UsageError(f"k goes from 1 to {MAX_K}.")
    return text[:MAX_QUERY_CHARS]


def _hit(
    ranking: Ranking,
    turns: store.Columns,
    number: int,
    looks: dict[str, float],
    said: store.Said,
) -> RecallHit:
    parts = ranking.parts(number) | looks
    return RecallHit(
        message_id=turns.id(number),
        conversation_id=said.conversation_id,
        created_at=said.created_at,
        score=sum(parts.values()),
        parts=dict(sorted(parts.items(), key=lambda part: (-abs(part[1]), part[0]))),
        words=ranking.words_in(number),
        content=said.content,
        attachment_text=said.attachment_text,
    )
