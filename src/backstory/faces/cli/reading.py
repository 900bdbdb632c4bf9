# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory search`, `conversation`, `customers` and `trace`: look around in what was loaded."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer

from backstory.errors import UsageError
from backstory.faces.cli.call import Call, command
from backstory.faces.cli.groups import LOOK, shell
from backstory.model import Channel, MessageKind, Role


@command(
    shell,
    "search",
    panel=LOOK,
    example="""
    backstory search quote
    backstory search '"hot tub" -spa' --role user --since 2026-01-01
    backstory search 'gate or code' --customer 5d0c6a1e --limit 5 --json
    """,
)
def search(
    call: Call,
    *,
    query: Annotated[
        str,
        typer.Argument(
            metavar="QUERY", help='Words that must all occur; "a phrase", or, -not as on the web.'
        ),
    ],
    role: Annotated[
        Role | None, typer.Option(metavar="ROLE", help="Who speaks: user, assistant, system, tool.")
    ] = None,
    kind: Annotated[
        MessageKind | None, typer.Option(metavar="KIND", help="Only text or only event.")
    ] = None,
    channel: Annotated[
        Channel | None, typer.Option(metavar="CHANNEL", help="messenger, sms, web, other.")
    ] = None,
    customer: Annotated[
        str | None, typer.Option(metavar="ID", help="One customer's messages only.")
    ] = None,
    lead: Annotated[
        str | None, typer.Option(metavar="ID", help="One lead's: its id in your own system.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="From this day or time on (UTC).")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Before this day or time (UTC).")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="Hits on a page, up to 100.")] = 10,
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on behind the page before.")
    ] = None,
) -> None:
    """Find messages by their words, the best first."""
    from backstory.faces.cli.reading_views import answer_json, answer_view
    from backstory.search.text import SearchQuery, search_messages

    with call.reading() as connection:
        asked = SearchQuery(
            text=query,
            role=role,
            kind=kind,
            channel=channel,
            customer_id=_uuid(customer) if customer else None,
            lead=lead,
            since=_time("--since", since),
            until=_time("--until", until),
            limit=limit,
            after=after,
        )
        answer = search_messages(connection, asked)
    call.answer(answer_json(answer), answer_view(answer, asked))


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is no id of a customer: `backstory customers` shows them."
        ) from None


def _time(option: str, text: str | None) -> datetime | None:
    """Read a day or a time; one without a zone is UTC."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(
            f"{option} {text!r} is no time: use 2026-01-31 or 2026-01-31T12:00:00Z."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
