"""A table that is not there: the names that may be meant, and none of our own."""

import psycopg
import pytest

from backstory.audit.rows import Kind
from backstory.audit.table import Table
from backstory.errors import SourceError


def refusal(url: str, table: str | None = None) -> str:
    with pytest.raises(SourceError) as refused:
        Table(url, Kind.AUDIT, table).check()
    return str(refused.value)


def test_our_own_tables_are_not_offered(database_url: str) -> None:
    assert refusal(database_url).endswith("there are no tables to read from.")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA crm; CREATE TABLE crm.audits (id int)")
    assert "Similar are: crm.audits. Name one" in refusal(database_url)
    assert "There are: crm.audits. Name one" in refusal(database_url, "nothing_like_it")


def test_they_are_to_who_names_our_schema(database_url: str) -> None:
    assert "audit_log" in refusal(database_url, "backstory.audit")


def test_a_schema_of_others_with_a_table_called_like_one_of_ours_is_offered(
    empty_database_url: str,
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE audit_log (id int); CREATE TABLE alembic_version (v int)")
    assert "Similar are: audit_log." in refusal(empty_database_url)
