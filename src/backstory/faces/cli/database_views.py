"""What `backstory db status` and `backstory db doctor` look like."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from backstory.faces.cli.doctor import Check
from backstory.faces.cli.plain import plain
from backstory.faces.cli.screen import (
    count,
    facts,
    heading,
    hint,
    indented,
    size,
    table,
    text,
)

_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


def status_view(found: Mapping[str, Any]) -> RenderableType:
    """Return the database as `db status` shows it, as far as it could be seen."""
    rows: list[tuple[str, RenderableType]] = []
    if found["embedded"]:
        rows.append(("state", _state(found)))
        rows.append(("home", found["home"]))
        rows.append(("data", found["data_dir"]))
    if "url" not in found:
        return Group(heading("Embedded PostgreSQL", found["binaries"]), facts(rows))
    kind = "Embedded PostgreSQL" if found["embedded"] else "PostgreSQL"
    rows += [
        ("address", found["url"]),
        ("database", f"{found['database']} as {found['role']}, {size(found['database_bytes'])}"),
        ("schema", _schema(found)),
    ]
    shown: list[RenderableType] = [heading(kind, found["server_version"]), facts(rows)]
    if found["tables"]:
        shown += [Text(), indented(_tables(found["tables"]))]
    return Group(*shown)


def _state(found: Mapping[str, Any]) -> RenderableType:
    if found["running"]:
        return text(("running", "green"))
    if found["initialised"]:
        return text(("stopped", "yellow"), "; any command that needs it starts it")
    return text(("not made yet", "yellow"), "; the first command that needs it makes it")


def _schema(found: Mapping[str, Any]) -> RenderableType:
    if found["revision"] is None:
        return text(found["schema"], ", ", ("not made yet", "yellow"))
    if found["current"]:
        return text(found["schema"], ", revision ", found["revision"], ", ", ("current", "green"))
    wanted = f"revision {found['revision']}, but {found['head']} is wanted"
    return text(found["schema"], ", ", (wanted, "red"), ": backstory db upgrade")


def _tables(tables: Mapping[str, Mapping[str, Any]]) -> RenderableType:
    made = table("table", ("rows", {"justify": "right"}), ("on disk", {"justify": "right"}))
    empty = []
    for name, each in tables.items():
        if not each["rows"]:
            empty.append(name)
            continue
        about = "" if each["exact"] else "about "
        made.add_row(name, f"{about}{count(each['rows'])}", size(each["bytes"]))
    return Group(made, hint("empty: " + ", ".join(empty))) if empty else made


def doctor_view(checks: Sequence[Check]) -> RenderableType:
    """Return the checks, one under another, what to do below each that found something."""
    made = table(
        ("", {"no_wrap": True}),
        ("", {"style": "dim"}),
        ("", {"no_wrap": False, "overflow": "fold"}),
        header=False,
    )
    for check in checks:
        said = text(plain(check.finding))
        if check.advice:
            said.append(f"\n→ {check.advice}", "cyan")
        made.add_row(text(_MARKS[check.verdict]), check.name, said)
    return Group(made, _summary(checks))


def _summary(checks: Sequence[Check]) -> RenderableType:
    failed = sum(check.verdict == "fail" for check in checks)
    warned = sum(check.verdict == "warn" for check in checks)
    if failed:
        return text((f"{failed} must be mended, {warned} should be looked at.", "red"))
    if warned:
        return text((f"Nothing is broken, {warned} should be looked at.", "yellow"))
    return text(("All is well.", "green"))
