"""All commands, in the order of their help; each module registers its own."""

from backstory.faces.cli import (  # isort: skip
    demo,
    loading,
    recording,
    run_control,
    undoing,
    checking,
    reading,
    embedding,
    summarizing,
    noting,
    erasing,
    agents,
    tool_list,
    serving,
    keys,
    remembering,
    database,
)
from backstory.faces.cli.groups import shell

__all__ = [
    "agents",
    "checking",
    "database",
    "demo",
    "embedding",
    "erasing",
    "keys",
    "loading",
    "noting",
    "reading",
    "recording",
    "remembering",
    "run_control",
    "serving",
    "shell",
    "summarizing",
    "tool_list",
    "undoing",
]
