"""A model of the OpenAI Agents SDK, by script."""

import json
from collections.abc import AsyncIterator
from typing import Any

from agents import Model, ModelResponse, Usage
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

from by_script import Agent


class ModelByScript(Model):
    """Answers at once; it streams nothing."""

    def __init__(self) -> None:
        self._agent = Agent()

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[Any],  # noqa: A002 - the SDK's name
        *_: Any,
        **__: Any,
    ) -> ModelResponse:
        del system_instructions
        last = input if isinstance(input, str) else input[-1]
        result = isinstance(last, dict) and last.get("type") == "function_call_output"
        step = self._agent.next(json.loads(last["output"]) if result else None)
        return ModelResponse([_item(step, len(input))], Usage(), None)

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        raise NotImplementedError


def _item(step: Any, number: int) -> Any:
    if isinstance(step, str):
        text = ResponseOutputText(type="output_text", text=step, annotations=[])
        return ResponseOutputMessage(
            id=f"m-{number}", type="message", role="assistant", status="completed", content=[text]
        )
    name, arguments = step
    return ResponseFunctionToolCall(
        type="function_call", call_id=f"call-{number}", name=name, arguments=json.dumps(arguments)
    )
