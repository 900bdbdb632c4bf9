"""Asks a language model behind an OpenAI-compatible `/chat/completions`, within a budget."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx2

from backstory.errors import ModelError
from backstory.memory.tokens import upper_bound
from backstory.search.service import Service

_TRIES = 3
# For one answer, its tries and the waits between them: who waits for it should not be held longer.
_WITHIN_SECONDS = 90.0
# Many times what is asked for; counting the tokens of more takes longer than it is worth.
_MOST_CHARS = 100_000


@dataclass(frozen=True)
class ChatSettings:
    """Which language model is asked: `url` is the base of its service, None asks nobody.

    No run makes more than `calls` calls or spends more than `tokens` tokens, asked and answered;
    every request is a call and has its tokens, also one that is a second try.
    """

    url: str | None = None
    model: str | None = None
    key: str | None = None
    calls: int = 500
    tokens: int = 1_000_000


class BudgetSpent(ModelError):
    """No call is left, or no token; the next run has a budget of its own."""


class Chat:
    """A model that answers one message at a time; safe to be asked by several threads."""

    def __init__(
        self,
        settings: ChatSettings,
        *,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = Service(
            settings.url or "",
            key=settings.key,
            tries=_TRIES,
            within=_WITHIN_SECONDS,
            transport=transport,
            sleep=sleep,
            ticks=ticks,
        )
        self._settings = settings
        self._lock = threading.Lock()
        self.calls = 0
        self.tokens = 0

    @property
    def name(self) -> str:
        """The model's name and the host that serves it."""
        return f"{self._settings.model}@{self._service.host}"

    def answer(self, instruction: str, text: str) -> str:
        """Return what the model says to a text.

        Raises BudgetSpent before a call that the budget does not hold, ModelUnreachable where
        another try may help, ModelError where none will.
        """
        least = upper_bound(instruction) + upper_bound(text)
        said = [{"role": "system", "content": instruction}, {"role": "user", "content": text}]
        asked = {"model": self._settings.model, "messages": said}
        answer = self._service.ask(
            "chat/completions", asked, to="answer", before=lambda: self._spend(least)
        )
        try:
            spoken = answer["choices"][0]["message"]["content"]
            used = (answer.get("usage") or {}).get("total_tokens")
        except (AttributeError, IndexError, KeyError, TypeError) as bad:
            fault = type(bad).__name__
            raise ModelError(
                f"{self._service.host} did not answer as a chat does: {fault}."
            ) from bad
        if not isinstance(spoken, str) or not spoken.strip():
            raise ModelError(f"{self.name} answered nothing.")
        if len(spoken) > _MOST_CHARS:
            raise ModelError(f"{self.name} answered {len(spoken):,} characters: far too many.")
        spent = used if isinstance(used, int) and used > 0 else least + upper_bound(spoken)
        with self._lock:
            self.tokens += spent - least
        return spoken

    def _spend(self, tokens: int) -> None:
        with self._lock:
            if self.calls >= self._settings.calls:
                raise BudgetSpent(f"The budget of {self._settings.calls} calls is spent.")
            if self.tokens + tokens > self._settings.tokens:
                raise BudgetSpent(f"The budget of {self._settings.tokens} tokens is spent.")
            self.calls += 1
            self.tokens += tokens
