"""The composition root: nothing is started or written before it is asked for."""

import pytest
from sqlalchemy import text

from backstory.app import open_app
from backstory.config import Settings
from backstory.errors import SchemaMismatch, UsageError
from backstory.store import embedded


def settings(home, url="", schema="backstory"):
    return Settings(DATABASE_URL=url, BACKSTORY_SCHEMA=schema, home=home)


def test_opening_starts_nothing(tmp_path):
    said = []
    with open_app(settings(tmp_path / "home"), on_progress=said.append) as app:
        assert app.embedded
        assert app.existing() is None
    assert said == []
    assert not (tmp_path / "home").exists()


def test_an_unreachable_server_is_no_error_until_it_is_used(tmp_path):
    with open_app(settings(tmp_path, "postgresql://nobody@127.0.0.1:1/none")) as app:
        assert app.database.schema == "backstory"


def test_reading_needs_what_writing_makes(tmp_path, empty_database_url):
    with open_app(settings(tmp_path, empty_database_url)) as app:
        assert app.existing() is None
        with pytest.raises(UsageError, match="backstory demo"):
            app.for_reading()
        app.for_writing()
        assert app.for_reading() is app.database


def test_the_schema_that_is_missing_is_named(tmp_path, empty_database_url):
    with (
        open_app(settings(tmp_path, empty_database_url, "branch")) as app,
        pytest.raises(UsageError, match="'branch'"),
    ):
        app.for_reading()


def test_an_older_schema_is_not_read_but_upgraded_by_writing(tmp_path, empty_database_url):
    with open_app(settings(tmp_path, empty_database_url)) as app:
        with app.database.engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA backstory"))
            connection.execute(
                text("CREATE TABLE backstory.alembic_version (version_num varchar(32))")
            )
        assert app.existing() is None
        app.for_writing()
        assert app.existing() is app.database


def test_a_newer_schema_is_left_alone(tmp_path, database_url):
    with open_app(settings(tmp_path, database_url)) as app:
        with app.database.engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        for ask in (app.for_reading, app.for_writing, app.existing):
            with pytest.raises(SchemaMismatch, match="newer"):
                ask()


def test_closing_gives_every_connection_back(tmp_path, database_url):
    with open_app(settings(tmp_path, database_url)) as app:
        engine = app.database.engine
        with engine.connect():
            pass
        assert engine.pool.checkedin() == 1
    assert engine.pool.checkedin() == 0


def test_an_embedded_server_is_started_once_and_lent(tmp_path):
    said = []
    given = Settings(DATABASE_URL="", home=tmp_path / "home", db_linger=0.5)
    with open_app(given, on_progress=said.append) as app:
        app.for_writing()
        assert app.for_reading() is app.database
    assert said[0].startswith("Creating the database")

    embedded.stop(tmp_path / "home", purge=True)
