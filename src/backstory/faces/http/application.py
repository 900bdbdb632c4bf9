"""Puts the server together: routes, edge, what lives as long as it does, and its description."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from backstory.app import App
from backstory.faces.http import context, events, health, reading, sessions
from backstory.faces.http.callers import credential
from backstory.faces.http.edge import Edge
from backstory.faces.http.problems import Problem, TooMuch, install, of_error
from backstory.faces.http.service import HttpOptions, Service
from backstory.faces.http.shortcut import Shortcut
from backstory.faces.http.staff_tools import staff_routes
from backstory.faces.http.tools import tool_answers, tool_routes
from backstory.store.keys import PREFIX
from backstory.tools.access import Access
from backstory.version import VERSION

_ABOUT = """\
What a customer-facing agent needs of its customers: sessions of one lead each, tools to call in \
them, the log's events as they happen, and reading.

Every request but those of health carries `Authorization: Bearer ...`: a key of the business, or \
the token of a session. Every refusal and failure is `application/problem+json`."""


@dataclass(frozen=True)
class Mounted:
    """An ASGI application of another face at a path; `running` is entered while it is served."""

    path: str
    app: ASGIApp
    running: Callable[[], AbstractAsyncContextManager[None]]


def create_app(
    app: App,
    *,
    options: HttpOptions | None = None,
    access: Access | None = None,
    calls: CapacityLimiter | None = None,
    mounts: Sequence[Mounted] = (),
) -> FastAPI:
    """Return the ASGI application that serves this business.

    `access` is shared with whatever is mounted, so that what one remembers the other does too, and
    so is how many `calls` of tools there may be at once. The database has to have our schema.
    """
    options = options or HttpOptions()
    access = access or Access(app.for_reading(), app.rules)
    service = Service(app, access, options, calls=calls)
    made = FastAPI(
        title="Backstory",
        version=VERSION,
        description=_ABOUT,
        lifespan=_lifespan(service, mounts),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    made.state.service = service
    # What is asked most stands first: a request is held against one route after the other.
    for router in (
        events.router,
        tool_routes(memory_enabled=app.settings.context_memory_enabled),
        context.router,
        staff_routes(),
        sessions.router,
        reading.router,
        health.router,
    ):
        made.include_router(router)
    for mounted in mounts:
        made.router.routes.append(Route(mounted.path, endpoint=_Guarded(mounted, service)))
    install(made)
    quick = tool_answers(memory_enabled=app.settings.context_memory_enabled)
    made.add_middleware(Shortcut, answers={"/v1/events": events.answer_events, **quick})
    made.add_middleware(Edge, metrics=service.metrics, largest=_largest(options))
    _describe(made)
    return made


class _Guarded:
    """What is mounted, as often as a session may ask, and counted under its path."""

    def __init__(self, mounted: Mounted, service: Service) -> None:
        self.path = mounted.path
        self._app = mounted.app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self
        text = credential(Headers(scope=scope))
        seconds = self._service.sessions.wait(text) or self._wait_of_stranger(scope, text)
        answer = of_error(TooMuch(seconds)) if seconds else self._app
        await answer(scope, receive, send)

    def _wait_of_stranger(self, scope: Scope, text: str) -> float:
        """Slow down whoever tries keys out, before the database hears of it."""
        if not text.startswith(PREFIX) or self._service.access.has_met(text):
            return 0
        client = scope.get("client")
        return self._service.strangers.wait(client[0] if client else "")


def _lifespan(
    service: Service, mounts: Sequence[Mounted]
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = service.options.threads
        async with AsyncExitStack() as stack:
            # The queue ends last and is waited for: what was accepted is written.
            stack.enter_context(service.running())
            for mounted in mounts:
                await stack.enter_async_context(mounted.running())
            yield

    return lifespan


def _largest(options: HttpOptions) -> Callable[[str], int]:
    def largest(path: str) -> int:
        return options.largest_events_body if path == "/v1/events" else options.largest_body

    return largest


def _describe(app: FastAPI) -> None:
    """Let OpenAPI name the shape of problems, which no route answers as its own."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            parts = schema.setdefault("components", {}).setdefault("schemas", {})
            parts |= problem.pop("$defs") | {"Problem": problem}
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents
