"""PydanticAI: the tools over MCP (`pydantic-ai-slim[mcp]`), from a process for one lead."""

import asyncio
import os

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset

from by_script import CUSTOMER, LEAD
from by_script.pydantic_ai_model import model_by_script  # else: "openai:gpt-5"

BACKSTORY = StdioTransport(
    command="backstory",
    args=["--schema", "demo", "mcp", "--lead", LEAD],
    env={**os.environ, "CONTEXT_MEMORY_ENABLED": "true"},
)


async def main() -> None:
    """Serve the customer, message by message."""
    agent = Agent(model_by_script(), toolsets=[MCPToolset(BACKSTORY, init_timeout=30)])
    said: list = []
    async with agent:
        for words in CUSTOMER:
            print("customer:", words)
            came = await agent.run(words, message_history=said)
            print("agent:", came.output)
            said = came.all_messages()


asyncio.run(main())
