"""All commands, in the order of their help; each module registers its own."""

from backstory.faces.cli import (  # isort: skip
    demo,
    loading,
    recording,
    run_control,
    undoing,
    checking,
    reading,
    database,
)
from backstory.faces.cli.groups import shell

__all__ = [
    "checking",
    "database",
    "demo",
    "loading",
    "reading",
    "recording",
    "run_control",
    "shell",
    "undoing",
]
