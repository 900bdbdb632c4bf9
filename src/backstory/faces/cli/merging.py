# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory merges …`: which customers were taken for one, why, and how to take them apart."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from backstory.faces.cli.call import Call, command
from backstory.faces.cli.groups import LOOK, merges, shell

shell.add_typer(
    merges, name="merges", rich_help_panel=LOOK, help="See who was taken for one, and undo it."
)


@command(
    merges,
    "list",
    example="""
    backstory merges list
    backstory merges list 5d0c6a1e --json
    """,
)
def list_all(
    call: Call,
    *,
    customer: Annotated[
        str | None,
        typer.Argument(metavar="CUSTOMER", help="A customer's id or its beginning: its merges."),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at most.")] = 50,
) -> None:
    """List merges of customers, the latest first, with what they share and what was undone."""
    from backstory.faces.cli.merging_views import merges_view
    from backstory.store.merges import list_merges

    with call.reading() as connection:
        found = list_merges(connection, customer=customer, limit=limit)
    call.answer({"merges": [asdict(each) for each in found]}, merges_view(found))


@command(merges, "undo", example="backstory merges undo 8e5b2d90")
def undo(
    call: Call,
    merge: Annotated[
        str, typer.Argument(metavar="MERGE", help="A merge's id or its beginning, as in the list.")
    ],
) -> None:
    """Make two customers of one again: the absorbed one gets back what the merge took.

    What has come with its leads since goes with them. Linking does not join the two again.
    """
    from backstory.faces.cli.merging_views import undone_view
    from backstory.store.merges import undo as take_apart

    with call.app() as app:
        undone = take_apart(app.for_reading(), merge, by="staff", now=datetime.now(UTC))
    told = {
        "merge": undone.id,
        "status": "undone",
        "survivor_id": undone.survivor_id,
        "absorbed_id": undone.absorbed_id,
    }
    call.answer(told, undone_view(undone))
