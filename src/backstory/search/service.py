"""Asks a model's service over HTTP, with time limits and retries."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx2

from backstory.errors import ModelError, ModelUnreachable, UsageError

_TRIES = 4
_TIMEOUT = httpx2.Timeout(60.0, connect=10.0)
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 20.0
_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class Service:
    """An OpenAI-compatible service at a base address; `sleep` is how it waits between tries.

    `transport` replaces the network, for a proxy or a unix socket.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        tries: int = _TRIES,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        host = urlsplit(url).hostname
        if urlsplit(url).scheme not in {"http", "https"} or host is None:
            raise UsageError(f"{url!r} is no address of an endpoint: use https://host/v1.")
        self.host = host
        self._url, self._tries, self._sleep = url.rstrip("/"), tries, sleep
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.Client(timeout=_TIMEOUT, headers=headers, transport=transport)

    def ask(self, path: str, body: dict[str, Any], *, to: str) -> Any:
        """Return the answer to a request; wait longer each time, or as long as the service says.

        `to` says in an error what it was asked to do. Raises ModelUnreachable where another try
        may help, ModelError where none will.
        """
        wait, said = _FIRST_WAIT_SECONDS, ""
        for attempt in range(self._tries):
            if attempt:
                self._sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
            try:
                answer = self._client.post(f"{self._url}/{path}", json=body)
            except httpx2.TransportError as failed:
                said = str(failed) or type(failed).__name__
                continue
            if answer.status_code in _BUSY:
                said = f"it said {answer.status_code}"
                wait = max(wait, _retry_after(answer.headers.get("retry-after")))
                continue
            return self._read(answer, to)
        raise ModelUnreachable(
            f"{self.host} does not {to} now ({said}, {self._tries} tries): the same call may be "
            "repeated."
        )

    def _read(self, answer: httpx2.Response, to: str) -> Any:
        if answer.is_error:
            raise ModelError(
                f"{self.host} refused to {to} ({answer.status_code}): {answer.text[:200]}"
            )
        try:
            return answer.json()
        except ValueError as bad:
            raise ModelError(f"{self.host} did not answer with JSON.") from bad


def _retry_after(written: str | None) -> float:
    """Read how many seconds a service wants to be left alone, within reason."""
    try:
        return min(max(float(written or 0), 0.0), _LONGEST_WAIT_SECONDS)
    except ValueError:
        return 0.0
