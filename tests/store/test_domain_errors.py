"""What the driver itself refuses is a fault of the values, as what the server refuses is."""

import pytest
from sqlalchemy import Connection, make_url, text

from backstory.errors import DatabaseError, DatabaseUnreachable, RecordRefused
from backstory.store.engine import open_engine, translated


def test_a_value_that_cannot_be_sent_or_read_is_the_values_fault(connection: Connection) -> None:
    for statement, value in (
        ("SELECT CAST(:value AS text)", "a\0b"),
        ("SELECT CAST(:value AS timestamptz)", "9999-12-31 23:59:59-12:00"),
        ("SELECT CAST(:value AS bigint)", "nine"),
    ):
        with pytest.raises(RecordRefused) as refused, translated(), connection.begin_nested():
            connection.execute(text(statement), {"value": value}).one()
        assert refused.value.code.startswith("22")


def test_a_server_that_lets_nobody_in_is_told_from_one_that_does_not_answer(
    database_url: str,
) -> None:
    there = make_url(database_url)
    for url, said in (
        (there.set(database="nobody_made_it"), "correct the name of the database"),
        (there.set(username="nobody_is_called_so"), "the user in the URL|password in the URL"),
    ):
        engine = open_engine(url.render_as_string(hide_password=False), "backstory")
        with pytest.raises(DatabaseError, match=said) as refused, translated():
            engine.connect()
        assert not isinstance(refused.value, DatabaseUnreachable)
        assert "The database refuses" in str(refused.value)
        engine.dispose()
