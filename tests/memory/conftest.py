"""Customers with a past, in a transaction that is rolled back."""

import pytest
from remembered_world import person_on


@pytest.fixture
def person(connection):
    """Return what makes a customer of some name."""
    return person_on(connection)


@pytest.fixture
def jane(person):
    """Return a customer with a job at an address, a note, an earlier contact and some messages."""
    jane = person("Jane")
    address = jane.lives(label="home", is_primary=True)
    jane.ordered(
        "Garage clean-out", "sofa", "two mattresses", service_address_id=address, total_cents=24900
    )
    jane.noted("Has a dog, call before arriving", status="confirmed")
    jane.contact("Jane D.", "messenger", "won")
    jane.says("Could you haul away an old piano from the basement?")
    return jane
