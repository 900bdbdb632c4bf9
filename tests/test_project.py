"""The project around the package: its version, its license, the commands that set it up."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from backstory.version import VERSION

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def make(*words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["make", *words],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]} | env,
        capture_output=True,
        text=True,
        check=False,
    )


def targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_the_version_is_the_newest_of_the_changelog():
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", CHANGELOG, re.MULTILINE)
    assert newest is not None
    assert PROJECT["project"]["version"] == newest[1] == VERSION


def test_the_license_is_the_one_that_is_named():
    license_text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert re.search(r"Apache License\s+Version 2\.0, January 2004", license_text)
    assert "END OF TERMS AND CONDITIONS" in license_text


def test_plain_make_prints_what_it_can_do():
    printed = make().stdout
    assert {line.split()[1] for line in printed.splitlines()} == targets()


def test_make_test_runs_everything_that_must_hold():
    """And nothing of it is set up anew when the stamp is newer than pyproject.toml."""
    wanted = make("--dry-run", "--assume-old=.venv/.dev", "test").stdout
    checks = ("ruff check", "ruff format --check", r"mypy --num-workers \d", "lint-imports")
    for program in (*checks, r"pytest -n \d --dist \w+"):
        assert re.search(rf"^\.venv/bin/{program}$", wanted, re.MULTILINE), program
    assert "pip" not in wanted


def test_the_ci_calls_make_test_and_nothing_else():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = [line for line in script.read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert lines == ['cd "$(dirname "$0")/.." && exec make test']


@pytest.fixture
def bare(tmp_path) -> Path:
    """A directory with what a shell needs and nothing that is Python or uv."""
    for name in ("sh", "rm", "touch", "sed", "expand", "test"):
        (tmp_path / name).symlink_to(shutil.which(name) or "/bin/false")
    (tmp_path / "make").symlink_to(shutil.which("make") or "/bin/false")
    return tmp_path


def test_a_machine_without_python_is_told_what_is_needed(bare):
    missing = make("VENV=.no-such-venv", "demo", PATH=str(bare))
    assert missing.returncode != 0
    assert "Backstory needs Python 3.11 or newer" in missing.stderr


def test_an_old_python_is_passed_over(bare):
    old = bare / "python3"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    assert "needs Python 3.11 or newer" in make("VENV=.no-such-venv", "demo", PATH=str(bare)).stderr


def test_nothing_names_a_registry():
    for name in ("Makefile", "pyproject.toml", ".ci/run", "CONTRIBUTING.md", "README.md"):
        assert not re.search(r"index-url|find-links|https?://", (ROOT / name).read_text("utf-8"))


def test_the_readme_names_both_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(r"^make demo\b", readme, re.MULTILINE)
    assert re.search(r"^make test\b", readme, re.MULTILINE)


def test_contributing_names_every_target_that_a_developer_types():
    written = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for target in ("test", "format", "docs"):
        assert f"make {target}" in written
