"""The named statements of `store/sql/*.sql`: each has a name, a sentence and typed parameters."""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from sqlalchemy import TextClause, text

_BLOCK = re.compile(
    r"^-- name: (?P<name>\w+)\n(?P<about>(?:^--(?! name:).*\n)+)(?P<body>(?:(?!^-- name:).*\n?)+)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Statement:
    """`about` is the sentence a reader sees, `body` the statement without its semicolon."""

    name: str
    about: str
    body: str


@cache
def statements() -> dict[str, Statement]:
    """Return every statement by name; a name given twice is a KeyError at first use."""
    found: dict[str, Statement] = {}
    for file in sorted(resources.files("backstory.store.sql").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".sql"):
            for block in _BLOCK.finditer(file.read_text(encoding="utf-8")):
                if block["name"] in found:
                    raise KeyError(f"{file.name}: {block['name']} is defined twice")
                about = " ".join(line.lstrip("- ") for line in block["about"].splitlines())
                found[block["name"]] = Statement(
                    block["name"], about, block["body"].strip().rstrip(";")
                )
    return found


@cache
def sql(name: str) -> TextClause:
    """Return the statement `name`, ready to execute with a dictionary of parameters."""
    return text(statements()[name].body)
