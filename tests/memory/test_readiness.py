"""Whether memory can be switched on: what is sound passes, a breakage is named by one check."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from backstory.backfill import journey
from backstory.backfill.options import BackfillOptions
from backstory.sample import paths
from backstory.store.engine import Database
from backstory.tools.catalog import TOOLS
from backstory.tools.readiness import readiness

NOW = datetime(2026, 11, 20, tzinfo=UTC)
NAMES = [
    *("schema_current", "agent_role", "rows_protected", "nobody_sees_nothing", "indexes_valid"),
    *("customers_linked", "gates_green", "tools_valid"),
]


@pytest.fixture
def database(database_url, tmp_path):
    """Return a database with the sample in it."""
    database = Database.open(database_url, "backstory")
    audit, leads = map(str, paths())
    journey.start(database, tmp_path, BackfillOptions(audit=(audit,), leads=(leads,)))
    yield database
    database.engine.dispose()


def failed(database: Database) -> dict[str, tuple[str, ...]]:
    # The suite of the tools takes seconds, and has its own tests.
    found = readiness(database, now=NOW, tools=())
    assert found.ok == all(each.passed for each in found.findings)
    return {each.name: each.offenders for each in found.findings if not each.passed}


def test_a_sound_database_is_ready(database):
    found = readiness(database, now=NOW)
    assert [each.name for each in found.findings] == NAMES
    assert found.ok, found.as_json()


BREAKAGES = {
    "ALTER TABLE jobs DISABLE ROW LEVEL SECURITY": ("rows_protected", "jobs"),
    "ALTER TABLE api_keys DISABLE ROW LEVEL SECURITY": ("rows_protected", "api_keys"),
    "DROP POLICY own_customer ON confirmations": ("rows_protected", "confirmations"),
    "CREATE POLICY open ON memory_notes USING (true)": ("rows_protected", "memory_notes"),
    "DROP INDEX messages_of_customer_idx": ("indexes_valid", "messages_of_customer_idx"),
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'messages_in_order_idx'::regclass": (
        *("indexes_valid", "messages_in_order_idx"),
    ),
    "REVOKE SELECT ON leads FROM backstory_agent": ("agent_role", "leads"),
    "UPDATE messages SET created_at = created_at + interval '1 day' WHERE seq = 3": (
        *("gates_green", "times_agree"),
    ),
    "INSERT INTO leads (id, external_id, customer_id, channel, source)"
    " SELECT gen_random_uuid(), 'x', absorbed.id, 'sms', 'list' FROM absorbed": (
        *("customers_linked", "leads_linked"),
    ),
}
ABSORBED = """
WITH survivor AS (SELECT id FROM customers LIMIT 1), absorbed AS (
    INSERT INTO customers (id, merged_into_id, created_at)
    SELECT gen_random_uuid(), id, now() FROM survivor RETURNING id)
"""


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_what_is_broken_is_named(database, breakage):
    check, offender = BREAKAGES[breakage]
    with database.engine.begin() as connection:
        connection.execute(text(ABSORBED + breakage if "absorbed" in breakage else breakage))
    found = failed(database)
    assert check in found
    assert offender in " ".join(found[check])
    also = {"nobody_sees_nothing"} if "SECURITY" in breakage or "(true)" in breakage else set()
    assert set(found) - also == {check}


def test_what_is_no_customers_may_be_seen(database):
    with database.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO embedding_models (name, dimensions, run_id, completed_at)"
                " SELECT 'some model', 4, id, now() FROM backfill_runs"
            )
        )
    assert failed(database) == {}


def test_rows_that_a_session_of_nobody_sees_are_found_by_looking(database):
    with database.engine.begin() as connection:
        connection.execute(text("CREATE POLICY open ON messages USING (true)"))
    assert failed(database)["nobody_sees_nothing"] == ("messages shows rows",)


def test_without_rights_it_tells_what_an_administrator_has_to_do(database):
    with database.engine.begin() as connection:
        connection.execute(text("REVOKE SELECT, UPDATE ON customers FROM backstory_agent"))
    told = " ".join(failed(database)["agent_role"])
    assert "lacks SELECT on customers" in told
    assert "backstory db upgrade" in told


def test_a_schema_of_another_version_is_all_that_is_said(database):
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    found = failed(database)
    assert list(found) == ["schema_current"]
    assert "backstory db upgrade" in found["schema_current"][0]


def test_a_tool_that_does_not_hold_to_the_suite_is_named(database):
    bad = replace(TOOLS[0], title="")
    found = {each.name: each for each in readiness(database, now=NOW, tools=(bad, bad)).findings}
    assert not found["tools_valid"].passed
    assert bad.name in " ".join(found["tools_valid"].offenders)


def test_the_connection_is_given_back_as_its_owners(database):
    with database.engine.connect() as connection:
        owner = connection.execute(text("SELECT current_user")).scalar_one()
    readiness(database, now=NOW, tools=())
    with database.engine.begin() as connection:
        assert connection.execute(text("SELECT current_user")).scalar_one() == owner
        # It may write again, too.
        connection.execute(text("DELETE FROM confirmations"))
