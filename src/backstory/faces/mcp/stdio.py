"""One session over standard input and output, for a client that starts us as a process."""

from functools import partial

import anyio
from mcp.server.stdio import stdio_server

from backstory.faces.mcp.server import server_for
from backstory.tools.session import Session


def serve_stdio(session: Session) -> None:
    """Serve until standard input ends; while serving, nothing else reaches standard output."""
    anyio.run(partial(_serve, session))


async def _serve(session: Session) -> None:
    server = server_for(lambda _: session)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
