"""Every named statement has a sentence, is typed, is used, and can be planned."""

import ast
import re
from importlib import resources
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from backstory.store.statements import statements

ROOT = Path(__file__).parents[2]
FILES = sorted(
    (each for each in resources.files("backstory.store.sql").iterdir() if each.suffix == ".sql"),
    key=lambda each: each.name,
)
NAMES = sorted(statements())
PARAMETER = re.compile(r"(?<![:\w]):([a-z]\w*)")
# What PostgreSQL cannot EXPLAIN; these take no parameters and are done instead.
UTILITY = re.compile(r"(?:CREATE|DROP|ALTER|ANALYZE|LOCK|SET|TRUNCATE)\b")


def without_literals(body: str) -> str:
    """The statement without comments and quoted text, in which a colon means nothing."""
    return re.sub(r"--[^\n]*|'(?:[^']|'')*'", "''", body)


@pytest.mark.parametrize("file", FILES, ids=lambda each: each.name)
def test_a_file_holds_named_statements_and_nothing_else(file):
    written = file.read_text(encoding="utf-8")
    heads = re.findall(r"^-- name: (.+)$", written, re.MULTILINE)
    assert written.startswith("-- name: ")
    assert heads
    assert set(heads) <= statements().keys()
    assert without_literals(written).count(";") == len(heads)


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_says_in_sentences_what_it_is_for(name):
    about = statements()[name].about
    assert re.fullmatch(r"[A-Z].+\.", about), about
    assert len(about.split()) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_cast(name):
    body = without_literals(statements()[name].body)
    uncast = re.sub(r"\bCAST\(:\w+ AS \w+(?: \w+)?(?:\[\])?\)", "", body)
    assert PARAMETER.findall(uncast) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_can_be_planned_without_knowing_any_value(name, connection: Connection):
    body = statements()[name].body
    unknown = dict.fromkeys(PARAMETER.findall(without_literals(body)))
    if UTILITY.match(body):
        assert unknown == {}
        connection.execute(text(body))
        return
    plan = connection.execute(text(f"EXPLAIN {body}"), unknown).scalars().all()
    assert any("cost=" in line for line in plan)


def words_in(path: Path) -> set[str]:
    """The text constants of a module that are more than a docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_statement_is_used():
    modules = [*(ROOT / "src").rglob("*.py"), *(ROOT / "bench").glob("*.py")]
    used = set().union(*map(words_in, modules))
    assert set(NAMES) - used == set()
