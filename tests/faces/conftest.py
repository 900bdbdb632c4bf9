"""Terminals on a database of a test's own, and one on the sample that only reads."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_world import Terminal
from http_world import Business, greetings, served


@pytest.fixture
def terminal(empty_database_url: str, tmp_path: Path) -> Terminal:
    """Return a terminal on a database in which nothing of ours is yet."""
    return Terminal(empty_database_url, tmp_path / "home")


@pytest.fixture
def loaded(terminal: Terminal) -> Terminal:
    """Return a terminal on a database with the sample in it."""
    assert terminal.load_sample().code == 0
    return terminal


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
