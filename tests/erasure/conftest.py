"""A database of a test's own with two customers who have something in every table."""

import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

sys.path.append(str(Path(__file__).parents[1] / "backfill"))

from erased_world import World, furnish

from backstory.store.engine import Database


@pytest.fixture
def world(engine: Engine, database_url: str, tmp_path: Path) -> World:
    world = World(Database(database_url, "backstory", engine), tmp_path)
    furnish(world)
    return world
