"""One toolset over standard input and output, for a client that starts us as a process."""

from functools import partial

import anyio
from mcp.server.stdio import stdio_server

from backstory.faces.mcp.server import FOR_AGENTS, FOR_STAFF, server_for
from backstory.tools.staff import Staff
from backstory.tools.toolset import Toolset


def serve_stdio(toolset: Toolset) -> None:
    """Serve until standard input ends; while serving, nothing else reaches standard output."""
    anyio.run(partial(_serve, toolset))


async def _serve(toolset: Toolset) -> None:
    told = FOR_STAFF if isinstance(toolset, Staff) else FOR_AGENTS
    server = server_for(lambda _: toolset, instructions=told)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
