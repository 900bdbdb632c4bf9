# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""What all commands have in common: where the database is, how an answer looks, how they end."""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backstory.errors import BackstoryError, UsageError
from backstory.faces.cli.ending import ExitCode, code_of, fail, leave_quietly
from backstory.faces.cli.lesson import EVERYWHERE, Lesson
from backstory.faces.cli.plain import json_text, plain

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from sqlalchemy import Connection

    from backstory.app import App
    from backstory.config import Settings
    from backstory.extract.line_rules import LineRules
    from backstory.runs.progress import Listener

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="postgresql://… instead of DATABASE_URL; neither: the embedded PostgreSQL.",
        rich_help_panel=EVERYWHERE,
    ),
]
SchemaOption = Annotated[
    str | None,
    typer.Option(
        "--schema",
        metavar="NAME",
        help="The schema of one business, instead of BACKSTORY_SCHEMA.",
        rich_help_panel=EVERYWHERE,
    ),
]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        help="Directory of the embedded database and of working files, instead of BACKSTORY_HOME.",
        rich_help_panel=EVERYWHERE,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help='Answer with one JSON object; a failure is {"error": {type, message, exit_code}}.',
        rich_help_panel=EVERYWHERE,
    ),
]
_COMMON: dict[str, tuple[Any, Any]] = {
    "database": (DatabaseOption, None),
    "schema": (SchemaOption, None),
    "home": (HomeOption, None),
    "json": (JsonOption, False),
}


@dataclass
class Call:
    """One command being run."""

    given: Mapping[str, Any]
    json: bool = False
    _said: bool = field(default=False, repr=False)

    @cached_property
    def settings(self) -> "Settings":
        """The settings: what the command line gives, else the environment."""
        return _settings(self.given)

    @cached_property
    def lines(self) -> "LineRules":
        """The rules by which events read as a line, by the settings."""
        from backstory.extract.line_rules import load_rules

        return load_rules(self.settings.line_rules)

    @cached_property
    def out(self) -> "Console":
        """Where the answer goes: standard output."""
        from backstory.faces.cli.screen import console

        return console()

    @cached_property
    def err(self) -> "Console":
        """Where everything but the answer goes: standard error."""
        from backstory.faces.cli.screen import console

        return console(stderr=True)

    def say(self, sentence: str) -> None:
        """Tell something on the way, apart from the answer."""
        self.err.print(plain(sentence), style="dim")

    def answer(self, data: Any, *shown: "RenderableType") -> None:
        """Give the answer: `data` as one JSON object, or else what is to be shown of it."""
        if self.json:
            sys.stdout.write(json_text(data) + "\n")
            return
        from backstory.faces.cli.screen import show

        for each in shown:
            show(self.out, each)

    @contextmanager
    def app(self) -> Iterator["App"]:
        """Yield the application on these settings."""
        from backstory.app import open_app

        with open_app(self.settings, on_progress=self.say) as app:
            yield app

    @contextmanager
    def reading(self) -> Iterator["Connection"]:
        """Yield a connection that can only read, in a database that has our schema."""
        from backstory.store.engine import translated

        with self.app() as app, translated(), app.for_reading().engine.connect() as connection:
            yield connection.execution_options(postgresql_readonly=True)

    @contextmanager
    def progress(self) -> Iterator["Listener"]:
        """Yield a listener that shows how far a long work is, on standard error."""
        from backstory.faces.cli.progress import shown_progress

        with shown_progress(self.err) as listener:
            yield listener

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show on a terminal that something goes on whose end cannot be told."""
        if not self.err.is_terminal:
            yield
            return
        with self.err.status(f"{what} …"):
            yield


Command = Callable[..., ExitCode | None]


def command(
    group: typer.Typer,
    name: str,
    *,
    example: str,
    panel: str | None = None,
    cls: type[Lesson] = Lesson,
) -> Callable[[Command], Command]:
    """Register a function of a Call and its own parameters as a command with the common options.

    The function's docstring is the help; it returns how it ended, None for done.
    """

    def register(function: Command) -> Command:
        group.command(
            name,
            cls=cls,
            help=inspect.getdoc(function),
            epilog=inspect.cleandoc(example),
            rich_help_panel=panel,
        )(_with_common_options(function))
        return function

    return register


def _with_common_options(function: Command) -> Callable[..., int]:
    @wraps(function)
    def run(ctx: typer.Context, **given: Any) -> int:
        before = ctx.find_root().params
        common = {name: given.pop(name) for name in _COMMON}
        merged = {
            name: before.get(name) if value in (None, False) else value
            for name, value in common.items()
        }
        return _run(function, Call(merged, json=bool(merged["json"])), given)

    own = list(inspect.signature(function).parameters.values())[1:]
    keyword = inspect.Parameter.KEYWORD_ONLY
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what Typer reads
        [
            inspect.Parameter("ctx", keyword, annotation=typer.Context),
            *(each.replace(kind=keyword) for each in own),
            *(
                inspect.Parameter(name, keyword, annotation=annotation, default=default)
                for name, (annotation, default) in _COMMON.items()
            ),
        ]
    )
    return run


def _run(function: Command, call: Call, given: Mapping[str, Any]) -> ExitCode:
    """Run a command; whatever ends it on purpose becomes a sentence and an exit code."""
    try:
        code = function(call, **given) or ExitCode.DONE
        sys.stdout.flush()
    except BackstoryError as error:
        return fail(str(error), type(error).__name__, code_of(error), json=call.json)
    except BrokenPipeError:
        return leave_quietly()
    except KeyboardInterrupt:
        return fail("Stopped.", "Interrupted", ExitCode.INTERRUPTED, json=call.json)
    return code


def _settings(given: Mapping[str, Any]) -> "Settings":
    from pydantic import ValidationError

    from backstory.config import Settings

    names = {"database": "DATABASE_URL", "schema": "BACKSTORY_SCHEMA", "home": "home"}
    values = {names[name]: given[name] for name in names if given.get(name) is not None}
    try:
        return Settings(**values)
    except ValidationError as bad:
        first = bad.errors()[0]
        place = _variable(str(first["loc"][0])) if first["loc"] else "A setting"
        said = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{place} cannot be {first['input']!r}: {said}.") from bad


def _variable(field: str) -> str:
    """Return the variable a setting is read from; some are known under that name already."""
    return field if field.isupper() else f"BACKSTORY_{field.upper()}"
