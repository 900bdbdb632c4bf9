"""What keys look like in a list."""

from collections.abc import Sequence

from rich.console import RenderableType

from backstory.faces.cli.plain import one_line
from backstory.faces.cli.screen import ID, hint, moment, table, text
from backstory.store.keys import ApiKey


def keys_view(keys: Sequence[ApiKey]) -> RenderableType:
    """Return keys, one a line; those that are revoked say when."""
    if not keys:
        return hint("No key yet: ", ("backstory key create NAME", "cyan"), " makes one.")
    made = table(
        ("id", ID), ("name", {"max_width": 24}), "profile", ("made (UTC)", {"min_width": 16}),
        ("last used", {"min_width": 16}),
    )  # fmt: skip
    for key in keys:
        state = (
            text((f"revoked {moment(key.revoked_at)[:10]}", "red"))
            if key.revoked_at
            else moment(key.last_used_at)
        )
        made.add_row(
            str(key.id)[:8], one_line(key.name), key.profile, moment(key.created_at), state
        )
    return made
