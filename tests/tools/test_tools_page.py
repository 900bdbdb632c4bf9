"""The functions that docs/tools.md shows serve a customer through the providers' own SDKs.

The network is scripted: each request is kept, and the answer is the provider's own form of a call.
"""

import json
import re
from pathlib import Path

import anthropic
import httpx2
import openai
import pytest

from backstory.tools.catalog import TOOLS
from backstory.tools.check_schemas import tokens
from backstory.tools.schemas import Format

PAGE = (Path(__file__).parents[2] / "docs" / "tools.md").read_text(encoding="utf-8")
JOB = {"title": "Garage clean-out"}


def shown(name):
    """Return a function of the page."""
    (program,) = [
        block
        for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        if f"def {name}(" in block
    ]
    space = {}
    exec(program, space)  # noqa: S102 - the page's own program
    return space[name]


class Network:
    """Answers one request after another as it is told, and keeps what was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, request):
        self.asked.append(json.loads(request.content))
        return httpx2.Response(200, json=self.answers.pop(0))

    @property
    def client(self):
        return httpx2.Client(transport=httpx2.MockTransport(self))


def openai_says(*output):
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def anthropic_says(*content):
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": content,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def test_openai_s_sdk_serves_a_customer(ana):
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "create_job"}
    text = {"type": "output_text", "text": "It is booked.", "annotations": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    network = Network(
        openai_says(call | {"arguments": json.dumps(JOB | {"description": None})}),
        openai_says(message | {"content": [text]}),
    )
    with network.client as http, openai.OpenAI(api_key="none", http_client=http) as client:
        said = [{"role": "user", "content": "Please clear my garage"}]
        assert shown("answer_with_openai")(client, "m", ana, said) == "It is booked."
    first, second = network.asked
    assert [tool["name"] for tool in first["tools"]] == [tool.name for tool in TOOLS]
    told = json.loads(second["input"][-1]["output"])
    assert (told["outcome"], told["job"]["title"]) == ("created", "Garage clean-out")
    assert second["input"][-1]["call_id"] == "call_1"


def test_anthropic_s_sdk_serves_a_customer(ana):
    network = Network(
        anthropic_says({"type": "tool_use", "id": "toolu_1", "name": "create_job", "input": JOB}),
        anthropic_says({"type": "text", "text": "It is booked."}),
    )
    with network.client as http, anthropic.Anthropic(api_key="none", http_client=http) as client:
        said = [{"role": "user", "content": "Please clear my garage"}]
        assert shown("answer_with_anthropic")(client, "m", ana, said) == "It is booked."
    first, second = network.asked
    assert [tool["name"] for tool in first["tools"]] == [tool.name for tool in TOOLS]
    (result,) = second["messages"][-1]["content"]
    assert result["tool_use_id"] == "toolu_1"
    assert json.loads(result["content"])["outcome"] == "created"


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
def test_it_takes_less_than_ten_lines(provider):
    body = re.search(rf"def answer_with_{provider}\(.*?\):\n(.*?)```", PAGE, re.DOTALL)
    assert body is not None
    assert len(body[1].strip().splitlines()) < 10


def test_the_page_tells_the_tokens_as_they_are_counted():
    for shape in set(Format) - {Format.OPENAI}:
        (row,) = [
            line for line in PAGE.splitlines() if re.search(rf"^\|.*`{shape}`.* \|.*\|", line)
        ]
        assert f"| {tokens(TOOLS, shape):,} tokens |" in row
