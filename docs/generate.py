"""Write the parts of the docs that the code knows best: commands, columns, tools.

`python docs/generate.py` writes them anew (`make docs`); with `--check` it says which pages are
out of date, and fails if one is.
"""

import inspect
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import postgresql
from typer.main import get_command
from typer.testing import CliRunner

from backstory.faces.cli.commands import shell
from backstory.store.tables import Base
from backstory.tools.canonical import input_schema, output_schema
from backstory.tools.catalog import MEMORY_TOOLS, STAFF_TOOLS, TOOLS
from backstory.tools.rules import example_of, rule_of
from backstory.tools.tool import Tool

HERE = Path(__file__).parent
SECTION = "<!-- generated: {name} -->\n"
END = "<!-- end -->"
# The same for every command: shown once, under the name of the whole.
SHARED = re.compile(r"\n\nEverywhere:(?:\n  .*)+")


def main() -> None:
    """Write every generated section, or only check them."""
    checking = "--check" in sys.argv
    outdated = 0
    for page, name, written in sections():
        path = HERE / page
        before = path.read_text(encoding="utf-8")
        head, mark, rest = before.partition(SECTION.format(name=name))
        after = f"{head}{mark}\n{written}\n{END}{rest.partition(END)[2]}"
        if after != before:
            outdated += 1
            print(f"docs/{page}", "is out of date: run `make docs`." if checking else "is written.")
            if not checking:
                path.write_text(after, encoding="utf-8")
    sys.exit(checking and outdated > 0)


def sections() -> Iterator[tuple[str, str, str]]:
    """Yield (page, section, text) of everything that is generated."""
    yield "commands.md", "commands", "\n\n".join(map(command_entry, command_paths()))
    yield "schema.md", "tables", "\n\n".join(map(table_entry, tables()))
    yield "tools.md", "tools", "\n\n".join(map(tool_entry, TOOLS))
    yield "tools.md", "staff", "\n\n".join(map(tool_entry, STAFF_TOOLS))


# --- commands --------------------------------------------------------------------------------


def command_paths() -> list[list[str]]:
    """Return the words of every command, the whole first, groups before their members."""

    def below(words: list[str], command: Any) -> Iterator[list[str]]:
        yield words
        for name, each in getattr(command, "commands", {}).items():
            if not each.hidden:
                yield from below([*words, name], each)

    return list(below([], get_command(shell)))


def help_of(words: list[str]) -> str:
    """Return what `backstory WORDS --help` prints on 80 columns without color."""
    os.environ["NO_COLOR"] = "1"
    # Typer leaves two of a terminal's 80 columns free.
    asked = [*words, "--help"]
    said = CliRunner().invoke(shell, asked, prog_name="backstory", terminal_width=78)
    if said.exit_code:
        raise SystemExit(said.output)
    return said.output.rstrip()


def command_entry(words: list[str]) -> str:
    """Return a heading and the help of one command; what all commands share is with the whole."""
    text = help_of(words)
    if words:
        text = SHARED.sub("", text)
    return f"### {' '.join(['backstory', *words])}\n\n```text\n{text}\n```"


# --- tables ----------------------------------------------------------------------------------


def tables() -> list[Any]:
    """Return every model, those that others reference before them."""
    models = {each.local_table: each.class_ for each in Base.registry.mappers}
    return [models[table] for table in Base.metadata.sorted_tables]


def table_entry(model: Any) -> str:
    """Return a heading, the model's sentence, and its columns."""
    table = model.__table__
    rows = [f"| `{column.name}` | {type_of(column)} | {notes_on(column)} |" for column in table.c]
    about = " ".join(inspect.cleandoc(model.__doc__).split())
    return "\n".join(
        [f"### {table.name}", "", about, "", "| column | type | |", "|---|---|---|", *rows]
    )


def type_of(column: Any) -> str:
    """Return a column's type as PostgreSQL writes it."""
    written: str = column.type.compile(postgresql.dialect()).lower()
    return written.replace("timestamp with time zone", "timestamptz")


def notes_on(column: Any) -> str:
    """Return what else is to be known of a column: key, reference, null."""
    targets = sorted({key.target_fullname.partition(".")[0] for key in column.foreign_keys})
    notes = ["key"] if column.primary_key else []
    notes += [f"→ {target}" for target in targets]
    notes += ["generated"] if column.computed is not None else []
    notes += ["may be null"] if column.nullable and column.computed is None else []
    return ", ".join(notes)


# --- tools -----------------------------------------------------------------------------------


def tool_entry(tool: Tool) -> str:
    """Return a heading, what a model is told, and a table of the fields."""
    schema = input_schema(tool)
    required = schema.get("required", [])
    rows = [
        f"| {'**' if name in required else ''}`{name}`{'**' if name in required else ''} "
        f"| {node['description']} | {cell(rule_of(node))} | {cell(example_of(node))} |"
        for name, node in schema["properties"].items()
    ]
    outcomes = ", ".join(output_schema(tool)["properties"]["outcome"]["enum"])
    memory = " Offered when `CONTEXT_MEMORY_ENABLED=true`." if tool in MEMORY_TOOLS else ""
    about = [f"{tool.description}{memory}", "", f"Outcomes: {outcomes}.", ""]
    head = ["| field | | rule | example |", "|---|---|---|---|"]
    return "\n".join([f"### {tool.name}", "", *about, *head, *rows])


def cell(words: str) -> str:
    """Return words for a cell of a table; patterns have signs that a table knows."""
    return words.replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    main()
