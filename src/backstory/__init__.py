"""Backstory turns an AI agent's audit log into conversations that can be searched and undone.

The way of the data, and the packages in the order in which they may import one another:

    faces     who is asking: the command line, and later HTTP and MCP
    app       opens the database and the home, closes them, and has no verbs of its own
    backfill  the log in bulk: plan, execute, verify, rollback
    search    find messages
    runs      a long journey as a thing with a state: claims, leases, progress
    store     our tables, and the only place that knows them
    extract   pure rules: what a record means, who is who, every id
    audit     what happened: files and tables of audit records and of leads
    model, config, errors

    audit log -> audit -> extract -> store -> search -> faces

Importing this package does nothing; each name below is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backstory.app import App, open_app
    from backstory.backfill.journey import resume, start
    from backstory.backfill.options import BackfillOptions
    from backstory.backfill.report import Report
    from backstory.config import Settings
    from backstory.errors import BackstoryError
    from backstory.runs.progress import Progress
    from backstory.version import VERSION

_HOMES = {
    "App": "app",
    "BackfillOptions": "backfill.options",
    "BackstoryError": "errors",
    "Progress": "runs.progress",
    "Report": "backfill.report",
    "Settings": "config",
    "VERSION": "version",
    "open_app": "app",
    "resume": "backfill.journey",
    "start": "backfill.journey",
}

__all__ = [
    "VERSION",
    "App",
    "BackfillOptions",
    "BackstoryError",
    "Progress",
    "Report",
    "Settings",
    "open_app",
    "resume",
    "start",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
