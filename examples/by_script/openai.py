"""What `openai.OpenAI().responses` would answer, by script."""

import json
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from by_script import Agent


class OpenAI:
    """Has `responses.create`, as the client has."""

    def __init__(self) -> None:
        self.responses = self
        self._agent = Agent()

    def create(self, *, model: str, input: list[Any], tools: list[Any]) -> SimpleNamespace:  # noqa: A002, ARG002 - the client's names
        last = input[-1]
        told = json.loads(last["output"]) if "output" in last else None
        step = self._agent.next(told)
        if isinstance(step, str):
            return SimpleNamespace(output=[], output_text=step)
        name, arguments = step
        call = SimpleNamespace(
            type="function_call",
            call_id=f"call_{uuid4().hex}",
            name=name,
            arguments=json.dumps(arguments),
        )
        return SimpleNamespace(output=[call], output_text="")
