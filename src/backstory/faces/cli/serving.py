# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory serve`: HTTP and MCP for programs elsewhere, in one process."""

from typing import TYPE_CHECKING, Annotated

import typer

from backstory.faces.cli.call import Call, command
from backstory.faces.cli.groups import AGENTS, shell

if TYPE_CHECKING:
    from collections.abc import Collection

    from fastapi import FastAPI

    from backstory.app import App
    from backstory.faces.http.service import HttpOptions

_DEFAULT_PORT = 8080
_STATEMENT_SECONDS = 10.0


@command(
    shell,
    "serve",
    panel=AGENTS,
    example="""
    backstory serve
    backstory serve --host 0.0.0.0 --port 8000 --threads 16
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
    threads: Annotated[
        int, typer.Option(metavar="N", min=1, max=200, help="Requests worked on at once.")
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
    from backstory.app import open_app
    from backstory.faces.http.service import HttpOptions
    from backstory.faces.http.serving import serve as serve_http

    options = HttpOptions(threads=threads, log=log, key_rate=key_rate, session_rate=session_rate)
    with call.app() as app:
        # Apart, because a migration may take longer than any request.
        app.for_writing()
        with open_app(
            call.settings,
            on_progress=call.say,
            # One more for events, and one for whoever asks whether we are well.
            connections=threads + 2,
            statement_seconds=_STATEMENT_SECONDS,
        ) as serving:
            serving.warm()
            http = _http_with_mcp(serving, options, _reached_by(host, host_names))
            serve_http(http, host, port, on_ready=lambda address: _greet(call, address))


def _http_with_mcp(
    app: "App", options: "HttpOptions", hosts: "Collection[str] | None"
) -> "FastAPI":
    """Return both as one application; `hosts` are the names by which MCP clients may reach it."""
    from backstory.faces.http.application import Mounted, create_app
    from backstory.faces.http.limits import Buckets, Rate
    from backstory.faces.mcp.http import McpApp
    from backstory.tools.access import Access

    access = Access(app.for_reading(), app.rules)
    wait = Buckets(Rate.of(options.session_rate)).wait
    mcp = McpApp(access.toolset, hosts=hosts, wait=wait)
    mounts = [Mounted("/mcp", mcp, mcp.running)]
    return create_app(app, options=options, access=access, mounts=mounts)


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
