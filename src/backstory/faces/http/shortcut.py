"""Answers what is asked most without the framework's way there, which costs more than the answer.

A route's path is looked up instead of tried, and its parts are called instead of resolved. What is
answered is the same: whatever is not found here goes to the application, which knows these too.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from backstory.faces.http.problems import answered_errors

Answer = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class _Route:
    """What a request is counted under."""

    path: str
    answer: Answer


class Shortcut:
    """ASGI middleware; `answers` are those of POST, by the whole path."""

    def __init__(self, app: ASGIApp, *, answers: Mapping[str, Answer]) -> None:
        self._app = app
        self._routes = {path: _Route(path, answer) for path, answer in answers.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        route = self._routes.get(scope["path"]) if is_post else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive)
        response = await answered_errors(request, route.answer)
        await response(scope, receive, send)
