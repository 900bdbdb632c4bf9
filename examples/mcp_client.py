"""A client of the protocol and nothing else: over stdio, or over HTTP with a session's token."""

import asyncio
import os

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from by_script import CUSTOMER, LEAD, Agent

STDIO = StdioServerParameters(
    command="backstory",
    args=["--schema", "demo", "mcp", "--lead", LEAD],
    env={**os.environ, "CONTEXT_MEMORY_ENABLED": "true"},
)


async def serve(client: Client) -> None:
    """Serve the customer with an agent by script."""
    agent, told = Agent(), None
    for words in CUSTOMER:
        print("customer:", words)
        while isinstance(step := agent.next(told), tuple):
            result = await client.call_tool(*step)
            told = result.structured_content
            print("  ", step[0], told["outcome"])
        print("agent:", step)
        told = None


async def main() -> None:
    """Go over HTTP if BACKSTORY_TOKEN has a session's token, else start a process."""
    token, url = os.environ.get("BACKSTORY_TOKEN"), "http://127.0.0.1:8080/mcp"
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        server = streamable_http_client(url, http_client=http) if token else STDIO
        async with Client(server) as client:
            await serve(client)


asyncio.run(main())
