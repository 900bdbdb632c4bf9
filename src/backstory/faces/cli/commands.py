"""All commands, in the order of their help; each module registers its own."""

from backstory.faces.cli import demo, loading, run_control, checking, reading, database  # isort: skip
from backstory.faces.cli.groups import shell

__all__ = ["checking", "database", "demo", "loading", "reading", "run_control", "shell"]
