"""What a long journey tells of itself while it goes on."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """A step under way: `done` of `total` records (None: not known yet) after `seconds`.

    `before` of them were done before these seconds began: a run that goes on does not start anew.
    """

    step: str
    done: int
    total: int | None
    seconds: float
    before: int = 0

    @property
    def rate(self) -> float:
        """Records a second so far."""
        return (self.done - self.before) / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left at the rate so far, None while nothing can honestly be said."""
        if self.total is None or self.rate <= 0:
            return None
        return max(self.total - self.done, 0) / self.rate


Listener = Callable[[Progress], None]


@dataclass
class Stopwatch:
    """Times the steps of a run and passes their progress on."""

    listener: Listener | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    _step: str = ""
    _total: int | None = None
    _before: int = 0
    _started: float = 0.0

    def begin(self, step: str, total: int | None = None) -> None:
        """Begin a step, ending the one before."""
        self.end()
        self._step, self._total, self._started = step, total, self.clock()
        self.go_on_from(0)

    def go_on_from(self, done: int) -> None:
        """Report that so many records of the step were done before it began."""
        self._before = done
        self.tell(done)

    def tell(self, done: int) -> None:
        """Report that so many records of the step are done."""
        if self.listener and self._step:
            elapsed = self.clock() - self._started
            self.listener(Progress(self._step, done, self._total, elapsed, self._before))

    def end(self) -> None:
        """End the step and keep its seconds."""
        if self._step:
            spent = self.clock() - self._started
            self.seconds[self._step] = self.seconds.get(self._step, 0.0) + spent
            self._step = ""
