"""LangChain: the tools over MCP (`langchain-mcp-adapters`), from a process for one lead."""

import asyncio
import os

from langchain.agents import create_agent
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools

from by_script import CUSTOMER, LEAD
from by_script.langchain_model import ModelByScript  # else: "openai:gpt-5"

BACKSTORY = {
    "transport": "stdio",
    "command": "backstory",
    "args": ["--schema", "demo", "mcp", "--lead", LEAD],
    "env": {**os.environ, "CONTEXT_MEMORY_ENABLED": "true"},
}


async def main() -> None:
    """Serve the customer, message by message, over one connection."""
    async with MultiServerMCPClient({"backstory": BACKSTORY}).session("backstory") as session:
        agent = create_agent(ModelByScript(), await load_mcp_tools(session))
        said: list = []
        for words in CUSTOMER:
            print("customer:", words)
            asked = {"messages": [*said, {"role": "user", "content": words}]}
            said = (await agent.ainvoke(asked))["messages"]
            print("agent:", said[-1].text)


asyncio.run(main())
