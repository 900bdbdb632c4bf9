"""All commands, in the order of their help; each module registers its own."""

from backstory.faces.cli import checking, database, loading, reading, run_control
from backstory.faces.cli.groups import shell

__all__ = ["checking", "database", "loading", "reading", "run_control", "shell"]
