"""Over streamable HTTP a token is the whole authority, and no web page borrows it."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_scenario import book
from mcp_served import Office, bearer, posted, served
from mcp_world import business, refusal, rows, said

from backstory.errors import DatabaseUnreachable
from backstory.faces.mcp.http import McpApp
from backstory.faces.mcp.server import IDEMPOTENCY_KEY
from backstory.store import keys
from backstory.store.engine import open_engine
from backstory.store.schema import upgrade

MODES = pytest.mark.parametrize("mode", ["legacy", "auto"])
LATEST = {"MCP-Protocol-Version": "2025-11-25"}


@pytest.fixture
def office(database_url):
    office = Office(business(database_url))
    yield office
    office.database.engine.dispose()


@pytest.fixture
def url(office):
    with served(McpApp(office.access.session)) as address:
        yield address


def asking(url, token, ask, mode="auto"):
    """Run `ask(client)` for a client of the SDK that sends this token."""

    async def run():
        async with (
            httpx2.AsyncClient(headers=bearer(token), timeout=30) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode) as client,
        ):
            return await ask(client)

    return anyio.run(run)


@MODES
def test_a_returning_customer_is_served(office, url, mode):
    async def scenario(client):
        async def call(name, arguments):
            return said(await client.call_tool(name, arguments))

        return await book(call)

    job = asking(url, office.token("ana-2"), scenario, mode)
    assert job["status"] == "scheduled"
    assert "12 Oak St" in job["address"]


@MODES
def test_a_refusal_and_a_key_travel(office, url, mode):
    async def ask(client):
        meta = {IDEMPOTENCY_KEY: "k-1"}
        first = await client.call_tool("create_job", {"title": "Garage"}, meta=meta)
        again = await client.call_tool("create_job", {"title": "Garage"}, meta=meta)
        return said(first), said(again), refusal(await client.call_tool("create_job", {"name": 1}))

    first, again, told = asking(url, office.token("ana-2"), ask, mode)
    assert first == again
    assert told["outcome"] == "invalid_arguments"
    assert "`name` is no field" in told["message"]


# --- who may come in -------------------------------------------------------------------------


def altered(token):
    """Return tokens that differ from a good one in one place each."""
    for place in (5, len(token) // 2, len(token) - 1):
        yield token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
    yield token[:-1]


def test_without_a_token_nobody_comes_in(url):
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}):
        answer = posted(url, headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"


def test_altered_expired_and_revoked_tokens_are_answered_alike(office, url):
    good = office.token("ana-2")
    assert posted(url, bearer(good, **LATEST)).status_code == 200
    past = Office(office.database, clock=lambda: datetime.now(UTC) - timedelta(hours=1))
    bad = [*altered(good), past.token("ana-2"), "bsk_agent_x", "x" * 5000]
    told = [posted(url, bearer(each, **LATEST)) for each in bad]
    assert {answer.status_code for answer in told} == {401}
    assert len({answer.text for answer in told}) == 1


def test_a_token_ends_with_its_key(office):
    with served(McpApp(Office(office.database).access.session)) as url:
        with office.database.engine.begin() as connection:
            keys.revoke_key(connection, str(office.key.id))
        assert posted(url, bearer(office.token("ana-2"), **LATEST)).status_code == 401


def test_another_business_s_token_is_none_here(url, empty_database_url):
    engine = open_engine(empty_database_url, "backstory")
    upgrade(engine, "backstory")
    engine.dispose()
    foreign = Office(business(empty_database_url))
    answer = posted(url, bearer(foreign.token("ana-2"), **LATEST))
    foreign.database.engine.dispose()
    assert answer.status_code == 401


def test_each_token_reaches_its_own_customer_alone(office, url):
    """At once, over one server: nothing of one request is there for another."""
    tokens = {lead: office.token(lead) for lead in ("ana-2", "bob-1")}

    def create(number):
        lead = ("ana-2", "bob-1")[number % 2]
        params = {"name": "create_job", "arguments": {"title": f"{lead} number {number}"}}
        answer = posted(url, bearer(tokens[lead], **LATEST), method="tools/call", params=params)
        assert not answer.json()["result"].get("isError"), answer.text

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(40)))
    wrong = rows(
        office.database,
        "SELECT j.title FROM jobs AS j JOIN leads AS l ON l.id = j.lead_id"
        " WHERE j.title LIKE '%number%' AND j.title NOT LIKE l.external_id || '%'",
    )
    assert wrong == []
    assert len(rows(office.database, "SELECT 1 FROM jobs WHERE title LIKE '%number%'")) == 40


def test_whoever_asks_too_often_is_told_to_wait(office):
    with served(McpApp(office.access.session, wait=lambda _: 2.5)) as url:
        answer = posted(url, bearer(office.token("ana-2"), **LATEST))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")


def test_a_database_that_does_not_answer_is_no_wrong_token():
    def admit(_):
        raise DatabaseUnreachable("no answer from 127.0.0.1:5432")

    with served(McpApp(admit)) as url:
        answer = posted(url, bearer("bst_x"))
    assert answer.status_code == 503
    assert "5432" not in answer.text


# --- from where ------------------------------------------------------------------------------


ELSEWHERE = (
    "http://evil.example",
    "https://localhost.evil.example",
    "http://evil.example/#localhost",
    "null",
    "http://[",
    "file://",
)
HERE = ("http://localhost:5173", "http://127.0.0.1", "http://[::1]:1")


def test_a_web_page_of_elsewhere_is_turned_away(office, url):
    token = office.token("ana-2")
    told = {each: posted(url, bearer(token, Origin=each, **LATEST)) for each in ELSEWHERE + HERE}
    assert {each for each, answer in told.items() if answer.status_code == 403} == set(ELSEWHERE)
    assert {each for each, answer in told.items() if answer.status_code == 200} == set(HERE)


def test_a_name_that_was_bent_to_this_machine_is_turned_away(office, url):
    headers = bearer(office.token("ana-2"), Host="evil.example:8080", **LATEST)
    assert posted(url, headers).status_code == 421


def test_names_and_pages_can_be_named(office):
    app = McpApp(office.access.session, hosts={"agents.example"}, origins={"desk.example"})
    known = {"Host": "agents.example", "Origin": "https://desk.example"}
    with served(app) as url:
        token = office.token("ana-2")
        assert posted(url, bearer(token, **known, **LATEST)).status_code == 200
        assert posted(url, bearer(token, **LATEST)).status_code == 421


# --- what comes in ---------------------------------------------------------------------------


def test_there_is_no_stream_and_no_session_to_end(office, url):
    token = office.token("ana-2")
    for verb in ("GET", "DELETE", "PUT"):
        answer = posted(url, bearer(token), verb=verb)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


BROKEN = {
    "no JSON": b"{",
    "a list": b"[]",
    "no method": b'{"jsonrpc": "2.0", "id": 1}',
    "arguments that are none": b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call",'
    b' "params": {"name": "create_job", "arguments": "all"}}',
    "no such method": b'{"jsonrpc": "2.0", "id": 1, "method": "customers/list"}',
    "deep": b'{"a":' * 20_000,
}


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28", "1999-01-01"])
def test_a_broken_message_is_an_error_of_the_protocol(office, url, version):
    headers = bearer(office.token("ana-2"), **{"MCP-Protocol-Version": version})
    for what, body in BROKEN.items():
        answer = posted(url, headers, body=body)
        assert answer.status_code < 500, what
        assert answer.json()["error"]["code"] < 0, what
        assert "Traceback" not in answer.text, what


ON_THE_WIRE = (
    b'{"title": "Garage", "price_cents": NaN}',
    b'{"title": "Garage", "price_cents": Infinity}',
    b'{"title": "Garage", "price_cents": 1e400}',
    b'{"title": "Garage", "title ": "x"}',
)


def test_arguments_that_only_a_wire_can_carry_are_refused(office, url):
    token = office.token("ana-2")
    for arguments in ON_THE_WIRE:
        body = (
            b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call",'
            b' "params": {"name": "create_job", "arguments": %s}}' % arguments
        )
        answer = posted(url, bearer(token, **LATEST), body=body)
        assert answer.status_code < 500, arguments
        told = answer.json()
        if "error" in told:  # no JSON, by the letter
            assert told["error"]["code"] < 0
            continue
        assert told["result"]["isError"], arguments
        assert json.loads(told["result"]["content"][0]["text"])["outcome"] == "invalid_arguments"
    assert rows(office.database, "SELECT 1 FROM jobs WHERE title LIKE '%Garage%'") == []


def test_a_body_that_no_call_needs_is_not_read(office, url):
    answer = posted(url, bearer(office.token("ana-2"), **LATEST), body=b" " * 300_000)
    assert answer.status_code == 413
