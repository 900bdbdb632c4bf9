# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory key …`: who of the business may ask over the network."""

import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from backstory.faces.cli.call import Call, command
from backstory.faces.cli.groups import AGENTS, key, shell
from backstory.model import KeyProfile

shell.add_typer(key, name="key", rich_help_panel=AGENTS, help="Say who may ask over the network.")


@command(
    key,
    "create",
    example="""
    backstory key create shop
    backstory key create back-office --profile staff
    """,
)
def create(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who is to use it.")],
    *,
    profile: Annotated[
        KeyProfile,
        typer.Option(metavar="PROFILE", help="agent, or staff: reads across customers as well."),
    ] = KeyProfile.AGENT,
) -> None:
    """Make a key and print it, this once: what is kept of it is a digest."""
    from backstory.store.engine import translated
    from backstory.store.keys import create_key

    with call.app() as app, translated(), app.for_writing().engine.begin() as connection:
        made, text = create_key(connection, name, profile)
    if call.json:
        call.answer(asdict(made) | {"key": text})
        return
    sys.stdout.write(f"{text}\n")
    call.say("It is shown this once. `backstory key list` has its id, to revoke it by.")


@command(key, "list", example="backstory key list")
def list_all(call: Call) -> None:
    """List the keys: whose they are, when they were last used, and whether they still are valid."""
    from backstory.faces.cli.key_views import keys_view
    from backstory.store.engine import translated
    from backstory.store.keys import list_keys

    with call.reading() as connection, translated():
        found = list_keys(connection)
    call.answer({"keys": [asdict(each) for each in found]}, keys_view(found))


@command(key, "revoke", example="backstory key revoke 7f3a91d2")
def revoke(
    call: Call,
    key_id: Annotated[
        str, typer.Argument(metavar="ID", help="A key's id or its beginning, as in the list.")
    ],
) -> None:
    """Take a key out of use, and every session that was opened with it, within seconds."""
    from backstory.faces.cli.plain import one_line
    from backstory.faces.cli.screen import text
    from backstory.store.engine import translated
    from backstory.store.keys import revoke_key
    from backstory.tools.access import REMEMBERED

    with call.app() as app, translated(), app.for_reading().engine.begin() as connection:
        revoked = revoke_key(connection, key_id)
    seconds = int(REMEMBERED.total_seconds())
    said: dict[str, Any] = asdict(revoked)
    call.answer(
        said,
        text(f"{one_line(revoked.name)} ({str(revoked.id)[:8]}) is revoked, with its sessions; "),
        text(f"servers that met it a moment ago take it for at most {seconds} seconds more."),
    )
