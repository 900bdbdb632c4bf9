"""Runs the application as a server until it is asked to end, and ends it in good order."""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
import uvloop
from starlette.types import ASGIApp

from backstory.errors import UsageError

# So long requests may still take, once the server was asked to end.
_GRACE_SECONDS = 30
_BACKLOG = 2048


def serve(app: ASGIApp, listener: socket.socket, *, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT: take nothing new, answer what was accepted, write its events.

    `on_ready` gets the address when requests are taken.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        # What a proxy says of its client is taken from none but a proxy on this machine.
        proxy_headers=True,
        forwarded_allow_ips="127.0.0.1",
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=_GRACE_SECONDS,
        backlog=_BACKLOG,
    )
    server = _Server(config, lambda: on_ready(_address(listener)))
    with _signals_outlived(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve(sockets=[listener]))


class _Server(uvicorn.Server):
    """Tells when it takes requests."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, then say so."""
        await super().startup(sockets=sockets)
        # What is there now stays: no collection has to look at it again while a request waits.
        gc.collect()
        gc.freeze()
        self._on_ready()


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Yield the socket of an address, which nobody else can have then; port 0: any that is free.

    Raises UsageError if it cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as wrong:
        raise UsageError(f"{host!r} is no address of this machine: {wrong}.") from wrong
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as taken:
            raise UsageError(
                f"Cannot listen on {host}:{port} ({taken.strerror}): choose another port or host."
            ) from taken
        yield listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _signals_outlived() -> Iterator[None]:
    """Stay for our own end: once it has ended, uvicorn raises the signal again that ended it."""

    def stay(_number: int, _frame: FrameType | None) -> Any:
        return None

    before = {each: signal.signal(each, stay) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
