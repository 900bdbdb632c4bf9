"""All commands, in the order of their help; each module registers its own."""

from backstory.faces.cli import loading, run_control
from backstory.faces.cli.groups import shell

__all__ = ["loading", "run_control", "shell"]
