"""The Anthropic SDK by itself: the tools as it takes them, and a loop that calls them."""

import backstory
from by_script import CUSTOMER, LEAD
from by_script.anthropic import Anthropic  # else: from anthropic import Anthropic

client = Anthropic()


def answer(session: backstory.Session, said: list) -> str:
    """Let the model call tools until it has something to say."""
    tools = session.tools("anthropic")
    while True:
        came = client.messages.create(
            model="claude-sonnet-4-5", max_tokens=1024, messages=said, tools=tools
        )
        said.append({"role": "assistant", "content": came.content})
        calls = [each for each in came.content if each.type == "tool_use"]
        if not calls:
            return came.content[-1].text
        results = []
        for it in calls:
            told = session.call(it.name, it.input, idempotency_key=it.id)
            print("  ", it.name, told.outcome)
            results.append({"type": "tool_result", "tool_use_id": it.id, "content": told.text})
        said.append({"role": "user", "content": results})


with backstory.open(schema="demo", memory=True) as app:
    session, said = app.session(LEAD), []
    for words in CUSTOMER:
        print("customer:", words)
        said.append({"role": "user", "content": words})
        print("agent:", answer(session, said))
