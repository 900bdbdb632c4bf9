"""The staff's tools through each face, and that no credential opens what is not its own."""

import json
import subprocess

import anyio
import httpx2
import pytest
from cli_world import Terminal
from http_world import FREE, PEOPLE, Business, greetings, problem
from http_world import served as serving
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_served import bearer, posted, served
from mcp_world import refusal, said
from test_mcp_clients import HELLO, LIST, READY

import backstory
from backstory.faces.http.application import Mounted
from backstory.faces.http.service import HttpOptions
from backstory.faces.mcp.http import McpApp
from backstory.store.keys import revoke_key
from backstory.tools.access import Access
from backstory.tools.catalog import STAFF_TOOLS, TOOLS
from backstory.tools.schemas import Format, projection

ADDRESS = "/v1/staff/tools"
NAMES = [tool.name for tool in STAFF_TOOLS]


def call(business: Business, by: str, tool: str, /, **arguments: object) -> httpx2.Response:
    return business.ask("POST", f"{ADDRESS}/{tool}", by, json=arguments)


# --- HTTP ------------------------------------------------------------------------------------


def test_the_staff_s_key_calls_across_customers(business: Business) -> None:
    found = call(business, business.staff, "search_messages", query="sofa").json()
    assert {hit["lead"] for hit in found["messages"]} == set(PEOPLE)
    (bob,) = [hit for hit in found["messages"] if hit["lead"] == "bob-1"]
    got = call(business, business.staff, "get_customer", customer_id=bob["customer_id"])
    assert got.json()["profile"]["name"] == "Bob"
    calls = business.rows("SELECT DISTINCT actor, lead_id FROM tool_calls")
    assert calls == [("shop", None)]
    listed = business.ask("GET", f"{ADDRESS}?format=openai", business.staff).json()
    assert listed == {"format": "openai", "tools": projection(STAFF_TOOLS, Format.OPENAI)}


def test_refusals_are_problems(business: Business) -> None:
    nobody = "8a1e6b0c-2f43-4c7d-8f7e-6a9d5b2c4e10"
    said = problem(call(business, business.staff, "get_customer", customer_id=nobody), 404)
    assert said["outcome"] == "not_found"
    said = problem(call(business, business.staff, "search_messages", queri="x"), 422)
    assert "query" in said["message"]
    said = problem(call(business, business.staff, "create_job", title="Garage"), 404)
    assert said["outcome"] == "unknown_tool"
    metrics = business.ask("GET", "/metrics", business.staff).text
    assert 'backstory_tool_calls_total{outcome="unknown_tool",tool="unknown"} 1.0' in metrics


def test_no_credential_opens_the_tools_of_another(business: Business) -> None:
    token = business.token()
    for tool in (*NAMES, "no_such_tool"):
        problem(call(business, business.agent, tool, query="sofa"), 403)
        problem(call(business, token, tool, query="sofa"), 401)
        problem(call(business, "", tool, query="sofa"), 401)
    problem(business.ask("GET", ADDRESS, business.agent), 403)
    problem(business.ask("GET", ADDRESS, token), 401)
    for tool in TOOLS:
        path = f"/v1/tools/{tool.name}"
        problem(business.ask("POST", path, business.staff, json={}), 401)
    words = {
        problem(business.ask("POST", f"/v1/tools/{name}", token, json={"query": "sofa"}), 404)[
            "detail"
        ]
        for name in (*NAMES, "no_such_tool")
    }
    assert len(words) == 1, "an agent is not told which tools the staff has"
    opened = business.ask("POST", "/v1/sessions", business.staff, json={"lead": "ana-2"}).json()
    assert not set(NAMES) & set(opened["tools"])
    assert not business.rows("SELECT 1 FROM tool_calls WHERE outcome = 'found'")


# --- MCP -------------------------------------------------------------------------------------


@pytest.fixture
def mounted(database_url, tmp_path):
    """Yield a business that serves MCP to whatever `backstory serve` admits, and its address."""
    with serving(database_url, tmp_path) as business:
        business.record(*greetings())
        app = business.app
        with served(McpApp(Access(app.for_reading(), app.rules).toolset)) as url:
            yield business, url


