"""What a long journey tells of itself: the rate of what it does now, and an end if one is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.runs.progress import Progress, Stopwatch


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_counts_what_was_done_since_the_step_began_and_the_end_follows_from_it() -> None:
    told = Progress("write", done=500, total=1700, seconds=4.0, before=100)
    assert told.rate == 100.0
    assert told.eta_seconds == 12.0


@pytest.mark.parametrize(
    "told",
    [
        Progress("read", done=500, total=None, seconds=4.0),
        Progress("write", done=100, total=200, seconds=4.0, before=100),
        Progress("write", done=0, total=200, seconds=0.0),
    ],
)
def test_no_end_is_told_that_nobody_knows(told: Progress) -> None:
    assert told.eta_seconds is None


def test_more_than_was_expected_is_no_time_before_now() -> None:
    assert Progress("write", done=300, total=200, seconds=1.0).eta_seconds == 0.0


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.integers(0, 10**9), st.floats(0.001, 10**6))
def test_at_the_rate_so_far_the_rest_takes_as_long_as_is_told(
    before: int, more: int, left: int, seconds: float
) -> None:
    total = before + more + left
    told = Progress("write", before + more, total, seconds, before=before)
    assert told.eta_seconds is not None
    assert told.rate * told.eta_seconds == pytest.approx(left)


def test_a_stopwatch_adds_up_the_seconds_of_each_step() -> None:
    clock = Clock()
    watch = Stopwatch(seconds={"read": 5.0}, clock=clock)
    for step, spent in (("link", 1.0), ("read", 2.0), ("write", 4.0), ("read", 0.5)):
        watch.begin(step)
        clock.now += spent
    watch.end()
    watch.end()
    clock.now += 100
    assert watch.seconds == {"link": 1.0, "read": 7.5, "write": 4.0}


def test_a_stopwatch_tells_how_far_the_step_is_and_nothing_between_two() -> None:
    clock, heard = Clock(), []
    watch = Stopwatch(heard.append, clock=clock)
    watch.tell(7)
    watch.begin("write", total=100)
    watch.go_on_from(20)
    clock.now += 2
    watch.tell(60)
    watch.end()
    watch.tell(99)
    assert heard == [
        Progress("write", 0, 100, 0.0),
        Progress("write", 20, 100, 0.0, before=20),
        Progress("write", 60, 100, 2.0, before=20),
    ]
    assert (heard[-1].rate, heard[-1].eta_seconds) == (20.0, 2.0)
