"""A business served over HTTP, in this process or in one of its own, and who asks it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import httpx2
from sqlalchemy import text
from starlette.testclient import TestClient

from backstory.app import App
from backstory.config import Settings
from backstory.faces.http.application import Mounted, create_app
from backstory.faces.http.service import HttpOptions
from backstory.model import KeyProfile
from backstory.store.keys import create_key

BEGUN = datetime(2026, 5, 1, tzinfo=UTC)
# Ana comes by messenger, then by SMS under the same phone; Bob is somebody else.
PEOPLE: dict[str, dict[str, str]] = {
    "ana-1": {"channel": "messenger", "messenger_psid": "p-ana", "phone": "+12025550101"},
    "ana-2": {"channel": "sms", "phone": "(202) 555-0101", "name": "Ana"},
    "bob-1": {"channel": "sms", "phone": "+12025550177", "name": "Bob"},
}
# Tests are quicker than any caller may be.
FREE = HttpOptions(key_rate=0, session_rate=0, stranger_rate=0)


def event(number: int, lead: str = "ana-2", /, **fields: Any) -> dict[str, Any]:
    """Return an event of the log."""
    return {
        "id": f"e-{number}",
        "lead_id": lead,
        "actor": "customer",
        "action": "message_received",
        "payload": {"text": f"message {number} about the sofa of {lead}"},
        "created_at": (BEGUN + timedelta(minutes=number)).isoformat(),
        **fields,
    }


def greetings() -> list[dict[str, Any]]:
    """Return the first event of everybody."""
    return [event(number, lead, lead=known) for number, (lead, known) in enumerate(PEOPLE.items())]


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


class Business:
    """Its server's client, and keys of both profiles."""

    def __init__(self, client: httpx2.Client, app: App) -> None:
        self.client = client
        self.app = app
        self.agent = self.key(KeyProfile.AGENT)
        self.staff = self.key(KeyProfile.STAFF)

    def key(self, profile: KeyProfile, name: str = "shop") -> str:
        with self.app.database.engine.begin() as connection:
            return create_key(connection, name, profile)[1]

    def rows(self, statement: str, **parameters: Any) -> list[Any]:
        """Read as the owner."""
        with self.app.database.engine.connect() as connection:
            return list(connection.execute(text(statement), parameters).all())

    def do(self, statement: str) -> None:
        with self.app.database.engine.begin() as connection:
            connection.execute(text(statement))

    def ask(self, method: str, path: str, by: str | None = None, /, **more: Any) -> httpx2.Response:
        """Ask as whoever holds `by`."""
        headers = more.pop("headers", {}) | (bearer(by) if by else {})
        return self.client.request(method, path, headers=headers, **more)

    def token(self, lead: str = "ana-2", by: str | None = None, **more: Any) -> str:
        """Open a session for a lead, and return its token."""
        opened = self.ask("POST", "/v1/sessions", by or self.agent, json={"lead": lead, **more})
        assert opened.status_code == 201, opened.text
        return str(opened.json()["token"])

    def call(self, token: str, tool: str, /, key: str | None = None, **arguments: Any) -> Any:
        """Call a tool that should serve, and return what it says."""
        headers = {"Idempotency-Key": key} if key else {}
        answer = self.ask("POST", f"/v1/tools/{tool}", token, json=arguments, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def record(self, *events: dict[str, Any]) -> list[str]:
        """Record events together, and return what became of each."""
        answer = self.ask("POST", "/v1/events", self.agent, json={"events": events})
        assert answer.status_code in {200, 201}, answer.text
        return [each["outcome"] for each in answer.json()["outcomes"]]


def problem(answer: httpx2.Response, status: int) -> dict[str, Any]:
    """Return what a refusal says; whatever it is, it has the form of all."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said: dict[str, Any] = answer.json()
    assert said["status"] == status
    assert said["type"].startswith("urn:backstory:problem:")
    assert said["title"]
    assert said["detail"]
    assert "Traceback" not in answer.text
    return said


@contextmanager
def served(
    url: str,
    home: Path,
    *,
    options: HttpOptions = FREE,
    memory: bool = True,
    mounts: Sequence[Mounted] = (),
) -> Iterator[Business]:
    """Serve a database that has our schema, in this process."""
    settings = Settings(DATABASE_URL=url, home=home, CONTEXT_MEMORY_ENABLED=memory)
    app = App(settings, connections=options.threads + 2)
    try:
        with TestClient(
            create_app(app, options=options, mounts=mounts),
            base_url="http://127.0.0.1",
            follow_redirects=False,
        ) as client:
            yield Business(client, app)
    finally:
        app.database.engine.dispose()


def _few(words: Sequence[str]) -> Sequence[str]:
    """Return words for a server with one worker, unless they say how many: each takes its time."""
    return words if "--workers" in words else [*words, "--workers", "1"]


class Process:
    """`backstory serve` as a process of its own."""

    def __init__(self, url: str, home: Path, *words: str, **environment: str) -> None:
        self._said = home / "serve.err"
        with self._said.open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "backstory", "serve", "--port", "0", *_few(words)],
                env={"PATH": os.environ["PATH"], "HOME": str(home), "DATABASE_URL": url}
                | {"BACKSTORY_HOME": str(home), "CONTEXT_MEMORY_ENABLED": "true"}
                | environment,
                stderr=said,
            )
        while not (found := re.search(r"http://[^/\s]+:\d+", self.said())):
            assert self.process.poll() is None, self.said()
            time.sleep(0.02)
        self.url = found[0]

    def said(self) -> str:
        """Return what it wrote so far."""
        return self._said.read_text()

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(by)
        return self.process.wait(timeout=40)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
