# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory search`, `conversation(s)`, `customers`, `trace`: look around in what was loaded."""

import re
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from backstory.errors import UsageError
from backstory.faces.cli.call import Call, command
from backstory.faces.cli.groups import LOOK, shell
from backstory.faces.cli.lesson import Lesson
from backstory.model import Channel, ConversationStatus, MessageKind, Role, SearchMode

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Query(Lesson):
    """A command whose argument may begin with a dash, which a command line takes for an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words of the command line; say where such a query goes."""
        word = next((word for word in args if re.match(r"-[^-]", word)), None)
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as wrong:
            if word is not None and hasattr(wrong, "message"):
                wrong.message += (
                    f". A query that begins with a dash stands behind --: `backstory search -- "
                    f"{shlex.quote(word)}`"
                )
            raise


# What a search may be narrowed by.
RoleOption = Annotated[
    Role | None,
    typer.Option("--role", metavar="ROLE", help="Who speaks: user, assistant, system, tool."),
]
KindOption = Annotated[
    MessageKind | None, typer.Option("--kind", metavar="KIND", help="Only text or only event.")
]
ChannelOption = Annotated[
    Channel | None, typer.Option("--channel", metavar="CHANNEL", help="messenger, sms, web, other.")
]
CustomerOption = Annotated[
    str | None,
    typer.Option("--customer", metavar="ID", help="One customer's: the beginning of its id."),
]
LeadOption = Annotated[
    str | None, typer.Option("--lead", metavar="ID", help="One lead's: its id in your own system.")
]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="From this day or time on (UTC).")
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Before this day or time (UTC).")
]


@command(
    shell,
    "search",
    cls=Query,
    panel=LOOK,
    example="""
    backstory search quote
    backstory search '"hot tub" -spa' --role user --since 2026-01-01
    backstory search 'gate or code' --customer 5d0c6a1e --limit 5 --json
    backstory search 'how do I get in' --mode text
    """,
)
def search_command(
    call: Call,
    *,
    query: Annotated[
        str,
        typer.Argument(
            metavar="QUERY", help='Words that must all occur; "a phrase", or, -not as on the web.'
        ),
    ],
    role: RoleOption = None,
    kind: KindOption = None,
    channel: ChannelOption = None,
    customer: CustomerOption = None,
    lead: LeadOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option(metavar="N", help="Hits on a page, up to 100.")] = 10,
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on behind the page before.")
    ] = None,
    mode: Annotated[
        SearchMode,
        typer.Option(metavar="MODE", help="text, semantic (by meaning), or hybrid (both)."),
    ] = SearchMode.TEXT,
) -> None:
    """Find messages by their words, by their meaning or by both, the best first."""
    from backstory.faces.cli.reading_views import answer_json, answer_view
    from backstory.search.semantic import search
    from backstory.search.text import SearchQuery

    embedder = None
    if mode is not SearchMode.TEXT:
        with call.app() as app:
            embedder = app.embedder()
    with call.reading() as connection:
        asked = SearchQuery(
            text=query,
            role=role,
            kind=kind,
            channel=channel,
            customer_id=customer_id_of(connection, customer) if customer else None,
            lead=lead,
            since=_time("--since", since),
            until=_time("--until", until),
            limit=limit,
            after=after,
        )
        answer = search(connection, asked, mode=mode, embedder=embedder)
    call.answer(answer_json(answer), answer_view(answer, asked))


@command(
    shell,
    "conversation",
    panel=LOOK,
    example="""
    backstory conversation 5efc9402
    backstory conversation LEAD --limit 20 --ids
    """,
)
def conversation(
    call: Call,
    *,
    reference: Annotated[
        str,
        typer.Argument(
            metavar="LEAD|CONVERSATION", help="A lead's id in your system, or a conversation's id."
        ),
    ],
    limit: Annotated[int, typer.Option(metavar="N", help="Messages on a page, up to 1,000.")] = 100,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="Go on behind this message.")
    ] = None,
    ids: Annotated[
        bool, typer.Option("--ids", help="Show each message's id, for `backstory trace`.")
    ] = False,
) -> None:
    """Read a conversation, message by message, as it went."""
    from backstory.faces.cli.conversation_views import conversation_json, conversation_view
    from backstory.store.conversations import find_conversation, messages

    with call.reading() as connection:
        header = find_conversation(connection, reference)
        behind = _uuid(after) if after else None
        page = messages(connection, header.id, after=behind, limit=limit)
    call.answer(conversation_json(header, page), conversation_view(header, page, ids=ids))


