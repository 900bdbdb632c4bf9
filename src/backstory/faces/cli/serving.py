# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory serve`: HTTP and MCP for programs elsewhere, in one process with its workers."""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from backstory.config import cores
from backstory.faces.cli.call import Call, command
from backstory.faces.cli.groups import AGENTS, shell

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from fastapi import FastAPI

    from backstory.app import App
    from backstory.config import Settings
    from backstory.faces.http.service import HttpOptions
    from backstory.tools.workers import Workers

_DEFAULT_PORT = 8080
_STATEMENT_SECONDS = 10.0
# While one worker of a core waits for the database, another computes.
_WORKERS_A_CORE = 2
_MOST_WORKERS_UNASKED = 8


@command(
    shell,
    "serve",
    panel=AGENTS,
    example="""
    backstory serve
    backstory serve --host 0.0.0.0 --port 8000 --workers 16
    """,
)
def serve(
    call: Call,
    *,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Address to listen on; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65_535, help="Port; 0 for any that is free.")
    ] = _DEFAULT_PORT,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            max=64,
            help="Processes that call tools; 0: the one that serves.",
            show_default=f"{_WORKERS_A_CORE} a core, {_MOST_WORKERS_UNASKED} at most",
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option(metavar="N", min=1, max=200, help="Other requests worked on at once.")
    ] = 8,
    log: Annotated[str, typer.Option(metavar="NAME", help="The log that events are of.")] = "audit",
    key_rate: Annotated[
        float, typer.Option(metavar="N", min=0, help="Requests a second of a key; 0: any number.")
    ] = 2_000,
    session_rate: Annotated[
        float, typer.Option(metavar="N", min=0, help="Requests a second of a session; 0: any.")
    ] = 50,
    host_names: Annotated[
        list[str] | None,
        typer.Option(
            "--host-name", metavar="NAME", help="A name by which MCP clients reach it; repeatable."
        ),
    ] = None,
) -> None:
    """Serve HTTP at /v1 and MCP at /mcp, until it is interrupted.

    It takes requests from this machine only, unless --host says otherwise; put a proxy that speaks
    TLS before it then. The schema is made, or brought up to date, first.
    """
    from backstory.processes import TOOLS, out_of_reach, prepare

    count = _workers_unasked() if workers is None else workers
    if count:
        with out_of_reach():
            prepare(*TOOLS)
    from backstory.app import open_app
    from backstory.faces.http.service import HttpOptions
    from backstory.faces.http.serving import listening
    from backstory.faces.http.serving import serve as serve_http

    options = HttpOptions(threads=threads, log=log, key_rate=key_rate, session_rate=session_rate)
    with listening(host, port) as listener, call.app() as app:
        # Apart, because a migration may take longer than any request.
        url = app.for_writing().url
        settings = call.settings.model_copy(update={"database_url": url})
        with (
            open_app(
                settings,
                # One more for events, and one for whoever asks whether we are well.
                connections=threads + 2,
                statement_seconds=_STATEMENT_SECONDS,
            ) as serving,
            _started(count, settings) as started,
        ):
            serving.warm()
            http = _http_with_mcp(serving, options, started, _reached_by(host, host_names))
            serve_http(http, listener, on_ready=lambda address: _greet(call, address))


@contextmanager
def _started(count: int, settings: "Settings") -> "Iterator[Workers | None]":
    from functools import partial

    from backstory.app import opened_in_worker
    from backstory.tools.workers import Workers

    if not count:
        yield None
        return
    opening = partial(opened_in_worker, settings, statement_seconds=_STATEMENT_SECONDS)
    with Workers(count, opening) as workers:
        yield workers


def _workers_unasked() -> int:
    return min(_WORKERS_A_CORE * cores(), _MOST_WORKERS_UNASKED)


def _http_with_mcp(
    app: "App",
    options: "HttpOptions",
    workers: "Workers | None",
    hosts: "Collection[str] | None",
) -> "FastAPI":
    """Return both as one application; `hosts` are the names by which MCP clients may reach it."""
    from anyio import CapacityLimiter

    from backstory.faces.http.application import Mounted, create_app
    from backstory.faces.http.limits import Buckets, Rate
    from backstory.faces.mcp.http import McpApp
    from backstory.tools.access import Access

    access = Access(app.for_reading(), app.rules, elsewhere=workers)
    wait = Buckets(Rate.of(options.session_rate)).wait
    # As many calls as workers, so that none waits in a thread that another request could use.
    calls = CapacityLimiter(workers.count) if workers else None
    mcp = McpApp(access.toolset, hosts=hosts, wait=wait, calls=calls)
    mounts = [Mounted("/mcp", mcp, mcp.running)]
    return create_app(app, options=options, access=access, calls=calls, mounts=mounts)


def _reached_by(host: str, names: list[str] | None) -> "Collection[str] | None":
    """Return the names that were given, else those of this machine or, from outside, any."""
    from backstory.faces.mcp.http import LOOPBACK

    return names or (LOOPBACK if _is_loopback(host) else None)


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _greet(call: Call, address: str) -> None:
    call.say(f"Serving HTTP at {address}/v1, MCP at {address}/mcp.")
    call.say("`backstory key create NAME` makes a key for it. Ctrl+C ends it.")
