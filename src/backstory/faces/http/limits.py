"""How much one caller may ask for: token buckets, kept in this process."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from time import monotonic

_MOST_KEPT = 10_000


@dataclass(frozen=True)
class Rate:
    """So many requests a second, and so many at once after a rest; 0 a second means no limit."""

    per_second: float
    burst: float

    @classmethod
    def of(cls, per_second: float) -> "Rate":
        """Return a rate that lets two seconds' worth through at once."""
        return cls(per_second, 2 * per_second)


class Buckets:
    """A bucket for each caller; for one thread, the event loop's."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._left: dict[Hashable, tuple[float, float]] = {}

    def wait(self, caller: Hashable, cost: float = 1) -> float:
        """Take from a caller's bucket and return 0, or else the seconds after which it may ask.

        A bucket that is not empty gives whatever is asked, and then owes the rest.
        """
        rate = self._rate
        if rate.per_second <= 0:
            return 0
        now = self._clock()
        left = self._refilled(caller, now)
        if left < 1:
            return (1 - left) / rate.per_second
        self._keep(caller, left - cost, now)
        return 0

    def owe(self, caller: Hashable, cost: float) -> None:
        """Take more for a request that was let through and turned out to be larger."""
        if self._rate.per_second > 0 and cost > 0:
            now = self._clock()
            self._keep(caller, self._refilled(caller, now) - cost, now)

    def _refilled(self, caller: Hashable, now: float) -> float:
        left, at = self._left.get(caller, (self._rate.burst, now))
        return min(self._rate.burst, left + (now - at) * self._rate.per_second)

    def _keep(self, caller: Hashable, left: float, now: float) -> None:
        if len(self._left) >= _MOST_KEPT and caller not in self._left:
            # A full bucket is one that nobody has to remember.
            full = [each for each in self._left if self._refilled(each, now) >= self._rate.burst]
            for each in full:
                del self._left[each]
            if len(self._left) >= _MOST_KEPT:
                del self._left[next(iter(self._left))]
        self._left[caller] = (left, now)
