"""What `anthropic.Anthropic().messages` would answer, by script."""

import json
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from by_script import Agent


class Anthropic:
    """Has `messages.create`, as the client has."""

    def __init__(self) -> None:
        self.messages = self
        self._agent = Agent()

    def create(
        self, *, model: str, max_tokens: int, messages: list[Any], tools: list[Any]
    ) -> SimpleNamespace:
        del model, max_tokens, tools
        last = messages[-1]["content"]
        told = None if isinstance(last, str) else json.loads(last[0]["content"])
        step = self._agent.next(told)
        if isinstance(step, str):
            return SimpleNamespace(content=[SimpleNamespace(type="text", text=step)])
        name, arguments = step
        use = {"type": "tool_use", "id": f"toolu_{uuid4().hex}", "name": name, "input": arguments}
        return SimpleNamespace(content=[SimpleNamespace(**use)])
