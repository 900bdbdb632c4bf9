"""A client on the SDK of the line before: it books over stdio or HTTP and prints what came of it.

`stdio COMMAND...` or `http URL TOKEN`, run with packages of its own.
"""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from importlib.metadata import version

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client
from mcp_scenario import book


@asynccontextmanager
async def streams(way, *rest):
    if way == "http":
        url, token = rest
        headers = {"Authorization": f"Bearer {token}"}
        async with streamablehttp_client(url, headers=headers) as (read, write, _):
            yield read, write
    else:
        given = StdioServerParameters(command=rest[0], args=list(rest[1:]), env=dict(os.environ))
        async with stdio_client(given) as (read, write):
            yield read, write


async def main():
    async with streams(*sys.argv[1:]) as (read, write), ClientSession(read, write) as session:
        hello = await session.initialize()
        tools = (await session.list_tools()).tools

        async def call(name, arguments):
            # The session judges structured content by the tool's output schema.
            result = await session.call_tool(name, arguments)
            assert not result.isError, result.content
            assert json.loads(result.content[0].text) == result.structuredContent
            return result.structuredContent

        job = await book(call)
        refused = await session.call_tool("create_job", {"title": "x", "lead": 1})
        told = {
            "sdk": version("mcp"),
            "protocol": hello.protocolVersion,
            "tools": [tool.model_dump(mode="json", exclude_none=True) for tool in tools],
            "job": job,
            "refused": refused.isError and json.loads(refused.content[0].text),
        }
        print(json.dumps(told))  # noqa: T201 - the test reads it


asyncio.run(main())
