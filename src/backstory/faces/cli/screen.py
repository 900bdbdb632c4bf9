"""What an answer looks like: consoles, tables of 80 columns, numbers and times as people read."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

WIDEST = 100
ID: dict[str, Any] = {"min_width": 8, "max_width": 8}
"""The settings of a column of short ids, which are useless when they are cut."""


class Screen(Console):
    """A console that lets the edge decide what a closed pipe means."""

    def on_broken_pipe(self) -> NoReturn:
        """Pass the error on that is being handled."""
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """Return a console on standard output or error; no colour unless it is a terminal."""
    screen = Screen(stderr=stderr, highlight=False, markup=False, emoji=False)
    screen.width = min(screen.width, WIDEST)
    return screen


def show(out: Console, what: RenderableType) -> None:
    """Print `what`; a file or a pipe gets no spaces at the ends of lines."""
    if out.is_terminal:
        out.print(what)
        return
    with out.capture() as captured:
        out.print(what)
    for line in captured.get().splitlines():
        out.file.write(f"{line.rstrip()}\n")


def text(*parts: str | tuple[str, str]) -> Text:
    """Return styled text made of strings and (string, style) pairs."""
    return Text.assemble(*parts)


def heading(title: str, remark: str = "") -> Text:
    """Return the first line of an answer."""
    return text((title, "bold"), (f"  {remark}" if remark else "", "dim"))


def hint(*parts: str | tuple[str, str]) -> Text:
    """Return a dim line; commands in it are (text, "cyan")."""
    return Text.assemble(*parts, style="dim")


def indented(what: RenderableType, by: int = 2) -> Padding:
    """Return `what`, moved to the right."""
    return Padding(what, (0, 0, 0, by), expand=False)


def table(*columns: str | tuple[str, dict[str, Any]], header: bool = True) -> Table:
    """Return an empty table without borders; a column is a title, or (title, its settings)."""
    made = Table(
        box=box.SIMPLE_HEAD if header else None,
        show_header=header,
        show_edge=False,
        pad_edge=False,
        header_style="dim",
        padding=(0, 2, 0, 0),
    )
    for column in columns:
        title, given = (column, {}) if isinstance(column, str) else column
        settings: dict[str, Any] = {"overflow": "ellipsis", "no_wrap": True} | given
        made.add_column(title, **settings)
    return made


def facts(rows: Iterable[tuple[str, RenderableType]]) -> Padding:
    """Return a list of names and values, indented."""
    made = table(
        ("", {"style": "dim", "no_wrap": True}),
        ("", {"no_wrap": False, "overflow": "fold"}),
        header=False,
    )
    for name, value in rows:
        made.add_row(name, value)
    return indented(made)


def bullets(sentences: Sequence[str], mark: str, style: str) -> list[Padding]:
    """Return sentences, each behind a coloured mark and wrapped beside it."""
    lines = []
    for sentence in sentences:
        made = Table.grid(padding=(0, 1))
        made.add_column(style=style, no_wrap=True)
        made.add_column(overflow="fold")
        made.add_row(mark, sentence)
        lines.append(indented(made))
    return lines


def count(number: float) -> str:
    """Return a number with thousands separated."""
    return f"{number:,}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return `3 leads`, `1 lead`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def moment(at: datetime | None) -> str:
    """Return a time in UTC to the minute, as tables show it."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if at else "-"


def duration(seconds: float) -> str:
    """Return seconds as people say them: `7 ms`, `0.42 s`, `1 min 05 s`, `2 h 03 min`."""
    if seconds < 0.1:  # noqa: PLR2004 - a tenth of a second
        return f"{1000 * seconds:.0f} ms"
    if seconds < 10:  # noqa: PLR2004 - below ten, hundredths matter
        return f"{seconds:.2f} s"
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(octets: float) -> str:
    """Return bytes in the unit that leaves the fewest digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if octets < 1000:  # noqa: PLR2004 - the next unit
            return f"{octets:.0f} {unit}" if unit == "B" else f"{octets:.1f} {unit}"
        octets /= 1000
    return f"{octets:.1f} TB"
