"""What merges of customers look like."""

from collections.abc import Sequence
from uuid import UUID

from rich.console import Group, RenderableType

from backstory.faces.cli.plain import clipped, one_line, plain
from backstory.faces.cli.screen import ID, hint, moment, table, text
from backstory.store.merges import MergeRow, Undone

_NAME_WIDTH = 14
_KEYS_SHOWN = 3


def merges_view(found: Sequence[MergeRow]) -> RenderableType:
    """Return merges, one a line."""
    if not found:
        return hint("No such merge: nobody was taken for somebody else.")
    who = {"no_wrap": False, "min_width": 8}
    made = table(
        ("id", ID),
        ("when", {"no_wrap": False, "min_width": 10}),
        ("survivor", who),
        ("absorbed", who),
        ("why", {"no_wrap": False, "overflow": "fold"}),
        ("undone", {"no_wrap": False}),
    )
    for each in found:
        made.add_row(
            str(each.id)[:8],
            moment(each.merged_at),
            _who(each.survivor_id, each.survivor),
            _who(each.absorbed_id, each.absorbed),
            plain(why(each)),
            moment(each.undone_at) if each.undone_at else "-",
        )
    return made


def _who(customer: UUID, name: str | None) -> str:
    short = str(customer)[:8]
    return plain(f"{short} {clipped(one_line(name), _NAME_WIDTH)}" if name else short)


def why(merge: MergeRow) -> str:
    """Return the keys that two customers share."""
    keys = [f"{key['kind']} {one_line(key['value'])}" for key in merge.reason.get("keys", ())]
    more = len(keys) - _KEYS_SHOWN
    said = ", ".join(keys[:_KEYS_SHOWN]) or "-"
    return f"{said} and {more} more" if more > 0 else said


def undone_view(undone: Undone) -> RenderableType:
    """Return what there is now in the place of one customer."""
    survivor, absorbed = str(undone.survivor_id)[:8], str(undone.absorbed_id)[:8]
    return Group(
        text(f"Merge {str(undone.id)[:8]} is undone: {survivor} and {absorbed} are two again."),
        text((f"backstory customers {absorbed}", "cyan"), " shows who came back."),
    )
