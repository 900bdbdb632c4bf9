"""A database with two customers in it."""

import pytest
from tools_world import Clock, agent, people


@pytest.fixture
def database(database_url):
    database = people(database_url)
    yield database
    database.engine.dispose()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ana(database, clock):
    """A session of Ana's second lead."""
    return agent(database, "ana-2", clock=clock)


@pytest.fixture
def bob(database, clock):
    return agent(database, "bob-1", clock=clock)
