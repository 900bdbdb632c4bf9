"""`backstory serve` with MCP beside HTTP: a key opens a session, its token books by any client."""

import re

import anyio
import httpx2
import pytest
from cli_world import Terminal
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_scenario import book
from mcp_served import bearer, posted
from mcp_world import business, said

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@pytest.fixture
def terminal(database_url, tmp_path):
    business(database_url).engine.dispose()
    return Terminal(database_url, tmp_path / "home", CONTEXT_MEMORY_ENABLED="true")


@pytest.fixture
def address(terminal):
    process = terminal.begin("serve", "--port", "0", "--session-rate", "8")
    greeting = process.stderr.readline()
    yield re.search(r"http://[\w.:]+", greeting)[0]
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "Traceback" not in err


def test_a_session_s_token_serves_over_mcp(terminal, address):
    key = terminal.type("key", "create", "tests", "--json").json["key"]
    opened = httpx2.post(
        f"{address}/v1/sessions", headers=bearer(key), json={"lead": "ana-2"}, timeout=30
    )
    token = opened.json()["token"]

    async def scenario():
        async with (
            httpx2.AsyncClient(headers=bearer(token), timeout=30) as http,
            Client(streamable_http_client(f"{address}/mcp", http_client=http)) as client,
        ):

            async def call(name, arguments):
                return said(await client.call_tool(name, arguments))

            return await book(call)

    assert anyio.run(scenario)["status"] == "scheduled"
    refused = posted(f"{address}/mcp", bearer(key))
    assert refused.status_code == 401, "a key is no session"
    elsewhere = posted(f"{address}/mcp", bearer(token, Origin="http://evil.example"))
    assert elsewhere.status_code == 403
    # By one client: making one takes longer than the rate lets a request wait.
    given = bearer(token, Accept="application/json")
    with httpx2.Client(headers=given, timeout=30) as client:
        answers = [client.post(f"{address}/mcp", json=PING) for _ in range(80)]
    told = [answer.status_code for answer in answers]
    assert set(told) == {200, 429}, "as many as the rate has it, then no more"
