"""A real server on a port of its own, and the tokens of sessions that it knows."""

import threading
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from time import sleep

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from backstory.faces.mcp.http import McpApp
from backstory.store import keys
from backstory.store.engine import Database
from backstory.tools.access import Access
from backstory.tools.session import Rules


@dataclass
class Office:
    """Opens sessions over a database as `POST /v1/sessions` does."""

    database: Database
    memory: bool = True
    clock: object = None

    def __post_init__(self):
        clock = {"clock": self.clock} if self.clock else {}
        self.access = Access(self.database, Rules(memory_enabled=self.memory, **clock))
        with self.database.engine.begin() as connection:
            self.key, _ = keys.create_key(connection, "tests")

    def token(self, lead, **more):
        return self.access.open(self.key, lead, **more).token


@contextmanager
def served(app: McpApp):
    """Yield the address at which an application is served by uvicorn."""

    @asynccontextmanager
    async def lifespan(_):
        async with app.running():
            yield

    web = Starlette(routes=[Route("/mcp", endpoint=app)], lifespan=lifespan)
    server = uvicorn.Server(uvicorn.Config(web, port=0, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.should_exit = True
        thread.join()


def bearer(token, **more):
    return {"Authorization": f"Bearer {token}", **more}


def posted(url, headers, *, method="tools/list", params=None, body=None, verb="POST"):
    """Send one message as bytes on the wire; return the response."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
    given = {"Accept": "application/json, text/event-stream", **headers}
    with httpx2.Client(timeout=30) as client:
        if verb != "POST":
            return client.request(verb, url, headers=given)
        if body is not None:
            return client.post(
                url, headers={"Content-Type": "application/json", **given}, content=body
            )
        return client.post(url, headers=given, json=message)
