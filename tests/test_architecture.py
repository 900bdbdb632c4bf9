"""The house rules that a machine can hold; ruff, mypy and import-linter hold the others."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import backstory
from backstory import processes

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "backstory"
MIGRATIONS = PACKAGE / "store" / "migrations" / "versions"
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "bench").glob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# A process of its own has an edge of its own, like a face.
EDGES = {PACKAGE / "tools" / "workers.py"}
LONGEST_FILE = 400
LONGEST_FUNCTION = 50
WORDS_FOR_NOTHING = {"utils", "util", "helpers", "helper", "common", "main", "misc"}
HEAVY = {
    *("alembic", "asyncio", "email_validator", "orjson", "phonenumbers", "psycopg", "pydantic"),
    *("pydantic_settings", "rich", "sqlalchemy", "typer", "zstandard"),
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def is_migration(path: Path) -> bool:
    return path.is_relative_to(MIGRATIONS)


# --- sizes and names -------------------------------------------------------------------------


def test_no_file_is_longer_than_400_lines():
    """A migration is written once and never changed, so it may be as long as it is."""
    lengths = {
        name_of(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in SOURCES
        if not is_migration(path)
    }
    long = {name: length for name, length in lengths.items() if length > LONGEST_FILE}
    assert long == {}


def length_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end; of a command, whose signature lists its options, the body."""
    decorators = {ast.unparse(each).partition("(")[0] for each in function.decorator_list}
    is_command = bool(decorators & {"command", "shell.callback"})
    start = function.body[0].lineno if is_command else function.lineno
    return (function.end_lineno or start) - start + 1


def test_no_function_is_longer_than_50_lines():
    long = [
        f"{name_of(path)}:{node.lineno} {node.name} {length_of(node)}"
        for path in SOURCES
        if not is_migration(path)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and length_of(node) > LONGEST_FUNCTION
    ]
    assert long == []


def test_names_say_what_a_module_is_for():
    for path in SOURCES:
        name = path.stem
        assert name not in WORDS_FOR_NOTHING, name_of(path)
        assert not re.search(r"_(v\d+|new|old)$", name), name_of(path)


def test_every_module_says_what_it_is_for():
    silent = [name_of(path) for path in SOURCES if not ast.get_docstring(parsed(path))]
    assert silent == []


# --- what no code does -----------------------------------------------------------------------


def swallows_everything(handler: ast.ExceptHandler) -> bool:
    """Whether a handler catches whatever comes and does not raise it again at its end."""
    caught = "" if handler.type is None else ast.unparse(handler.type)
    broad = not caught or re.search(r"\b(Base)?Exception\b", caught)
    last = handler.body[-1]
    return bool(broad) and not (isinstance(last, ast.Raise) and last.exc is None)


def test_only_a_face_catches_whatever_comes():
    broad = [
        f"{name_of(path)}:{node.lineno}"
        for path in SOURCES
        if not path.is_relative_to(PACKAGE / "faces") and path not in EDGES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ExceptHandler) and swallows_everything(node)
    ]
    assert broad == []


def test_tests_mock_nothing():
    for path in TESTS:
        for node in ast.walk(parsed(path)):
            modules = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [f"{node.module}.{alias.name}" for alias in node.names]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert not any("mock" in module for module in modules), name_of(path)


def exceptions_in_code() -> Iterator[tuple[str, str]]:
    """Yield every comment that switches a rule off, with its place."""
    marker = re.compile(r"#\s*(?:ruff:\s*)?(?:noqa|type:\s*ignore|fmt:|pragma)\b.*")
    for path in (*SOURCES, *TESTS):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if found := marker.search(line):
                yield f"{name_of(path)}:{number}", found[0]


def test_every_lint_exception_has_its_reason_beside_it():
    reason = re.compile(
        r"#\s*(ruff:\s*)?noqa: [A-Z0-9, ]+ - \w.+"
        r"|#\s*type:\s*ignore\[[a-z-]+(, ?[a-z-]+)*\]\s+# \w.+"
        r"|# fmt: (skip|off|on)"  # the shape of a line is its own reason
    )
    assert [each for each in exceptions_in_code() if not reason.fullmatch(each[1])] == []


def test_every_rule_that_ruff_ignores_has_its_reason_beside_it():
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    begin, end = lines.index("[tool.ruff.lint]"), lines.index("[tool.ruff.lint.pydocstyle]")
    rules = [line for line in lines[begin:end] if re.match(r'\s+"[A-Z]+\d*"', line)]
    assert len(rules) > 20
    assert [line for line in rules if not re.search(r",\s+# \S+", line)] == []


# --- layers ----------------------------------------------------------------------------------


def lint_imports(cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    return subprocess.run(
        command,
        cwd=cwd,
        env={"PYTHONPATH": str(cwd / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_go_downward_only():
    linted = lint_imports(ROOT)
    assert linted.returncode == 0, linted.stdout


BREACHES = {
    "a lower layer imports a higher one": (
        *("audit/event.py", "import backstory.store.engine"),
        {"Imports go downward only", "What is pure stays pure"},
    ),
    "a package that the layers do not name": (
        *("gadgets.py", ""),
        {"Imports go downward only"},
    ),
    "a rule that talks to the network": (
        *("extract/identity.py", "import urllib.request"),
        {"What is pure stays pure"},
    ),
    "the store prints": (
        *("store/engine.py", "import rich"),
        {"Only a face knows who is asking"},
    ),
    "a face leans on another one": (
        *("faces/http/edge.py", "import backstory.faces.cli.call"),
        {"Faces do not know one another"},
    ),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_of_the_layers_is_found(breach, tmp_path):
    file, line, contracts = BREACHES[breach]
    shutil.copytree(PACKAGE, tmp_path / "src" / "backstory", ignore=lambda *_: ["__pycache__"])
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "src/backstory" / file).open("a", encoding="utf-8") as module:
        module.write(f"\n{line}\n")
    linted = lint_imports(tmp_path)
    broken = set(re.findall(r"^(.+) BROKEN$", linted.stdout, re.MULTILINE))
    assert broken == contracts, linted.stdout + linted.stderr


def test_every_layer_of_the_contracts_is_there():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers, *_, below_faces = settings["tool"]["importlinter"]["contracts"]
    named = {word for layer in layers["layers"] for word in re.findall(r"\w+", layer)}
    there = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert named >= there - {"__init__"}
    assert {f"backstory.{name}" for name in there - {"__init__", "__main__", "faces"}} == set(
        below_faces["source_modules"]
    )


# --- importing -------------------------------------------------------------------------------


def loaded_after(statement: str) -> set[str]:
    script = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("work", [*processes.BACKFILL, *processes.TOOLS])
def test_what_worker_processes_do_is_where_it_is_looked_for(work):
    """What cannot be imported ahead is passed over without a word, and each worker takes longer."""
    assert find_spec(work) is not None


def test_importing_the_package_does_nothing():
    loaded = loaded_after("import backstory")
    assert {name for name in loaded if name.startswith("backstory")} == {"backstory"}
    assert loaded & HEAVY == set()


def test_help_needs_no_database():
    loaded = loaded_after("import backstory.faces.cli.commands")
    assert "typer" in loaded
    assert loaded & {"alembic", "psycopg", "sqlalchemy", "phonenumbers", "pyarrow"} == set()


def test_every_public_name_is_there_and_no_other():
    for name in backstory.__all__:
        assert getattr(backstory, name) is not None
    assert dir(backstory) == sorted(backstory.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = backstory.no_such_name
