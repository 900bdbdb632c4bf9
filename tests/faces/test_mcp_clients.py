"""Clients as they come: processes over stdio, and the SDK of the line before, which is not ours."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from cli_world import Terminal
from mcp import Client, StdioServerParameters
from mcp_scenario import book
from mcp_served import Office, served
from mcp_world import business, refusal, said, session
from other_environment import installed, run

from backstory.faces.mcp.http import McpApp
from backstory.tools.schemas import Format, projection

CLIENT = Path(__file__).with_name("mcp_client_1x.py")
SERVE = ["-m", "backstory", "mcp", "--lead", "ana-2"]


@pytest.fixture
def database(database_url):
    database = business(database_url)
    yield database
    database.engine.dispose()


@pytest.fixture
def terminal(database, database_url, tmp_path):  # noqa: ARG001 - the business is there first
    return Terminal(database_url, tmp_path / "home", CONTEXT_MEMORY_ENABLED="true")


@pytest.fixture(scope="session")
def packages():
    """Return where the SDK of the 1.x line is."""
    return installed("mcp1")


def asking(terminal, ask, mode):
    given = StdioServerParameters(command=sys.executable, args=SERVE, env=terminal.environment())

    async def talk():
        with anyio.fail_after(60):
            async with Client(given, mode=mode) as client:
                return await ask(client)

    return anyio.run(talk)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_a_process_serves_a_returning_customer(terminal, mode):
    async def scenario(client):
        async def call(name, arguments):
            return said(await client.call_tool(name, arguments))

        job = await book(call)
        return job, refusal(await client.call_tool("create_job", {"title": "x"}))

    job, told = asking(terminal, scenario, mode)
    assert job["status"] == "scheduled"
    assert told["outcome"] == "invalid_arguments"


def talked(terminal, *messages, **options):
    """Return how a process ended that was given these lines, with what it wrote."""
    process = terminal.begin(*SERVE[2:], stdin=subprocess.PIPE, **options)
    out, err = process.communicate("".join(f"{each}\n" for each in messages), timeout=60)
    return process.returncode, out.splitlines(), err


HELLO = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "by hand", "version": "1"},
        },
    }
)
READY = '{"jsonrpc": "2.0", "method": "notifications/initialized"}'
CALL = (
    '{"jsonrpc": "2.0", "id": %d, "method": "tools/call",'
    ' "params": {"name": "add_address", "arguments": {"line1": "12 Oak St", "city": "Austin"}}}'
)
LIST = '{"jsonrpc": "2.0", "id": 2, "method": "tools/list"}'


def test_standard_output_holds_the_protocol_and_nothing_else(terminal):
    code, lines, err = talked(terminal, HELLO, READY, "no JSON at all", LIST)
    assert code == 0, err
    told = {each.get("id"): each for each in map(json.loads, lines)}
    assert told[1]["result"]["serverInfo"]["name"] == "backstory"
    assert len(told[2]["result"]["tools"]) == 7
    assert "Traceback" not in err


def test_calls_that_are_piped_in_are_answered_before_it_ends(terminal):
    calls = [CALL % number for number in range(3, 9)]
    code, lines, err = talked(terminal, HELLO, READY, *calls)
    assert code == 0, err
    told = {each["id"]: each["result"] for each in map(json.loads, lines)}
    outcomes = [told[number]["structuredContent"]["outcome"] for number in range(3, 9)]
    assert sorted(outcomes) == ["created", *["duplicate"] * 5]


def test_an_unknown_lead_is_told_on_standard_error(terminal):
    told = terminal.type("mcp", "--lead", "nobody")
    assert (told.code, told.out) == (2, "")
    assert "There is no lead 'nobody'" in told.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_it_waits(terminal, number):
    process = terminal.begin(*SERVE[2:], stdin=subprocess.PIPE)
    process.stdin.write(HELLO + "\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["id"] == 1
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode != 0
    assert "Traceback" not in err


def assert_served(told, database):
    told = json.loads(told)
    assert told["sdk"].startswith("1.")
    assert told["tools"] == projection(session(database, "ana-2").offered, Format.MCP)
    assert told["job"]["status"] == "scheduled"
    assert "12 Oak St" in told["job"]["address"]
    assert told["refused"]["outcome"] == "invalid_arguments"


def test_a_client_of_the_line_before_books_over_stdio(terminal, packages, database):
    env = terminal.environment()
    assert_served(run(packages, CLIENT, "stdio", sys.executable, *SERVE, env=env), database)


def test_a_client_of_the_line_before_books_over_http(packages, database):
    office = Office(database)
    with served(McpApp(office.access.session)) as url:
        assert_served(run(packages, CLIENT, "http", url, office.token("ana-2"), env={}), database)
