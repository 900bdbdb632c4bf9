"""What the driver itself refuses is a fault of the values, as what the server refuses is."""

import pytest
from sqlalchemy import Connection, text

from backstory.errors import RecordRefused
from backstory.store.engine import translated


def test_a_value_that_cannot_be_sent_or_read_is_the_values_fault(connection: Connection) -> None:
    for statement, value in (
        ("SELECT CAST(:value AS text)", "a\0b"),
        ("SELECT CAST(:value AS timestamptz)", "9999-12-31 23:59:59-12:00"),
        ("SELECT CAST(:value AS bigint)", "nine"),
    ):
        with pytest.raises(RecordRefused) as refused, translated(), connection.begin_nested():
            connection.execute(text(statement), {"value": value}).one()
        assert refused.value.code.startswith("22")
