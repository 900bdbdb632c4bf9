"""Databases that backfills of tests run on: one of a test's own, one loaded for a whole module."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from loaded_world import World, lead, record, talk
from sqlalchemy import Connection, Engine, make_url

from backstory.store.engine import Database

_numbers = itertools.count()


@pytest.fixture
def world(engine: Engine, database_url: str, tmp_path: Path) -> World:
    return World(Database(database_url, "backstory", engine), tmp_path)


@pytest.fixture(scope="module")
def loaded(
    server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Return a world with every kind of row a load can leave; tests break it and take it back."""
    name = f"loaded_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
        world = World(Database.open(url, "backstory"), tmp_path_factory.mktemp("loaded"))
        leads = [
            lead("lead-1", phone="512 555 0101"),
            lead("lead-2", phone="+1 (512) 555-0101", channel="web"),
            lead("lead-3", email="three@example.com"),
        ]
        records = [
            *talk("lead-1", range(20)),
            *talk("lead-2", range(20, 40)),
            *talk("lead-3", range(40, 60)),
            record(3, "lead-1", payload={"text": "another"}),
            record(60, "nobody"),
            b"{",
        ]
        world.load(records, leads)
        yield world
        world.database.engine.dispose()
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def broken(loaded: World) -> Iterator[Connection]:
    with loaded.database.engine.connect() as connection:
        transaction = connection.begin()
        yield connection
        transaction.rollback()
