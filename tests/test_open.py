"""The Python face: one `with`, a session of a lead, and what a provider takes."""

import json
from pathlib import Path

import pytest
from sqlalchemy import text

import backstory
from backstory.config import Settings
from backstory.errors import Refused, UsageError
from backstory.extract.customers import HUB_LIMIT
from backstory.tools.catalog import TOOLS
from backstory.tools.schemas import Format, projection

HELLO = {
    "id": "e-1",
    "lead_id": "ana",
    "actor": "customer",
    "action": "message_received",
    "payload": {"text": "Same place as last time, 12 Oak St"},
    "created_at": "2026-06-01T12:00:00Z",
    "lead": {"channel": "sms", "phone": "+1 202 555 0101", "name": "Ana"},
}


@pytest.fixture
def opened(empty_database_url, tmp_path):
    """A business that nothing was known of until now, with memory."""
    with backstory.open(database=empty_database_url, home=tmp_path, memory=True) as app:
        app.record_event(HELLO)
        yield app


def test_what_is_not_given_is_read_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", "postgresql://reader@host/crm")
    monkeypatch.setenv("BACKSTORY_SCHEMA", "branch")
    with backstory.open(home=str(tmp_path), memory=True) as app:
        assert app.settings == Settings(
            DATABASE_URL="postgresql://reader@host/crm",
            BACKSTORY_SCHEMA="branch",
            home=tmp_path,
            CONTEXT_MEMORY_ENABLED=True,
        )
    with backstory.open(database="", schema="other") as app:
        assert (app.embedded, app.settings.database_schema) == (True, "other")
        assert app.settings.context_memory_enabled is False


def test_a_name_that_cannot_be_a_schema_is_refused_in_words():
    with pytest.raises(UsageError, match="schema name"), backstory.open(schema="Not One"):
        pass


def test_the_first_event_makes_the_schema_and_is_recorded_once(opened):
    assert opened.record_event(HELLO).outcome == "duplicate"
    with opened.database.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM messages")).scalar_one() == 1


def test_an_event_s_phone_is_read_in_the_region_of_the_settings(
    monkeypatch, empty_database_url, tmp_path
):
    monkeypatch.setenv("BACKSTORY_REGION", "GB")
    with backstory.open(database=empty_database_url, home=tmp_path) as app:
        app.record_event(HELLO | {"lead": {"channel": "sms", "phone": "020 7946 0018"}})
        with app.database.engine.connect() as connection:
            (phone,) = connection.execute(text("SELECT phone_e164 FROM leads")).one()
    assert phone == "+442079460018"


def test_an_event_s_lead_is_linked_by_the_hub_limit_of_the_settings(
    monkeypatch, empty_database_url, tmp_path
):
    monkeypatch.setenv("BACKSTORY_HUB_LIMIT", "2")
    with backstory.open(database=empty_database_url, home=tmp_path) as app:
        assert Settings().hub_limit == 2
        for number in range(3):
            lead = {"channel": "sms", "phone": "+15125550100", "email": f"{number}@example.com"}
            event = HELLO | {"id": f"e-{number}", "lead_id": f"lead-{number}", "lead": lead}
            app.record_event(event)
        with app.database.engine.connect() as connection:
            owners = text("SELECT count(DISTINCT customer_id) FROM leads")
            assert connection.execute(owners).scalar_one() == 3
    monkeypatch.delenv("BACKSTORY_HUB_LIMIT")
    assert Settings().hub_limit == HUB_LIMIT


def test_a_session_answers_calls(opened):
    session = opened.session("ana")
    answer = session.call("create_job", {"title": "Garage"}, idempotency_key="k")
    again = session.call("create_job", {"title": "Garage"}, idempotency_key="k")
    assert (answer.outcome, answer.refused, again.replayed) == ("created", False, True)
    refused = session.call("create_job", {})
    assert refused.refused
    assert "`title` is missing" in refused.data["message"]


@pytest.mark.parametrize("shape", Format)
def test_a_session_s_tools_are_what_a_provider_takes(opened, shape):
    given = opened.session("ana").tools(str(shape))
    assert given == projection(TOOLS, shape)
    assert json.loads(json.dumps(given)) == given


def test_another_provider_is_refused_with_those_there_are(opened):
    with pytest.raises(UsageError, match="canonical, openai, openai-chat, anthropic"):
        opened.session("ana").tools("cohere")


def test_a_prompt_gets_its_context_unless_memory_is_off(opened, empty_database_url, tmp_path):
    assert "Ana" in str(opened.context("ana", "the same place"))
    with backstory.open(database=empty_database_url, home=Path(tmp_path)) as forgetful:
        with pytest.raises(Refused, match="switched off"):
            forgetful.context("ana", "the same place")
        assert len(forgetful.session("ana").tools()) == len(TOOLS) - 2
