"""The groups of commands, and the edge where everything ends."""

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from backstory.faces.cli.call import DatabaseOption, HomeOption, SchemaOption
from backstory.faces.cli.ending import ExitCode, fail, leave_quietly, tolerate_encodings
from backstory.faces.cli.lesson import LessonGroup


class Shell(LessonGroup):
    """The outermost group: one way out for every command and every wrong word."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - Typer's signature
        windows_expand_args: bool = True,  # noqa: FBT001, FBT002 - Typer's signature
        **extra: Any,
    ) -> Any:
        """Run the command line and leave with its exit code."""
        del standalone_mode
        tolerate_encodings()
        words = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(
                words,
                prog_name,
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
            sys.stdout.flush()
        except typer.TyperException as wrong:
            code = _refuse(wrong, json="--json" in words)
        except typer.Abort:
            code = ExitCode.INTERRUPTED
        except BrokenPipeError:
            code = leave_quietly()
        except Exception:  # noqa: BLE001 - the edge: a defect has an exit code too
            code = _confess()
        sys.exit(code or ExitCode.DONE)


def _refuse(wrong: "typer.TyperException", *, json: bool) -> ExitCode:
    """Say what is wrong with the command line, and where its help is."""
    context = getattr(wrong, "ctx", None)
    if type(wrong).__name__ == "NoArgsIsHelpError":
        typer.echo(wrong.format_message())
        return ExitCode.USAGE
    advice = f"\n`{context.command_path} --help` shows the right form." if context else ""
    return fail(wrong.format_message() + advice, "UsageError", ExitCode.USAGE, json=json)


def _confess() -> ExitCode:
    """Show a defect of ours as it is: nobody raised this on purpose."""
    traceback.print_exc()
    sys.stderr.write("This is a defect of Backstory: please report it with the lines above.\n")
    return ExitCode.FAILURE


shell = typer.Typer(
    cls=Shell,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - a callback of Typer's
    if wanted:
        from backstory.version import VERSION  # noqa: PLC0415 - it reads the metadata

        typer.echo(f"backstory {VERSION}")
        raise typer.Exit


@shell.callback(
    epilog="backstory demo\nbackstory backfill --audit audit.jsonl --leads leads.jsonl --dry-run"
)
def _everywhere(
    *,
    database: DatabaseOption = None,
    schema: SchemaOption = None,
    home: HomeOption = None,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Turn an AI agent's audit log into conversations: planned, verified, searchable, undoable.

    Exit codes: 0 done, warnings too; 1 something needs a look, or a run stopped half-way; 2 a wrong
    request; 3 it failed.
    """


START = "Start here"
LOAD = "Load a log, or undo it"
CHECK = "Check what was loaded"
LOOK = "Look around"
AGENTS = "Serve agents"
KEEP = "Keep it running"

quarantine = typer.Typer(cls=LessonGroup, no_args_is_help=True, rich_markup_mode=None)
model = typer.Typer(cls=LessonGroup, no_args_is_help=True, rich_markup_mode=None)
db = typer.Typer(cls=LessonGroup, no_args_is_help=True, rich_markup_mode=None)
merges = typer.Typer(cls=LessonGroup, no_args_is_help=True, rich_markup_mode=None)
notes = typer.Typer(cls=LessonGroup, no_args_is_help=True, rich_markup_mode=None)
key = typer.Typer(cls=LessonGroup, no_args_is_help=True, rich_markup_mode=None)
