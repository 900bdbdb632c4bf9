"""What any client is told, whichever way it comes: the tools as we wrote them, and every answer."""

import json
import logging
from contextlib import asynccontextmanager

import anyio
import pytest
from jsonschema import Draft202012Validator
from mcp import Client
from mcp_scenario import book
from mcp_world import business, refusal, rows, said, session

from backstory.errors import DatabaseUnreachable
from backstory.faces.mcp.server import IDEMPOTENCY_KEY, server_for
from backstory.store.engine import Database
from backstory.tools.schemas import Format, projection

# The handshake of old, and the newest protocol, in which each request stands alone.
MODES = pytest.mark.parametrize("mode", ["legacy", "auto"])


@pytest.fixture
def database(database_url):
    database = business(database_url)
    yield database
    database.engine.dispose()


@pytest.fixture
def ana(database):
    return session(database, "ana-2")


def asking(session, ask, mode="auto"):
    """Run `ask(client)` against a server in memory and return what it returns."""

    @asynccontextmanager
    async def client():
        with anyio.fail_after(30):
            async with Client(server_for(lambda _: session), mode=mode) as opened:
                yield opened

    async def run():
        async with client() as opened:
            return await ask(opened)

    return anyio.run(run)


def called(session, name, arguments, mode="auto", **more):
    return asking(session, lambda client: client.call_tool(name, arguments, **more), mode)


@MODES
def test_the_tools_are_listed_as_they_are_written(ana, mode):
    listed = asking(ana, lambda client: client.list_tools(), mode)
    given = [
        each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in listed.tools
    ]
    assert given == projection(ana.offered, Format.MCP)
    for tool in given:
        assert set(tool["annotations"]) == {
            "readOnlyHint",
            "destructiveHint",
            "idempotentHint",
            "openWorldHint",
        }
        assert tool["title"]
        Draft202012Validator.check_schema(tool["outputSchema"])


@MODES
def test_the_list_is_the_same_to_the_byte_each_time(ana, database, mode):
    listed = [
        asking(each, lambda client: client.list_tools(), mode).model_dump_json()
        for each in (ana, ana, session(database, "bob-1"))
    ]
    assert len(set(listed)) == 1


def test_without_memory_its_tools_are_neither_listed_nor_called(database):
    forgetful = session(database, "ana-2", memory=False)
    listed = asking(forgetful, lambda client: client.list_tools())
    assert len(listed.tools) == 5
    told = refusal(called(forgetful, "memory_fetch_candidates", {"query": "last time"}))
    assert told["outcome"] == "unknown_tool"


@MODES
def test_a_returning_customer_is_served(ana, database, mode):
    async def scenario(client):
        async def call(name, arguments):
            result = await client.call_tool(name, arguments)
            schema = next(tool for tool in tools if tool.name == name).output_schema
            Draft202012Validator(schema).validate(result.structured_content)
            return said(result)

        tools = (await client.list_tools()).tools
        return await book(call)

    job = asking(ana, scenario, mode)
    assert (job["status"], job["totals"]["total_cents"]) == ("scheduled", 12_400)
    assert "12 Oak St" in job["address"]
    kept = rows(
        database, "SELECT event_type FROM job_events WHERE job_id = :job", job=job["job_id"]
    )
    assert {"created", "item_added", "confirmed"} <= {event.event_type for event in kept}
    confirmed = rows(database, "SELECT 1 FROM confirmations WHERE confirmed_at IS NOT NULL")
    assert len(confirmed) == 1


# --- what is refused -------------------------------------------------------------------------


@MODES
def test_a_refusal_is_an_error_the_model_can_act_on(ana, mode):
    told = refusal(called(ana, "create_job", {"title": "x"}, mode))
    assert told["outcome"] == "invalid_arguments"
    assert "title" in told["message"]
    assert told["next_step"]


