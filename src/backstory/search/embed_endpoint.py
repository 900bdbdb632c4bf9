"""Embeds through an OpenAI-compatible `/embeddings` endpoint."""

import math
import time
from collections.abc import Callable, Sequence
from functools import cached_property

import httpx2

from backstory.errors import ModelError, ModelUnreachable
from backstory.search.service import Service

_BATCH = 64
# A service that did not answer a question is left alone for so long: who asks goes by words.
QUIET_SECONDS = 30.0


class EndpointEmbedder:
    """A model behind `{url}/embeddings`, asked in batches; `sleep` is how it waits between tries.

    A question is asked once and has to be answered in some seconds, since somebody waits for it.
    `transport` replaces the network, for a proxy or a unix socket; `ticks` counts seconds.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = Service(url, key=key, transport=transport, sleep=sleep)
        self._model, self._host = model, self._service.host
        self._ticks = ticks
        self._silent = -math.inf

    @property
    def name(self) -> str:
        """The model's name and the host that serves it."""
        return f"{self._model}@{self._host}"

    @cached_property
    def dimensions(self) -> int:
        """How long its vectors are: asked once."""
        return len(self.embed(["."])[0])

    def embed(self, texts: Sequence[str], *, asking: bool = False) -> list[list[float]]:
        """Return a vector of length 1 for each text, in order; the service knows no questions."""
        if asking and self._ticks() - self._silent < QUIET_SECONDS:
            raise ModelUnreachable(f"{self._host} did not answer a moment ago.")
        found: list[list[float]] = []
        for start in range(0, len(texts), _BATCH):
            batch = [text or " " for text in texts[start : start + _BATCH]]
            found += self._batch(batch, at_once=asking)
        return found

    def _batch(self, texts: list[str], *, at_once: bool) -> list[list[float]]:
        asked = {"model": self._model, "input": texts, "encoding_format": "float"}
        try:
            answer = self._service.ask("embeddings", asked, to="embed", at_once=at_once)
        except ModelUnreachable:
            self._silent = self._ticks()
            raise
        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            places = [row["index"] for row in rows]
            vectors = [[float(value) for value in row["embedding"]] for row in rows]
        except (KeyError, TypeError, ValueError) as bad:
            # Not the error's own words: they can be the answer's, and so a customer's.
            fault = type(bad).__name__
            raise ModelError(f"{self._host} did not answer as /embeddings does: {fault}.") from bad
        self._check(vectors, places, len(texts))
        return [_unit(vector) for vector in vectors]

    def _check(self, vectors: list[list[float]], places: list[int], asked: int) -> None:
        """Raise ModelError unless there is one vector for each text, all of one length."""
        if len(vectors) != asked:
            raise ModelError(f"{self._host} gave {len(vectors)} vectors for {asked} texts.")
        if places != list(range(asked)):
            odd = next(place for n, place in enumerate(places) if place != n)
            told = odd if isinstance(odd, int) else type(odd).__name__
            raise ModelError(
                f"{self._host} numbered its {asked} vectors wrongly, one as {told}: whose each "
                "is cannot be told."
            )
        lengths = sorted({len(vector) for vector in vectors})
        if len(lengths) != 1:
            raise ModelError(
                f"{self._host} gave vectors of different lengths, {lengths[0]} and {lengths[-1]}, "
                "to one question: they cannot be compared."
            )


def _unit(vector: list[float]) -> list[float]:
    length = math.sqrt(math.fsum(value * value for value in vector))
    if not math.isfinite(length) or length == 0:
        raise ModelError("The endpoint gave a vector without a direction.")
    return [value / length for value in vector]
