"""The score of a message, without a database: its parts, their sum, and what bounds it."""

import itertools
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backstory.search.recall_question import Question, Span
from backstory.search.recall_score import PAUSE, Corpus, Ranking, frequencies
from backstory.store.recall import Columns, TurnFlag

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WORDS = ("gate", "code", "truck")
# As they come from the database: whatever ends with a question asks one.
FLAGS = [
    sum(each)
    for each in itertools.product(
        (0, TurnFlag.OPENS),
        (0, TurnFlag.APART),
        (0, TurnFlag.ASKS, TurnFlag.ASKS | TurnFlag.ENDS_ASKING),
        (0, TurnFlag.SPEAKS),
    )
]
TURN = st.tuples(
    st.sampled_from(FLAGS),
    st.sampled_from([60, 7 * 3600]),
    st.integers(1, 40),
    st.sets(st.integers(0, len(WORDS) - 1)),
    st.floats(-3, 3),
)


def columns(turns):
    moments = itertools.accumulate((gap for _, gap, *_ in turns), initial=NOON.timestamp())
    return Columns(
        ids=b"".join(uuid.UUID(int=number).bytes for number in range(len(turns))),
        moments=list(moments)[1:],
        lengths=[length for _, _, length, *_ in turns],
        flags=[int(flags) for flags, *_ in turns],
        authors=[None] * len(turns),
        roles=["user"] * len(turns),
        postings=[(number, word) for number, turn in enumerate(turns) for word in turn[3]],
    )


def question(**changes):
    plain = {"speaker": "Ann", "wants_time": False, "wants_number": False, "wants_name": False}
    spans = (Span(NOON + timedelta(hours=6), NOON + timedelta(hours=9), 2.0),)
    return Question(WORDS, **(plain | changes), spans=spans)


def ranking(turns, meanings=()):
    held = columns(turns)
    corpus = Corpus(len(turns), 12.0, frequencies(held, WORDS))
    return held, Ranking(held, question(), corpus, meanings)


@settings(max_examples=60, deadline=None)
@given(st.lists(TURN, max_size=12), st.booleans())
def test_a_score_is_the_sum_of_its_parts_and_the_best_come_first(turns, with_meaning):
    held, ranked = ranking(turns, [near for *_, near in turns] if with_meaning else ())
    best = ranked.best(len(turns))
    for score, number in best:
        assert score == pytest.approx(sum(ranked.parts(number).values()))
    order = [(-score, -held.moments[number], held.key(number)) for score, number in best]
    assert order == sorted(order)
    silent = set(range(len(turns))) - {number for _, number in best}
    assert not any({"words", "nearby", "date"} & ranked.parts(number).keys() for number in silent)


@settings(max_examples=60, deadline=None)
@given(st.lists(TURN, min_size=1, max_size=12))
def test_a_word_counts_as_far_as_its_neighbours_go(turns):
    held, ranked = ranking(turns)
    for number, _ in held.postings:
        for step in (1, 2, 3, 4):
            behind = range(number + 1, number + step + 1)
            if behind[-1] >= len(turns):
                continue
            cut = any(
                held.flags[each] & (TurnFlag.OPENS | TurnFlag.APART)
                or held.moments[each] - held.moments[each - 1] > PAUSE
                for each in behind
            )
            near = ranked.parts(number + step).get("nearby", 0.0)
            assert near or cut


TALK = st.lists(
    st.sampled_from(["I", "in", "Oslo", "Lunch", "last", "week", "2024", "three", '"Dune"', "we"]),
    max_size=12,
).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(TALK, st.booleans(), st.booleans(), st.booleans(), st.sampled_from(["Ann", None]))
def test_no_text_looks_better_than_the_most_that_looks_can_add(text, time, number, name, speaker):
    asked = question(wants_time=time, wants_number=number, wants_name=name, speaker=speaker)
    speaks = int(TurnFlag.OPENS | TurnFlag.SPEAKS) if speaker else int(TurnFlag.OPENS)
    turns = columns([(speaks, 60, 5, {0}, 0.0)])
    ranked = Ranking(turns, asked, Corpus(1, 5.0, {"gate": 1}))
    assert sum(ranked.looks(0, text).values()) <= ranked.most_look + 1e-9


@pytest.mark.parametrize(
    ("wants", "text", "look"),
    [
        ("wants_time", "We met LAST Week", {"time": 2.2}),
        ("wants_time", "Lasting weekends", {}),
        ("wants_number", "THREE of them", {"number": 0.9}),
        ("wants_name", "we went to Oslo", {"name": 1.6, "names": 0.3}),
        ("wants_name", 'called "dune"', {"name": 1.6}),
        ("wants_name", "Oslo is far. Then home.", {}),
        ("wants_name", "with Ann, Bob, Cleo and Dora", {"name": 1.6, "names": 0.6}),
    ],
)
def test_what_looks_like_the_answer(wants, text, look):
    turns = columns([(int(TurnFlag.OPENS), 60, 5, {0}, 0.0)])
    ranked = Ranking(turns, question(**{wants: True}), Corpus(1, 5.0, {"gate": 1}))
    assert ranked.looks(0, text) == pytest.approx(look)
