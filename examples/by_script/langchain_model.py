"""A chat model of LangChain, by script."""

import json
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from by_script import Agent


class ModelByScript(BaseChatModel):
    """Answers at once, whatever tools are bound to it."""

    _agent: Agent = PrivateAttr(default_factory=Agent)

    @property
    def _llm_type(self) -> str:
        return "by script"

    def bind_tools(self, *_: Any, **__: Any) -> "ModelByScript":
        return self

    def _generate(self, messages: list[Any], *_: Any, **__: Any) -> ChatResult:
        last = messages[-1]
        step = self._agent.next(json.loads(last.text) if isinstance(last, ToolMessage) else None)
        if isinstance(step, str):
            said = AIMessage(step)
        else:
            call = {"name": step[0], "args": step[1], "id": f"call-{len(messages)}"}
            said = AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=said)])
