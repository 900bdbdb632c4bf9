"""Homes for the tests of the embedded server: fresh ones, and one in use for each user."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from embedded_world import OURSELVES, User, nobody

from backstory.store import embedded


@pytest.fixture(scope="module", params=["ourselves", "nobody"])
def user(request: pytest.FixtureRequest) -> User:
    """Return us, and then nobody: for root the two ways differ in all that matters."""
    return OURSELVES if request.param == "ourselves" else nobody()


@pytest.fixture
def home(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Return a home that does not exist yet, the user's if the test has one; purge it."""
    has_user = "user" in request.fixturenames
    yield from _home(request.getfixturevalue("user") if has_user else OURSELVES)


@pytest.fixture(scope="module")
def used(user: User) -> Iterator[Path]:
    """Return a home with data of the user's that several tests share; purge it."""
    yield from _home(user)


@pytest.fixture(scope="module")
def our_home() -> Iterator[Path]:
    """Return a home with data of ours that several tests share; purge it."""
    yield from _home(OURSELVES)


@pytest.fixture
def ours(our_home: Path) -> Path:
    """Return the shared home of ours, initialised, its server stopped."""
    if not embedded.status(our_home).initialised:
        embedded.start(our_home, linger=1).close()
    embedded.stop(our_home)
    return our_home


def _home(owner: User) -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="backstory-test-", dir="/tmp"))  # within anybody's reach
    os.chown(base, owner.uid, -1)
    yield base / "home"
    owner.purge(base / "home")
    shutil.rmtree(base)
