"""One toolset over standard input and output, for a client that starts us as a process."""

from contextlib import suppress
from functools import partial
from typing import Any

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp.types import (
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from backstory.faces.mcp.messages import Misformed, reread
from backstory.faces.mcp.server import FOR_AGENTS, FOR_STAFF, server_for
from backstory.tools.staff import Staff
from backstory.tools.toolset import Toolset

Heard = SessionMessage | Exception
_CANCELED = "notifications/cancelled"
_LONGEST_SECONDS = 120.0


def serve_stdio(toolset: Toolset) -> None:
    """Serve until standard input ends; while serving, nothing else reaches standard output."""
    anyio.run(partial(_serve, toolset))


async def _serve(toolset: Toolset) -> None:
    told = FOR_STAFF if isinstance(toolset, Staff) else FOR_AGENTS
    server = server_for(lambda _: toolset, instructions=told)
    async with stdio_server() as (read, write), anyio.create_task_group() as group:
        hand_on, heard = anyio.create_memory_object_stream[Heard](0)
        say, said = anyio.create_memory_object_stream[SessionMessage](0)
        unanswered = _Unanswered()
        group.start_soon(_listen, read, hand_on, write, unanswered)
        group.start_soon(_tell, said, write, unanswered)
        async with say:
            await server.run(heard, say, server.create_initialization_options())


class _Unanswered:
    """The requests that were handed on and are not answered yet."""

    def __init__(self) -> None:
        self._ids = set[RequestId]()
        self._changed = anyio.Event()

    def heard(self, item: Heard) -> None:
        """Note a request; one that is canceled gets no answer."""
        message = item.message if isinstance(item, SessionMessage) else None
        if isinstance(message, JSONRPCRequest):
            self._ids.add(message.id)
        elif isinstance(message, JSONRPCNotification) and message.method == _CANCELED:
            self._settle((message.params or {}).get("requestId"))

    def said(self, message: JSONRPCMessage) -> None:
        """Note an answer."""
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            self._settle(message.id)

    async def wait(self) -> None:
        """Wait until there are none, or for as long as a call may take."""
        with anyio.move_on_after(_LONGEST_SECONDS):
            while self._ids:
                await self._changed.wait()

    def _settle(self, given: Any) -> None:
        with suppress(TypeError):  # whatever a client calls an id
            self._ids.discard(given)
        self._changed.set()
        self._changed = anyio.Event()


async def _listen(
    read: ObjectReceiveStream[Heard],
    hand_on: ObjectSendStream[Heard],
    write: ObjectSendStream[SessionMessage],
    unanswered: _Unanswered,
) -> None:
    """Hand on what comes in; what the SDK could not read is put right, or answered here."""
    async with read, hand_on:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for item in read:
                try:
                    fit = reread(item) if isinstance(item, Exception) else item
                except Misformed as wrong:
                    if wrong.answer.id is not None:
                        await write.send(SessionMessage(wrong.answer))
                    continue
                unanswered.heard(fit)
                await hand_on.send(fit)
        # At the end of what it hears the SDK drops what is under way: a client that pipes its
        # requests in, and closes, would get no answer.
        await unanswered.wait()


async def _tell(
    said: ObjectReceiveStream[SessionMessage],
    write: ObjectSendStream[SessionMessage],
    unanswered: _Unanswered,
) -> None:
    """Pass on what the server says, until it has nothing more to say."""
    async with said, write:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for item in said:
                await write.send(item)
                unanswered.said(item.message)
