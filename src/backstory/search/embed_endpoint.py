"""Embeds through an OpenAI-compatible `/embeddings` endpoint, with time limits and retries."""

import math
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import httpx2

from backstory.errors import ModelError, ModelUnreachable, UsageError

_BATCH = 64
_TRIES = 4
_TIMEOUT = httpx2.Timeout(60.0, connect=10.0)
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 20.0
_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class EndpointEmbedder:
    """A model behind `{url}/embeddings`, asked in batches; `sleep` is how it waits between tries.

    `transport` replaces the network, for a proxy or a unix socket.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        host = urlsplit(url).hostname
        if urlsplit(url).scheme not in {"http", "https"} or host is None:
            raise UsageError(f"{url!r} is no address of an endpoint: use https://host/v1.")
        self._url = url.rstrip("/") + "/embeddings"
        self._model, self._host, self._sleep = model, host, sleep
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.Client(timeout=_TIMEOUT, headers=headers, transport=transport)

    @property
    def name(self) -> str:
        """The model's name and the host that serves it."""
        return f"{self._model}@{self._host}"

    @cached_property
    def dimensions(self) -> int:
        """How long its vectors are: asked once."""
        return len(self.embed(["."])[0])

    def embed(self, texts: Sequence[str], *, asking: bool = False) -> list[list[float]]:
        """Return a vector of length 1 for each text, in order."""
        del asking  # the service knows no difference
        found: list[list[float]] = []
        for start in range(0, len(texts), _BATCH):
            found += self._batch([text or " " for text in texts[start : start + _BATCH]])
        return found

    def _batch(self, texts: list[str]) -> list[list[float]]:
        answer = self._ask({"model": self._model, "input": texts, "encoding_format": "float"})
        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            vectors = [[float(value) for value in row["embedding"]] for row in rows]
        except (KeyError, TypeError, ValueError) as bad:
            raise ModelError(f"{self._host} did not answer as /embeddings does: {bad!r}.") from bad
        if len(vectors) != len(texts) or len({len(vector) for vector in vectors}) != 1:
            raise ModelError(f"{self._host} gave {len(vectors)} vectors for {len(texts)} texts.")
        return [_unit(vector) for vector in vectors]

    def _ask(self, body: dict[str, Any]) -> Any:
        """Ask until it answers; wait longer each time, or as long as the service says."""
        wait, said = _FIRST_WAIT_SECONDS, ""
        for attempt in range(_TRIES):
            if attempt:
                self._sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
            try:
                answer = self._client.post(self._url, json=body)
            except httpx2.TransportError as failed:
                said = str(failed) or type(failed).__name__
                continue
            if answer.status_code in _BUSY:
                said = f"it said {answer.status_code}"
                wait = max(wait, _retry_after(answer.headers.get("retry-after")))
                continue
            return self._read(answer)
        raise ModelUnreachable(
            f"{self._host} does not embed now ({said}, {_TRIES} tries): the same call may be "
            "repeated."
        )

    def _read(self, answer: httpx2.Response) -> Any:
        if answer.is_error:
            raise ModelError(
                f"{self._host} refused to embed ({answer.status_code}): {answer.text[:200]}"
            )
        try:
            return answer.json()
        except ValueError as bad:
            raise ModelError(f"{self._host} did not answer with JSON.") from bad


def _retry_after(written: str | None) -> float:
    """Read how many seconds a service wants to be left alone, within reason."""
    try:
        return min(max(float(written or 0), 0.0), _LONGEST_WAIT_SECONDS)
    except ValueError:
        return 0.0


def _unit(vector: list[float]) -> list[float]:
    length = math.sqrt(math.fsum(value * value for value in vector))
    if not math.isfinite(length) or length == 0:
        raise ModelError("The endpoint gave a vector without a direction.")
    return [value / length for value in vector]
