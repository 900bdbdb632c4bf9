"""Shows how far a long work is: a bar on a terminal, elsewhere a line now and then."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from backstory.faces.cli.screen import duration
from backstory.runs.progress import Listener, Progress

QUIET_SECONDS = 30.0
"""Without a terminal, work that takes less than this says nothing on the way."""

_ETA_AFTER_SECONDS = 2.0  # a rate of less is a guess


@contextmanager
def shown_progress(console: Console) -> Iterator[Listener]:
    """Yield a listener; its bars are gone when the work has ended."""
    if not console.is_terminal:
        yield _lines(console)
        return
    bars = Bars(
        SpinnerColumn(),
        TextColumn("{task.description:<6}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[told]}"),
        console=console,
        transient=True,
    )
    with bars:
        yield _bars(bars)


def _bars(bars: Bars) -> Listener:
    tasks: dict[str, TaskID] = {}

    def listen(progress: Progress) -> None:
        if progress.step not in tasks:
            for task in tasks.values():
                bars.update(task, visible=False)
            tasks[progress.step] = bars.add_task(progress.step, total=None, told="")
        task = tasks[progress.step]
        bars.update(task, completed=progress.done, total=progress.total, told=told(progress))

    return listen


def _lines(console: Console) -> Listener:
    due = time.monotonic() + QUIET_SECONDS

    def listen(progress: Progress) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + QUIET_SECONDS
            console.print(f"{progress.step}: {told(progress)}", soft_wrap=True)

    return listen


def told(progress: Progress) -> str:
    """Return `12,000 of 216,000 · 24,100/s · 8 s left`, as far as it is known."""
    done = f"{progress.done:,}"
    if progress.total is not None:
        done += f" of {progress.total:,}"
    parts = [done]
    if progress.done:
        parts.append(f"{progress.rate:,.0f}/s")
    if progress.eta_seconds is not None and progress.seconds > _ETA_AFTER_SECONDS:
        parts.append(f"{duration(max(progress.eta_seconds, 1))} left")
    return " · ".join(parts)
