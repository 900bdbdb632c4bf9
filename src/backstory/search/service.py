"""Asks a model's service over HTTP, with time limits and retries."""

import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from backstory.errors import ModelError, ModelUnreachable, UsageError

_TRIES = 4
_PATIENCE_SECONDS = 60.0
# Where somebody waits for the answer.
_HURRY_SECONDS = 5.0
_MOST_SECONDS_TO_CONNECT = 10.0
# Far more than any batch of vectors.
_MOST_BYTES = 64 * 1024 * 1024
# What an error says is kept with a run. A service may repeat in it what it was sent, in whatever
# form, which is what customers wrote: so of its own words only these are told, and ours.
_ITS_WORDS = frozenset(
    {"authentication_error", "billing_not_active", "content_filter", "context_length_exceeded"}
    | {"insufficient_quota", "invalid_api_key", "invalid_request_error", "model_not_found"}
    | {"not_found_error", "permission_error", "rate_limit_exceeded", "request_too_large"}
    | {"string_above_max_length", "unsupported_parameter", "unsupported_value"}
)
_MEANINGS: Mapping[int, str] = {
    400: "it does not take such a request",
    401: "it does not know the key",
    402: "it wants to be paid",
    403: "the key does not open this",
    404: "it has no such address, or no such model",
    413: "that is more than it takes",
    422: "it does not take such a request",
}
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 20.0
_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class Service:
    """An OpenAI-compatible service at a base address; `sleep` is how it waits between tries.

    All tries of one question and the waits between them end `within` so many seconds, None: each
    try has its own bound alone. `transport` replaces the network, for a proxy or a unix socket.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        tries: int = _TRIES,
        within: float | None = None,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        host = urlsplit(url).hostname
        if urlsplit(url).scheme not in {"http", "https"} or host is None:
            raise UsageError(f"{url!r} is no address of an endpoint: use https://host/v1.")
        self.host = host
        self._url, self._tries, self._sleep = url.rstrip("/"), tries, sleep
        self._within = math.inf if within is None else within
        self._ticks = ticks
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.Client(headers=headers, transport=transport)

    def ask(
        self,
        path: str,
        body: dict[str, Any],
        *,
        to: str,
        at_once: bool = False,
        before: Callable[[], None] = lambda: None,
    ) -> Any:
        """Return the answer to a request; wait longer each time, or as long as the service says.

        `to` says in an error what it was asked to do. `at_once` tries once, for some seconds.
        `before` is called before each try, and may refuse it by raising. Raises ModelUnreachable
        where another try may help, ModelError where none will.
        """
        wait, said = _FIRST_WAIT_SECONDS, ""
        tries, patience = (1, _HURRY_SECONDS) if at_once else (self._tries, _PATIENCE_SECONDS)
        made, end = 0, self._ticks() + self._within
        while made < tries and (not made or self._ticks() + wait < end):
            try:
                before()
            except ModelError:
                if not made:
                    raise
                break  # why the first try failed says more than that there is no second one
            if made:
                self._sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
            made += 1
            try:
                answer, content = self._post(path, body, min(patience, end - self._ticks()))
            except httpx2.TransportError as failed:
                # Of an answer that is no HTTP the error has the bytes.
                told = "" if isinstance(failed, httpx2.ProtocolError) else str(failed)
                said = told or type(failed).__name__
                continue
            except httpx2.DecodingError as bad:
                raise ModelError(f"{self.host} did not answer with text.") from bad
            if answer.status_code in _BUSY:
                said = f"it said {answer.status_code}"
                wait = max(wait, _retry_after(answer.headers.get("retry-after")))
                continue
            return self._read(answer, content, to)
        counted = "1 try" if made == 1 else f"{made} tries"
        raise ModelUnreachable(
            f"{self.host} does not {to} now ({said}, {counted}): the same call may be repeated."
        )

    def _post(
        self, path: str, body: dict[str, Any], patience: float
    ) -> tuple[httpx2.Response, bytes]:
        """Return an answer and its content; one that trickles in is given up like one that hangs.

        What comes beyond the bound is not read.
        """
        deadline = self._ticks() + patience
        timeout = httpx2.Timeout(patience, connect=min(patience, _MOST_SECONDS_TO_CONNECT))
        content, url = bytearray(), f"{self._url}/{path}"
        with self._client.stream("POST", url, json=body, timeout=timeout) as answer:
            for piece in answer.iter_bytes():
                content += piece
                if self._ticks() > deadline:
                    raise httpx2.ReadTimeout(f"no end within {patience:.0f} s")
                if len(content) > _MOST_BYTES:
                    break
        return answer, bytes(content)

    def _read(self, answer: httpx2.Response, content: bytes, to: str) -> Any:
        if answer.is_error:
            told = ", ".join([str(answer.status_code), *_reasons(answer.status_code, content)])
            raise ModelError(f"{self.host} refused to {to} ({told}).")
        if len(content) > _MOST_BYTES:
            raise ModelError(f"{self.host} answered more than {_MOST_BYTES >> 20} MB.")
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as bad:
            raise ModelError(f"{self.host} did not answer with JSON.") from bad


def _reasons(status: int, content: bytes) -> list[str]:
    """Return why a service refuses, as far as it says so in words that no customer's can be."""
    try:
        error = json.loads(content)["error"]
        named = {each for each in (error.get("code"), error.get("type")) if isinstance(each, str)}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        named = set()
    meaning = _MEANINGS.get(status)
    return [*sorted(_ITS_WORDS & named), *([meaning] if meaning else [])]


def _retry_after(written: str | None) -> float:
    """Read how many seconds a service wants to be left alone, within reason."""
    try:
        return min(max(float(written or 0), 0.0), _LONGEST_WAIT_SECONDS)
    except ValueError:
        return 0.0
