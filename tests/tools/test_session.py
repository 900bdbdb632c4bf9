"""A call: written down, repeated safely, and answered with a sentence whatever goes wrong."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from tools_world import agent, everything, refused, rows, told

from backstory.errors import DatabaseUnreachable, UsageError
from backstory.live.conversations import close_conversation
from backstory.store.engine import Database
from backstory.tools.catalog import MEMORY_TOOLS, TOOLS


def test_every_call_is_written_down_with_its_outcome(database, ana):
    told(ana, "create_job", title="Garage")
    refused(ana, "create_job", title="x")
    refused(ana, "open_sesame")
    calls = rows(
        database,
        "SELECT t.tool, t.outcome, t.latency_ms, t.actor, l.external_id, t.conversation_id,"
        " t.answer"
        " FROM tool_calls AS t JOIN leads l ON l.id = t.lead_id ORDER BY t.id",
    )
    assert sorted((call.tool, call.outcome) for call in calls) == [
        ("create_job", "created"),
        ("create_job", "invalid_arguments"),
        ("unknown", "unknown_tool"),
    ]
    assert {call.external_id for call in calls} == {"ana-2"}
    assert all(call.latency_ms >= 0 and call.conversation_id and call.actor for call in calls)
    assert all(call.answer is None for call in calls)
    log = rows(
        database,
        "SELECT action, payload FROM audit_log WHERE log = 'backstory' AND action LIKE 'tool%'",
    )
    assert sorted(row.action for row in log) == ["tool_called", "tool_refused", "tool_refused"]


def test_the_same_key_and_arguments_are_answered_as_before(database, ana):
    first = ana.call("create_job", {"title": "Garage"}, idempotency_key="k1")
    before = everything(database)
    again = ana.call("create_job", {"title": "Garage", "description": None}, idempotency_key="k1")
    assert again.text == first.text
    assert again.replayed
    assert not first.replayed
    assert everything(database) == before


def test_arguments_may_come_as_json_and_the_answer_goes_as_json(ana):
    answer = ana.call("create_job", '{"title": "Sofa"}')
    assert json.loads(answer.text) == answer.data
    assert answer.data["job"]["title"] == "Sofa"
    assert ana.call("create_job", "{").outcome == "invalid_arguments"


def test_a_name_that_is_none_is_no_tool(ana):
    for name in (["create_job"], None, 7):
        assert ana.call(name, {}).outcome == "unknown_tool"


def test_the_same_key_with_other_arguments_is_a_conflict(ana):
    told(ana, "create_job", key="k1", title="Garage")
    assert refused(ana, "create_job", key="k1", title="Attic")["outcome"] == "conflict"


def test_a_refused_call_does_not_use_up_its_key(ana):
    refused(ana, "create_job", key="k1", title="x")
    assert told(ana, "create_job", key="k1", title="Garage")["outcome"] == "created"


def test_a_key_belongs_to_one_lead_and_one_tool(ana, bob):
    told(ana, "create_job", key="k1", title="Garage")
    assert told(bob, "create_job", key="k1", title="Cellar")["outcome"] == "created"
    assert told(ana, "add_address", key="k1", line1="1 Elm St")["outcome"] == "created"


@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb", 5])
def test_an_unfit_key_is_the_host_s_mistake(ana, key):
    with pytest.raises(UsageError, match="idempotency key"):
        ana.call("create_job", {"title": "Garage"}, idempotency_key=key)


@pytest.mark.parametrize("key", ["k1", None])
def test_the_same_call_eight_times_at_once_makes_one_job(database, ana, key):
    """With a key by the ledger, without one by the title and the minutes."""
    with ThreadPoolExecutor(8) as pool:
        calls = [
            pool.submit(ana.call, "create_job", {"title": "Garage"}, idempotency_key=key)
            for _ in range(8)
        ]
        answers = [call.result() for call in calls]
    assert len({answer.data["job"]["job_id"] for answer in answers}) == 1
    assert len(rows(database, "SELECT 1 FROM jobs")) == 1
    assert sum(answer.outcome == "created" and not answer.replayed for answer in answers) == 1


def test_eight_equal_lines_at_once_are_eight_lines_that_add_up(database, ana):
    job = told(ana, "create_job", title="Garage")["job"]["job_id"]
    line = {"job_id": job, "kind": "item", "name": "Bag", "unit_price_cents": 150}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: told(ana, "add_job_item", **line), range(8)))
    (row,) = rows(database, "SELECT total_cents FROM jobs")
    assert row.total_cents == 1200
    places = rows(database, "SELECT position FROM job_items ORDER BY 1")
    assert [place.position for place in places] == list(range(1, 9))


def test_without_memory_the_memory_tools_are_not_there(database, clock):
    plain = agent(database, "ana-1", clock=clock, memory=False)
    assert {tool.name for tool in plain.offered} == {
        tool.name for tool in TOOLS if tool not in MEMORY_TOOLS
    }
    said = refused(plain, "memory_fetch_candidates", query="sofa")
    assert said["outcome"] == "unknown_tool"
    assert "memory" not in said["next_step"]
    told(plain, "create_job", title="Works without")


def test_a_closed_conversation_is_followed_by_the_next_session_s(database, clock):
    told(agent(database, "ana-2", clock=clock), "create_job", title="First")
    close_conversation(database, "ana-2")
    told(agent(database, "ana-2", clock=clock), "create_job", title="Next")
    ordinals = rows(
        database,
        "SELECT v.ordinal, v.status FROM conversations v JOIN leads l ON l.id = v.lead_id"
        " WHERE l.external_id = 'ana-2' ORDER BY 1",
    )
    assert [tuple(row) for row in ordinals] == [(0, "closed"), (1, "open")]


@pytest.mark.parametrize(
    "arguments",
    [
        {"title": 5},
        {"title": None},
        {},
        {"title": "Garage", "price_cents": "a lot"},
        {"title": "Garage", "price_cents": -1},
        {"title": "Garage", "price_cents": 10**30},
        {"title": "Garage", "customer_id": "5"},
        {"title": "Garage", "scheduled_start": "tomorrow"},
        {"title": "Garage", "scheduled_start": "2026-06-05T09:00:00"},
        {"title": "x" * 10**6},
        {"title": ["Garage"]},
        {"title": {"a": {"b": {"c": "d"}}}},
        {"title": "Garage", "address_id": "12 Oak St"},
        {"\u202e": "x", "title": "Garage"},
        {"title": "Garage", "description": "\ud800"} | {"price_cents": True},
    ],
)
def test_wrong_arguments_are_a_sentence_and_change_nothing(database, ana, arguments):
    before = everything(database)
    said = refused(ana, "create_job", **arguments)
    assert said["outcome"] == "invalid_arguments"
    words = said["message"] + said.get("next_step", "")
    assert 10 < len(words) < 1500
    assert "Traceback" not in words
    assert "pydantic" not in words.lower()
    assert everything(database) == before


def test_a_database_that_does_not_answer_is_the_host_s_to_retry(ana):
    gone = Database.open("postgresql://nobody@127.0.0.1:1/none", "backstory")
    session = type(ana)(gone, ana.lead_id, "agent", ana.rules)
    with pytest.raises(DatabaseUnreachable):
        session.call("create_job", {"title": "Garage"})
