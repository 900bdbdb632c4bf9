"""Backstory gives an AI agent the customer's backstory: out of its audit log, and into its tools.

The way of the data, and the packages in the order in which they may import one another:

    faces     who is asking: the command line, HTTP, MCP
    app       opens the database and the home, closes them, and passes on what is asked
    tools     what an agent, or the staff, may ask: tools, sessions of one lead, schemas
    memory    what a customer may mean from before, confirmed before it is reused
    backfill  the log in bulk: plan, execute, verify, rollback
    live      the log as it grows, event by event
    erasure   one customer, exported or removed wherever it is held
    search    find messages
    runs      a long journey as a thing with a state: claims, leases, progress
    store     our tables, and the only place that knows them
    extract   pure rules: what a record means, who is who, every id
    audit     what happened: files and tables of audit records and of leads
    model, config, errors

    audit log -> audit -> extract -> store -> search -> memory -> tools -> faces

Importing this package does nothing; each name below is loaded when it is first used.

    with backstory.open() as app:
        session = app.session("lead-7")
        answer = session.call("create_job", {"title": "Garage clean-out"})
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backstory.app import App, open_app
    from backstory.app import open_named as open  # noqa: A004 - as backstory.open it hides nothing
    from backstory.backfill.journey import resume, start
    from backstory.backfill.options import BackfillOptions
    from backstory.backfill.report import Report
    from backstory.config import Settings
    from backstory.errors import BackstoryError
    from backstory.runs.progress import Progress
    from backstory.tools.session import Session
    from backstory.tools.toolset import Answer
    from backstory.version import VERSION

_HOMES = {
    "Answer": "tools.toolset",
    "App": "app",
    "BackfillOptions": "backfill.options",
    "BackstoryError": "errors",
    "Progress": "runs.progress",
    "Report": "backfill.report",
    "Session": "tools.session",
    "Settings": "config",
    "VERSION": "version",
    "open": "app",
    "open_app": "app",
    "resume": "backfill.journey",
    "start": "backfill.journey",
}
_CALLED_THERE = {"open": "open_named"}

__all__ = [
    "VERSION",
    "Answer",
    "App",
    "BackfillOptions",
    "BackstoryError",
    "Progress",
    "Report",
    "Session",
    "Settings",
    "open",
    "open_app",
    "resume",
    "start",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"{__name__}.{_HOMES[name]}")
    return getattr(home, _CALLED_THERE.get(name, name))


def __dir__() -> list[str]:
    return sorted(__all__)