def asking(url, credential, ask, mode="auto"):
    async def run():
        async with (
            httpx2.AsyncClient(headers=bearer(credential), timeout=30) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode) as client,
        ):
            return await ask(client)

    return anyio.run(run)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_a_client_with_a_staff_s_key_has_the_staff_s_tools(mounted, mode):
    business, url = mounted

    async def ask(client):
        listed = await client.list_tools()
        found = said(await client.call_tool("find_customers", {"query": "bob"}))
        theirs = refusal(await client.call_tool("create_job", {"title": "Garage"}))
        return client.instructions, [tool.name for tool in listed.tools], found, theirs

    instructions, names, found, theirs = asking(url, business.staff, ask, mode)
    assert names == NAMES
    assert found["customers"][0]["name"] == "Bob"
    assert theirs["outcome"] == "unknown_tool"
    assert "across all customers" in instructions


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_a_session_beside_it_has_its_own_and_no_other(mounted, mode):
    business, url = mounted

    async def ask(client):
        listed = await client.list_tools()
        told = [refusal(await client.call_tool(name, {})) for name in (*NAMES, "no_such_tool")]
        return client.instructions, [tool.name for tool in listed.tools], told

    instructions, names, told = asking(url, business.token(), ask, mode)
    assert names == [tool.name for tool in TOOLS]
    assert all(each == told[-1] for each in told)
    assert "customer of this conversation" in instructions


def test_other_keys_are_not_let_in(mounted):
    business, url = mounted
    words = {
        posted(url, bearer(each)).json()["detail"]
        for each in (business.agent, business.staff + "A", business.staff[:-1], "bsk_staff_")
    }
    assert len(words) == 1
    assert posted(url, bearer(business.agent)).status_code == 401
    assert posted(url, bearer(business.staff)).status_code == 200


def test_a_revoked_key_of_the_staff_ends(database_url, tmp_path):
    with serving(database_url, tmp_path) as business:
        ticks = [0.0]
        access = Access(business.app.for_reading(), ticks=lambda: ticks[0])
        assert access.toolset(business.staff).actor == "shop"
        with business.app.database.engine.begin() as connection:
            (key,) = connection.exec_driver_sql(
                "SELECT id FROM api_keys WHERE profile = 'staff'"
            ).one()
            revoke_key(connection, str(key))
        ticks[0] += 6
        with pytest.raises(backstory.BackstoryError):
            access.toolset(business.staff)


def test_whoever_tries_keys_at_mcp_is_slowed_down(database_url, tmp_path):
    def admit(_):
        raise AssertionError("nobody is looked up in this test")

    async def never(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app = McpApp(admit)
    options = HttpOptions(key_rate=0, session_rate=0, stranger_rate=2)
    mounts = [Mounted("/mcp", never, app.running)]
    with serving(database_url, tmp_path, options=options, mounts=mounts) as business:
        seen = [
            business.ask("POST", "/mcp", f"bsk_staff_{number}").status_code for number in range(8)
        ]
        assert seen[:4] == [200] * 4
        assert 429 in seen[4:]
        assert FREE.stranger_rate == 0


# --- Python and the command line -------------------------------------------------------------


def test_from_python(database_url, tmp_path):
    with backstory.open(database=database_url, home=tmp_path) as app:
        for each in greetings():
            app.record_event(each)
        staff = app.staff(actor="night shift")
        assert len(staff.tools("gemini")) == len(NAMES)
        assert staff.call("find_customers", {"query": "Bob"}).outcome == "found"


def test_from_the_command_line(loaded: Terminal) -> None:
    listed = loaded.type("tools", "--staff")
    assert max(map(len, listed.out.splitlines())) <= 80
    assert all(name in listed.out for name in NAMES)
    assert "CONTEXT_MEMORY_ENABLED" not in listed.out
    assert loaded.type("tools", "--staff", "--format", "anthropic").json == projection(
        STAFF_TOOLS, Format.ANTHROPIC
    )
    found = loaded.type("call", "find_customers", "--staff", "--args", '{"limit": 2}', "--json")
    assert found.code == 0
    assert len(found.json["data"]["customers"]) == 2
    assert loaded.type("call", "create_job", "--staff", "--args", '{"title": "x"}').code == 1
    for words in (("--staff", "--lead", "x"), ()):
        wrong = loaded.type("call", "find_customers", *words)
        assert (wrong.code, wrong.out) == (2, "")
        assert "--staff" in wrong.err


def test_over_standard_input_and_output(loaded: Terminal) -> None:
    process = loaded.begin("mcp", "--staff", stdin=subprocess.PIPE)
    out, err = process.communicate(f"{HELLO}\n{READY}\n{LIST}\n", timeout=60)
    assert process.returncode == 0, err
    told = {each.get("id"): each for each in map(json.loads, out.splitlines())}
    assert [tool["name"] for tool in told[2]["result"]["tools"]] == NAMES
