"""Exporting a customer: everything that an erasure would remove, as JSON."""

import json

from erased_world import World, customer_of, erase

from backstory import erasure
from backstory.store.erasure import tables_of_customers
from backstory.store.tables import Base


def exported(world: World, name: str) -> dict[str, object]:
    with world.connection() as connection:
        return json.loads("".join(erasure.export(connection, customer_of(world, name))))


def test_it_has_every_row_that_an_erasure_removes(world: World) -> None:
    told = exported(world, "zebra-1")
    assert told["customer_id"] == str(customer_of(world, "zebra-1"))
    assert len(told["customers"]) == 2
    assert told["tables"].keys() == {table.name for table in tables_of_customers()}
    removed = erase(world).removed
    assert {name: len(rows) for name, rows in told["tables"].items()} == removed


def test_rows_have_every_column_but_what_is_computed_from_them(world: World) -> None:
    tables = exported(world, "zebra-1")["tables"]
    computed = {"messages": {"search"}, "embeddings": {"vector"}}
    for name, rows in tables.items():
        columns = set(Base.metadata.tables[name].columns.keys()) - computed.get(name, set())
        assert rows[0].keys() == columns, name


def test_nobody_else_is_in_it(world: World) -> None:
    told = json.dumps(exported(world, "sam-1"))
    assert "Sam Other" in told
    assert "message 11" in told
    assert "Joanie" not in told
    # The record that lost against his is told with his, and so is whose it was.
    assert "zebra crossing" not in told


def test_it_is_the_same_each_time(world: World) -> None:
    assert exported(world, "zebra-1") == exported(world, "zebra-1")
