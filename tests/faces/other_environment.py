"""Packages that cannot be installed beside ours, in directories of their own that are kept.

Run as a script it makes the directories, so that no test has to.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectionError|Connection refused|Temporary failure|Could not fetch URL"
    r"|No matching distribution|Failed to fetch|error sending request|timed out",
    re.IGNORECASE,
)
_SECONDS = 300
_ALL = Path(sys.prefix) / "environments"
_WANTED = {
    "frameworks": ("langchain", "langchain-mcp-adapters", "pydantic-ai-slim[mcp]"),
    "mcp1": ("mcp<2",),
}


def installed(name: str) -> Path:
    """Return the directory of that name, made once for all tests and processes.

    Skips the test if the package index cannot be reached, and only then.
    """
    made = _ALL / f"{name}-{sys.version_info.major}.{sys.version_info.minor}"
    _ALL.mkdir(exist_ok=True)
    with (_ALL / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            unfinished = made.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            _install(unfinished, _WANTED[name])
            unfinished.rename(made)
    return made


def _install(where: Path, wanted: tuple[str, ...]) -> None:
    uv = shutil.which("uv")
    pip = [sys.executable, "-m", "pip"] if uv is None else [uv, "pip"]
    quiet = ["--quiet", "--disable-pip-version-check"] if uv is None else ["--quiet"]
    python = [] if uv is None else ["--python", sys.executable]
    try:
        done = subprocess.run(
            [*pip, "install", *quiet, *python, "--target", str(where), *wanted],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the package index is too slow")
    if done.returncode and _UNREACHABLE.search(done.stderr):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr


# Not by PYTHONPATH: what the script starts would have these packages too.
_RUN = """
import runpy, sys
packages, *sys.argv = sys.argv[1:]
sys.path[:0] = [sys.argv[0].rpartition("/")[0], packages]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(packages: Path, script: Path, *words: str, env: dict[str, str]) -> str:
    """Run a script with these packages and without ours; return what it prints."""
    done = subprocess.run(
        # Without its site Python has nothing of the environment we are tested in.
        [sys.executable, "-S", "-c", _RUN, str(packages), str(script), *words],
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


if __name__ == "__main__":
    for each in _WANTED:
        try:
            installed(each)
        except pytest.skip.Exception as missing:
            print(f"Tests that need it will be skipped: {missing}.")  # noqa: T201 - to who runs it
