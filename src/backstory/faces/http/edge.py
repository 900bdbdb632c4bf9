"""The outermost layer of a request: its size, its headers, its measure, and whatever goes wrong."""

import logging
from collections.abc import Callable
from time import perf_counter
from uuid import uuid4

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backstory.faces.http.metrics import Metrics
from backstory.faces.http.problems import problem

_log = logging.getLogger("backstory.http")
# Answers are data of customers: nobody on the way keeps them, and no page shows them as its own.
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
]
# What nginx calls it when the client has gone before its answer.
_CLIENT_GONE = 499


class Edge:
    """ASGI middleware; `largest` says how many bytes the body of a request to a path may have."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, largest: Callable[[str], int]) -> None:
        self._app = app
        self._metrics = metrics
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, and answer it whatever happens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        answer, method = _Answer(send), scope["method"]
        if method == "HEAD":
            # What there is to get has a head; the server leaves the body out.
            scope = {**scope, "method": "GET"}
        try:
            await self._limited(scope, receive, answer.send)
        except ClientDisconnect:
            answer.status = answer.status or _CLIENT_GONE
        except Exception:  # noqa: BLE001 - the edge: a defect has an answer too
            fault = str(uuid4())
            # The pattern, not the path: a path may hold a customer's id.
            _log.exception("A defect of Backstory, %s, at %s", fault, _route(scope))
            await answer.confess(scope, receive, fault)
        finally:
            status = answer.status or _CLIENT_GONE
            seconds = perf_counter() - started
            self._metrics.request(method, _route(scope), status, seconds)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        most = self._largest(scope["path"])
        if _announced(scope) > most:
            await _too_large(most)(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > most:
                raise HTTPException(413, _size_words(most))
            return message

        await self._app(scope, counted, send)


class _Answer:
    """What has been sent so far."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *_HEADERS]
        await self._send(message)

    async def confess(self, scope: Scope, receive: Receive, fault: str) -> None:
        """Say that it is our fault, unless something else was said already."""
        if self.status:
            return
        sentence = "This is a defect of the server: its log has it under the instance's id."
        answer = problem(500, sentence, instance=f"urn:uuid:{fault}")
        await answer(scope, receive, self.send)


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _too_large(most: int) -> ASGIApp:
    return problem(413, _size_words(most), headers={"Connection": "close"})


def _size_words(most: int) -> str:
    return f"The body of such a request has at most {most:,} bytes."


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", "none")
