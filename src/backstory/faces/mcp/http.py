"""Streamable HTTP: a token, or a staff's key, decides at each request whose tools are served."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from math import ceil
from urllib.parse import urlsplit

import orjson
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from backstory.errors import NotRecognized, Transient
from backstory.faces.mcp.messages import Misformed, put_right
from backstory.faces.mcp.server import FOR_AGENTS, FOR_STAFF, Request, server_for
from backstory.tools.staff import Staff
from backstory.tools.toolset import Toolset

Admit = Callable[[str], Toolset]
"""Returns whose tools a credential opens, as `Access.toolset` does; raises NotRecognized."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
# The longest description a tool takes is 2,000 characters; nothing a tool takes comes near.
_MAX_BODY = 256 * 1024
_TOOLSET = "backstory.toolset"
_JSON = "application/json"


def _no_wait(_token: str) -> float:
    return 0


class McpApp:
    """An ASGI application for one path; `running()` must be entered while it is served.

    It keeps no state between requests: a credential is the whole authority, and each request
    reaches the tools of its own alone. `hosts` are the names by which clients may reach it, None
    for any; `origins` are the hosts of web pages that may, the loopback's by default. A browser
    that a page has turned against this machine sends the page's own. `wait`, called on the event
    loop, says for how many seconds a token has asked enough, 0 if it has not. `calls` are how many
    tools of agents may be called at once.
    """

    def __init__(
        self,
        admit: Admit,
        *,
        hosts: Collection[str] | None = LOOPBACK,
        origins: Collection[str] = LOOPBACK,
        wait: Callable[[str], float] = _no_wait,
        calls: CapacityLimiter | None = None,
    ) -> None:
        self._admit = admit
        self._hosts = hosts
        self._origins = origins
        self._wait = wait
        self._agents, self._staff = _manager(FOR_AGENTS, calls), _manager(FOR_STAFF, None)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve requests within; once in the life of an application."""
        async with AsyncExitStack() as stack:
            for each in (self._agents, self._staff):
                await stack.enter_async_context(each.run())
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it before anything of it is read."""
        found = await self._toolset_or_refusal(scope)
        if isinstance(found, Response):
            await found(scope, receive, send)
            return
        try:
            body = await _body(Headers(scope=scope), receive)
        except Misformed as wrong:
            answer = wrong.answer.model_dump(by_alias=True)
            body = Response(orjson.dumps(answer), 400, media_type=_JSON)
        if isinstance(body, Response):
            await body(scope, receive, send)
            return
        manager = self._staff if isinstance(found, Staff) else self._agents
        await manager.handle_request({**scope, _TOOLSET: found}, _again(body, receive), send)

    async def _toolset_or_refusal(self, scope: Scope) -> Toolset | Response:
        headers = Headers(scope=scope)
        refusal = self._misdirected(headers) or _not_posted(scope)
        if refusal is not None:
            return refusal
        token = _bearer(headers)
        found = await run_sync(self._admitted, token)
        seconds = 0 if isinstance(found, Response) else self._wait(token)
        if not seconds:
            return found
        return _problem(429, "You ask too often.", {"Retry-After": str(ceil(seconds))})

    def _misdirected(self, headers: Headers) -> Response | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._hosts is not None and _name(f"//{host}") not in self._hosts:
            return _problem(421, "This server is not reached by that name.")
        if origin is not None and _name(origin) not in self._origins:
            return _problem(403, "Web pages of that origin may not call this server.")
        return None

    def _admitted(self, token: str) -> Toolset | Response:
        try:
            return self._admit(token)
        except NotRecognized as refused:
            return _problem(401, str(refused), {"WWW-Authenticate": "Bearer"})
        except Transient:
            return _problem(
                503, "The database does not answer at the moment.", {"Retry-After": "1"}
            )


async def _body(headers: Headers, receive: Receive) -> bytes | Response:
    """Return the body of a request, fit to be read, or a refusal; raises Misformed."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
        return _problem(415, f"The body has to be JSON, and say so: Content-Type: {_JSON}.")
    announced = headers.get("content-length", "")
    size = int(announced) if announced.isdecimal() else 0
    body, more = b"", True
    while more and size <= _MAX_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more, size = message.get("more_body", False), max(size, len(body))
    if size <= _MAX_BODY:
        return put_right(body)
    close = {"Connection": "close"}
    return _problem(413, f"The body of such a request has at most {_MAX_BODY:,} bytes.", close)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body that was read already, then what comes after it."""
    left = [body]

    async def receive_again() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return receive_again


def _manager(instructions: str, calls: CapacityLimiter | None) -> StreamableHTTPSessionManager:
    return StreamableHTTPSessionManager(
        server_for(_toolset_of, instructions=instructions, calls=calls),
        stateless=True,
        json_response=True,
        max_request_body_size=_MAX_BODY,
    )


def _toolset_of(ctx: Request) -> Toolset:
    # Without it a request has come in past its token, and fails.
    assert ctx.request is not None  # noqa: S101 - over HTTP there always is one
    toolset: Toolset = ctx.request.scope[_TOOLSET]
    return toolset


def _bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _not_posted(scope: Scope) -> Response | None:
    """Refuse what would open a stream or end a session: there is neither."""
    if scope["method"] == "POST":
        return None
    return _problem(405, "Post one JSON-RPC message at a time.", {"Allow": "POST"})


def _name(url: str) -> str:
    """Return the host of a URL in lower case, without its port; nothing for what is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Response(orjson.dumps(body), status, headers, media_type="application/problem+json")
