"""Help that teaches: commands grouped by purpose, options by reach, examples one can copy."""

import inspect
import os
from collections import defaultdict
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

EVERYWHERE = "Everywhere"
_PANEL = "rich_help_panel"  # Typer's name for a group of options or commands


class Lesson(TyperCommand):
    """A command whose help groups its options and keeps its examples as they are written."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Name a required argument as it is, an optional one in brackets."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the command's own options first, then those of all commands."""
        _write_options(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer's signature
        """Write the examples, each line on a line of its own."""
        _write_examples(self.epilog, formatter)


class LessonGroup(TyperGroup):
    """A group whose help shows its commands first, by purpose, each with a whole sentence."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write commands, then options."""
        self.format_commands(ctx, formatter)
        _write_options(self, ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the first sentence of each command's help, unabridged."""
        panels = defaultdict(list)
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                about = inspect.cleandoc(command.help or "").partition("\n\n")[0]
                panels[getattr(command, _PANEL, None) or "Commands"].append((name, about))
        widest = max(len(name) for rows in panels.values() for name, _ in rows)
        for title, rows in panels.items():
            with formatter.section(_bold(title)):
                formatter.write_dl([(name.ljust(widest), about) for name, about in rows])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer's signature
        """Write the examples, each line on a line of its own."""
        _write_examples(self.epilog, formatter)


def _write_options(command: Any, ctx: Any, formatter: Any) -> None:
    panels = defaultdict(list)
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is not None:
            argument = param.param_type_name == "argument"
            title = getattr(param, _PANEL, None) or ("Arguments" if argument else "Options")
            if "--help" in param.opts or "completion" in param.name:
                title = EVERYWHERE
            panels[title].append((param.metavar, record[1]) if argument else record)
    for title in sorted(panels, key=["Arguments", "Options", EVERYWHERE].index):
        with formatter.section(_bold(title)):
            formatter.write_dl(panels[title])


def _write_examples(examples: str | None, formatter: Any) -> None:
    lines = inspect.cleandoc(examples or "").splitlines()
    if lines:
        with formatter.section(_bold("Example" if len(lines) == 1 else "Examples")):
            for line in lines:
                formatter.write(f"  {line}\n")


def _bold(title: str) -> str:
    return title if os.environ.get("NO_COLOR") else typer.style(title, bold=True)
