"""The OpenAI SDK by itself: the tools in its strict shape, and a loop that calls them."""

import backstory
from by_script import CUSTOMER, LEAD
from by_script.openai import OpenAI  # with a network and a key: from openai import OpenAI

client = OpenAI()


def answer(session: backstory.Session, said: list) -> str:
    """Let the model call tools until it has something to say."""
    while True:
        came = client.responses.create(model="gpt-5", input=said, tools=session.tools("openai"))
        said += came.output
        calls = [each for each in came.output if each.type == "function_call"]
        if not calls:
            return came.output_text
        for it in calls:
            told = session.call(it.name, it.arguments, idempotency_key=it.call_id)
            print("  ", it.name, told.outcome)
            output = {"type": "function_call_output", "call_id": it.call_id, "output": told.text}
            said.append(output)


with backstory.open(schema="demo", memory=True) as app:
    session, said = app.session(LEAD), []
    for words in CUSTOMER:
        print("customer:", words)
        said.append({"role": "user", "content": words})
        print("agent:", answer(session, said))