def test_an_unknown_argument_is_named_and_nothing_is_done(ana, database):
    before = rows(database, "SELECT count(*) FROM jobs")
    told = refusal(called(ana, "create_job", {"title": "Garage", "customer_id": "c-1"}))
    assert told["outcome"] == "invalid_arguments"
    assert "customer_id" in told["message"]
    assert rows(database, "SELECT count(*) FROM jobs") == before


def test_an_unknown_tool_is_answered_with_those_there_are(ana):
    told = refusal(called(ana, "delete_customer", {}))
    assert told["outcome"] == "unknown_tool"
    assert "create_job" in told["next_step"]


def test_another_customer_s_job_is_not_found(ana, database):
    bobs = session(database, "bob-1").call("create_job", {"title": "Cellar"}).data
    ids = (bobs["job"]["job_id"], "00000000-0000-4000-8000-000000000000")
    first, second = (
        refusal(called(ana, "record_job_event", {"job_id": each, "event_type": "canceled"}))
        for each in ids
    )
    assert first["outcome"] == "not_found"
    first["message"] = first["message"].replace(*ids)
    assert first == second


HOSTILE = (
    {},
    {"title": None},
    {"title": ["Garage"]},
    {"title": {"$ne": 1}},
    {"title": "Garage\0"},
    {"title": "G" * 100_000},
    {"title": "Garage", "price_cents": 10**30},
    {"title": "Garage", "price_cents": True},
    {"title": "Garage", "address_id": "'; DROP TABLE jobs; --"},
    {"title": "Garage", "scheduled_start": "tomorrow"},
    {"title": "Garage", "__class__": "x", "\u202etitle": "y"},
    {f"field{number}": number for number in range(2_000)},
)


def test_hostile_arguments_are_refused_in_words(ana):
    async def ask(client):
        return [await client.call_tool("create_job", each) for each in HOSTILE]

    outcomes = [refusal(result)["outcome"] for result in asking(ana, ask)]
    assert outcomes == ["invalid_arguments"] * len(HOSTILE)


# --- what goes wrong on our side -------------------------------------------------------------


def test_a_database_that_does_not_answer_is_told_and_logged(ana, caplog):
    nowhere = Database.open("postgresql://nobody@127.0.0.1:1/none", "backstory")
    lost = type(ana)(nowhere, ana.lead_id, ana.actor, ana.rules)
    with caplog.at_level(logging.WARNING, "backstory"):
        told = refusal(called(lost, "create_job", {"title": "Garage"}))
    assert told["outcome"] == "unavailable"
    assert "127.0.0.1" not in json.dumps(told)
    assert DatabaseUnreachable.__name__ in caplog.text


def test_a_defect_is_told_without_its_traceback_and_logged_with_it(ana, database, caplog):
    with database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE job_items CASCADE")
    with caplog.at_level(logging.ERROR, "backstory"):
        told = refusal(called(ana, "create_job", {"title": "Garage", "price_cents": 100}))
    assert told["outcome"] == "failed"
    assert "job_items" not in json.dumps(told)
    assert "Traceback" in caplog.text


# --- the same call again ---------------------------------------------------------------------


@MODES
def test_a_key_beside_the_arguments_makes_a_call_repeatable(ana, database, mode):
    line = {"kind": "item", "name": "Sofa"}
    line["job_id"] = ana.call("create_job", {"title": "Garage"}).data["job"]["job_id"]
    meta = {IDEMPOTENCY_KEY: "k-1"}
    first, again = (said(called(ana, "add_job_item", line, mode, meta=meta)) for _ in range(2))
    assert first == again
    assert len(rows(database, "SELECT 1 FROM job_items WHERE name = 'Sofa'")) == 1
    other = {**line, "name": "Chair"}
    assert refusal(called(ana, "add_job_item", other, mode, meta=meta))["outcome"] == "conflict"


def test_an_unfit_key_is_refused_in_words(ana):
    for key in (5, "", "x" * 201, ["k"]):
        told = refusal(called(ana, "create_job", {"title": "Garage"}, meta={IDEMPOTENCY_KEY: key}))
        assert told["outcome"] == "invalid_request"
        assert "idempotency key" in told["message"]
