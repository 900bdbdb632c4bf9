"""Terminals on a database of a test's own, and one on the sample that only reads."""

from pathlib import Path

import pytest
from cli_world import Terminal


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