@command(
    shell,
    "conversations",
    panel=LOOK,
    example="""
    backstory conversations
    backstory conversations --status open --channel sms --since 2026-01-01
    backstory conversations --customer 5d0c6a1e --json
    """,
)
def conversations(
    call: Call,
    *,
    customer: CustomerOption = None,
    lead: LeadOption = None,
    channel: ChannelOption = None,
    status: Annotated[
        ConversationStatus | None,
        typer.Option("--status", metavar="STATUS", help="Only open or only closed."),
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[
        int, typer.Option(metavar="N", help="Conversations on a page, up to 1,000.")
    ] = 50,
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on behind the page before.")
    ] = None,
) -> None:
    """List conversations, those last heard of first: whose they are, and how much was said."""
    from backstory.faces.cli.conversation_views import conversations_json, conversations_view
    from backstory.search.conversations import ConversationQuery, list_conversations

    with call.reading() as connection:
        asked = ConversationQuery(
            customer_id=customer_id_of(connection, customer) if customer else None,
            lead=lead,
            channel=channel,
            status=status,
            since=_time("--since", since),
            until=_time("--until", until),
            limit=limit,
            after=after,
        )
        found = list_conversations(connection, asked)
    call.answer(conversations_json(found), conversations_view(found))


@command(
    shell,
    "customers",
    panel=LOOK,
    example="""
    backstory customers
    backstory customers 512-555
    """,
)
def customers(
    call: Call,
    *,
    query: Annotated[
        str | None, typer.Argument(metavar="QUERY", help="Part of a name, phone, e-mail or id.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at most.")] = 50,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="Go on behind this customer.")
    ] = None,
) -> None:
    """List customers, or find some: who they are, and how much was said."""
    from backstory.faces.cli.conversation_views import customers_json, customers_view
    from backstory.store.customers import find_customers

    with call.reading() as connection:
        behind = _uuid(after) if after else None
        rows = find_customers(connection, query, limit=limit, after=behind)
    call.answer(customers_json(rows, limit), customers_view(rows, limit, query))


@command(
    shell,
    "trace",
    panel=LOOK,
    example="""
    backstory trace 8195b766
    backstory trace 29ee37be-e603-54fc-ac2c-8f54f2334f4d --log audit
    """,
)
def trace(
    call: Call,
    *,
    message: Annotated[
        str, typer.Argument(metavar="MESSAGE", help="A message's id, or an audit id of the log.")
    ],
    log: Annotated[str, typer.Option(metavar="NAME", help="The log of the audit id.")] = "audit",
) -> None:
    """Go from a message back to the audit record it was made from, with its whole payload."""
    from backstory.faces.cli.conversation_views import trace_json, trace_view
    from backstory.store import conversations as store

    with call.reading() as connection:
        found = store.trace(connection, message, log=log)
    call.answer(trace_json(found), trace_view(found))


def customer_id_of(connection: "Connection", reference: str) -> UUID:
    """Return the one customer whose id begins so."""
    from backstory.store.customers import find_customers

    beginning = reference.strip().lower()
    found = [row.id for row in find_customers(connection, beginning, limit=1000)]
    found = [each for each in found if str(each).startswith(beginning)]
    if len(found) != 1:
        raise UsageError(
            f"{'Several' if found else 'No'} customers have an id that begins with "
            f"{reference!r}: `backstory customers` shows them."
        )
    return found[0]


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise UsageError(f"--after {text!r} is no whole id, as --json shows it.") from None


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
