"""Terminals on a database of a test's own, and one on the sample that only reads."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_world import Terminal
from http_world import Business, greetings, served
from sqlalchemy.engine import make_url


@pytest.fixture
def terminal(empty_database_url: str, tmp_path: Path) -> Terminal:
    """Return a terminal on a database in which nothing of ours is yet."""
    return Terminal(empty_database_url, tmp_path / "home")


@pytest.fixture
def prepared(database_url: str, tmp_path: Path) -> Terminal:
    """Return a terminal on a database in which there is our schema and nothing else."""
    return Terminal(database_url, tmp_path / "home")


@pytest.fixture(scope="session")
def sample_to_copy(
    template: str, copied: Callable[[str], Iterator[str]], tmp_path_factory
) -> Iterator[Terminal]:
    """Return a terminal on a database into which the sample was loaded, for tests to copy."""
    for url in copied(template):
        terminal = Terminal(url, tmp_path_factory.mktemp("sample") / "home")
        assert terminal.load_sample().code == 0
        yield terminal


@pytest.fixture
def loaded(
    sample_to_copy: Terminal, copied: Callable[[str], Iterator[str]], tmp_path: Path
) -> Iterator[Terminal]:
    """Return a terminal on a database of the test's own with the sample in it."""
    home = Path(shutil.copytree(sample_to_copy.home, tmp_path / "home"))
    for url in copied(make_url(sample_to_copy.env["DATABASE_URL"]).database):
        yield Terminal(url, home)


@pytest.fixture(scope="module")
def sampled(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """Return a terminal on the sample that a module's tests share and do not change."""
    terminal = Terminal(server_url, tmp_path_factory.mktemp("home"), BACKSTORY_SCHEMA="sampled")
    assert terminal.load_sample().code == 0
    return terminal


@pytest.fixture
def business(database_url: str, tmp_path: Path) -> Iterator[Business]:
    """Return a business over HTTP to which Ana and Bob have written."""
    with served(database_url, tmp_path) as business:
        assert business.record(*greetings()) == ["created"] * 3
        yield business
