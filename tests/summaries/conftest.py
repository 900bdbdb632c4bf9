"""A database of a test's own into which logs are loaded."""

import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

sys.path.append(str(Path(__file__).parents[1] / "backfill"))

from loaded_world import World

from backstory.store.engine import Database


@pytest.fixture
def world(engine: Engine, database_url: str, tmp_path: Path) -> World:
    return World(Database(database_url, "backstory", engine), tmp_path)
