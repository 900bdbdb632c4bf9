"""The schema: models, migrations and database agree, and a migration loses nothing."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text
from sqlalchemy.schema import CreateSchema

from backstory.backfill import journey
from backstory.backfill.options import BackfillOptions
from backstory.errors import SchemaMismatch
from backstory.sample import paths
from backstory.store import schema
from backstory.store.engine import Database, open_engine
from backstory.store.tables import Base

SCHEMA = "backstory"
SCRIPT = ScriptDirectory.from_config(schema._config())
REVISIONS = [step.revision for step in reversed(list(SCRIPT.walk_revisions()))]
FIRST, HEAD = REVISIONS[0], REVISIONS[-1]

CATALOG = {
    "columns": """
        SELECT table_name, column_name, data_type, udt_name, is_nullable, column_default,
               is_identity, generation_expression
        FROM information_schema.columns WHERE table_schema = current_schema()
        ORDER BY table_name, column_name
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = current_schema()::regnamespace ORDER BY 1, 2
    """,
    "indexes": """
        SELECT tablename, indexname, replace(indexdef, current_schema() || '.', '') FROM pg_indexes
        WHERE schemaname = current_schema() ORDER BY 1, 2
    """,
    "relations": """
        SELECT relname, relkind FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace ORDER BY 1
    """,
}


def catalog(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """What PostgreSQL itself says of a schema, Alembic's own table left out."""
    with engine.connect() as connection:
        return {
            what: [
                tuple(row)
                for row in connection.execute(text(query))
                if not row[0].startswith("alembic_version")
            ]
            for what, query in CATALOG.items()
        }


def contents(engine: Engine) -> dict[str, list[str]]:
    """Every row of every table, as JSON."""
    with engine.connect() as connection:
        return {
            table: sorted(
                json.dumps(row, sort_keys=True)
                for row in connection.execute(
                    text(f'SELECT to_jsonb(t) FROM "{table}" AS t')
                ).scalars()
            )
            for table, kind in catalog(engine)["relations"]
            if kind == "r"
        }


@pytest.fixture
def make(empty_database_url) -> Iterator[Callable[[str], Engine]]:
    """A function that opens a schema, not there yet, of an empty database."""
    engines = []

    def make(name: str) -> Engine:
        engines.append(open_engine(empty_database_url, name))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


@pytest.fixture
def loaded(database_url, tmp_path) -> Iterator[Engine]:
    """A database with the sample log in it."""
    database = Database.open(database_url, SCHEMA)
    audit, leads = map(str, paths())
    journey.start(database, tmp_path, BackfillOptions(audit=(audit,), leads=(leads,)))
    yield database.engine
    database.engine.dispose()


# --- models and migrations -------------------------------------------------------------------


def test_the_models_and_the_migrated_database_do_not_differ(engine):
    schema.check(engine)


def test_both_roads_lead_to_the_same_schema(make):
    """Alembic compares neither checks nor expressions nor predicates: the catalog does."""
    migrated, modeled = make("migrated"), make("modeled")
    schema.upgrade(migrated, "migrated")
    with modeled.begin() as connection:
        connection.execute(CreateSchema("modeled"))
        Base.metadata.create_all(connection)
    one, other = catalog(migrated), catalog(modeled)
    assert len(one["columns"]) == sum(len(t.c) for t in Base.metadata.tables.values())
    assert one["constraints"]
    for what in CATALOG:
        assert one[what] == other[what], what


def test_the_first_migration_leaves_nothing_behind_and_comes_again(make):
    engine = make(SCHEMA)
    schema.upgrade(engine, SCHEMA)
    before = catalog(engine)
    schema.downgrade(engine, SCHEMA, "base")
    assert catalog(engine) == {what: [] for what in CATALOG}
    assert schema.upgrade(engine, SCHEMA).current
    assert catalog(engine) == before


def test_every_later_migration_goes_down_and_up_and_keeps_the_data(loaded):
    """From the head one step down and up again, two steps, and so on to the first."""
    before, shape = contents(loaded), catalog(loaded)
    assert len(before["messages"]) > 100
    for revision in reversed(REVISIONS):
        schema.downgrade(loaded, SCHEMA, revision)
        schema.upgrade(loaded, SCHEMA)
        assert contents(loaded) == before, revision
        assert catalog(loaded) == shape, revision


def test_what_older_notes_are_about_comes_to_be_said_in_words(loaded):
    topics = {"access.gateWidth": "access.gate width", "Pets_HELD[]": "pets held[]", "%": "%"}
    with loaded.begin() as connection:
        for topic in topics:
            connection.execute(
                text(
                    "INSERT INTO memory_notes (id, customer_id, kind, text, extracted_by, topic)"
                    " SELECT gen_random_uuid(), id, 'fact', :topic, 'test', :topic"
                    " FROM customers LIMIT 1"
                ),
                {"topic": topic},
            )
    schema.downgrade(loaded, SCHEMA, "0010")
    schema.upgrade(loaded, SCHEMA)
    with loaded.connect() as connection:
        rows = connection.execute(text("SELECT text, topic FROM memory_notes"))
        assert dict(map(tuple, rows)) == topics


def test_there_is_one_line_of_migrations():
    assert SCRIPT.get_heads() == [HEAD]
    assert SCRIPT.get_bases() == [FIRST]


# --- making and finding a schema -------------------------------------------------------------


def test_many_may_make_the_schema_at_once(make):
    engine = make(SCHEMA)
    with ThreadPoolExecutor(6) as pool:
        states = list(pool.map(lambda _: schema.upgrade(engine, SCHEMA), range(6)))
    assert all(state.current for state in states)
    schema.check(engine)


def test_two_businesses_share_a_database_and_nothing_else(make):
    one, other = make("acme"), make("globex")
    schema.upgrade(one, "acme")
    with other.connect() as connection:
        assert schema.schema_state(connection, "globex").revision is None
    schema.upgrade(other, "globex")
    schema.downgrade(other, "globex", "base")
    with one.connect() as connection:
        assert schema.schema_state(connection, "acme").current


def test_an_installation_without_migrations_says_so(engine, tmp_path, monkeypatch):
    (tmp_path / "versions").mkdir()
    monkeypatch.setattr(schema, "_MIGRATIONS", tmp_path)
    with (
        engine.connect() as connection,
        pytest.raises(SchemaMismatch, match=r"has no migrations in .*Install it again"),
    ):
        schema.schema_state(connection, SCHEMA)


def test_a_schema_of_a_newer_version_is_refused(engine):
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match="newer Backstory"):
        schema.upgrade(engine, SCHEMA)
