"""One toolset over standard input and output, for a client that starts us as a process."""

from contextlib import suppress
from functools import partial

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

from backstory.faces.mcp.messages import Misformed, reread
from backstory.faces.mcp.server import FOR_AGENTS, FOR_STAFF, server_for
from backstory.tools.staff import Staff
from backstory.tools.toolset import Toolset

Heard = SessionMessage | Exception


def serve_stdio(toolset: Toolset) -> None:
    """Serve until standard input ends; while serving, nothing else reaches standard output."""
    anyio.run(partial(_serve, toolset))


async def _serve(toolset: Toolset) -> None:
    told = FOR_STAFF if isinstance(toolset, Staff) else FOR_AGENTS
    server = server_for(lambda _: toolset, instructions=told)
    async with stdio_server() as (read, write), anyio.create_task_group() as group:
        hand_on, heard = anyio.create_memory_object_stream[Heard](0)
        group.start_soon(_listen, read, hand_on, write)
        await server.run(heard, write, server.create_initialization_options())


async def _listen(
    read: ObjectReceiveStream[Heard],
    hand_on: ObjectSendStream[Heard],
    write: ObjectSendStream[SessionMessage],
) -> None:
    """Hand on what comes in; what the SDK could not read is put right, or answered here."""
    async with read, hand_on:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for item in read:
                try:
                    await hand_on.send(reread(item) if isinstance(item, Exception) else item)
                except Misformed as wrong:
                    if wrong.answer.id is not None:
                        await write.send(SessionMessage(wrong.answer))
