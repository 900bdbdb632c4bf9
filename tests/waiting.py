"""Waits for a state, however slow the machine is."""

import time
from collections.abc import Callable


def until(holds: Callable[[], object], *, seconds: float = 60) -> None:
    """Return as soon as it holds; fail if that has not come in so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.01)
