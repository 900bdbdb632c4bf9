"""The OpenAI Agents SDK: the tools over MCP, from a process that it starts for one lead."""

import asyncio
import os

from agents import Agent, Runner, set_tracing_disabled
from agents.mcp import MCPServerStdio

from by_script import CUSTOMER, LEAD
from by_script.agents_sdk import ModelByScript  # with a network and a key: model="gpt-5"

BACKSTORY = {
    "command": "backstory",
    "args": ["--schema", "demo", "mcp", "--lead", LEAD],
    "env": {**os.environ, "CONTEXT_MEMORY_ENABLED": "true"},
}


async def main() -> None:
    """Serve the customer, message by message."""
    async with MCPServerStdio(
        BACKSTORY, use_structured_content=True, client_session_timeout_seconds=30
    ) as tools:
        agent = Agent("Hazel", mcp_servers=[tools], model=ModelByScript())
        said: list = []
        for words in CUSTOMER:
            print("customer:", words)
            came = await Runner.run(agent, [*said, {"role": "user", "content": words}])
            print("agent:", came.final_output)
            said = came.to_input_list()


set_tracing_disabled(True)
asyncio.run(main())
