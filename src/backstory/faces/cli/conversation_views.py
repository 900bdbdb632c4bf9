"""What a conversation, lists of them and of customers, and the trace of a message look like."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from backstory.faces.cli.plain import clipped, json_text, one_line, plain
from backstory.faces.cli.reading_views import CURSOR, ROLES
from backstory.faces.cli.screen import (
    ID,
    count,
    counted,
    facts,
    heading,
    hint,
    moment,
    table,
    text,
)
from backstory.model import MessageKind
from backstory.search.conversations import ConversationList
from backstory.store.conversations import (
    ConversationHeader,
    Message,
    MessagePage,
    Projection,
    Trace,
)
from backstory.store.customers import CustomerRow

_EVENT_SHOWN = 100


# --- a conversation --------------------------------------------------------------------------


def conversation_json(header: ConversationHeader, page: MessagePage) -> dict[str, Any]:
    """Return a conversation under the keys of --json; `next` is the --after of the next page."""
    return {
        "conversation": asdict(header),
        "messages": [asdict(message) for message in page.messages],
        "next": page.next,
    }


def conversation_view(
    header: ConversationHeader, page: MessagePage, *, ids: bool
) -> RenderableType:
    """Return a conversation: whose it is, then what was said, day by day."""
    shown: list[RenderableType] = [header_view(header), *days_view(page.messages, ids=ids)]
    if page.next:
        shown.append(hint("\nMore: ", (f"--after {page.next}", "cyan")))
    return Group(*shown)


def header_view(header: ConversationHeader) -> RenderableType:
    """Return whose conversation it is, where it took place, and how much was said."""
    who = header.customer or header.external_id or header.lead
    said = counted(header.messages, "message")
    events = f", {counted(header.events, 'event')} among them" if header.events else ""
    span = f"{moment(header.first_message_at)} to {moment(header.last_message_at)} UTC"
    return Group(
        heading(one_line(who), f"{header.channel}, {header.status}"),
        facts(
            [
                ("conversation", str(header.id)),
                ("lead", text(one_line(header.lead), (_stage(header), "dim"))),
                ("customer", str(header.customer_id)),
                ("said", f"{said}{events}, {span}" if header.messages else "nothing yet"),
                *([("in short", one_line(header.summary))] if header.summary else []),
            ]
        ),
    )


def _stage(header: ConversationHeader) -> str:
    return f"  {one_line(header.stage)}" if header.stage else ""


def days_view(messages: Sequence[Message], *, ids: bool = False) -> Iterator[RenderableType]:
    """Yield each day with its messages."""
    day, made = "", _day_table(ids=ids)
    for message in messages:
        at = moment(message.created_at)
        if at[:10] != day:
            if day:
                yield made
            day, made = at[:10], _day_table(ids=ids)
            yield text(("\n" + day, "bold dim"))
        cells: list[RenderableType] = [(str(message.id)[:8])] if ids else []
        made.add_row(*cells, at[11:], text((message.role, ROLES[message.role])), said(message))
    if messages:
        yield made


def _day_table(*, ids: bool) -> Table:
    columns: list[Any] = [("", ID | {"style": "dim"})] if ids else []
    columns += [
        ("", {"style": "dim"}),
        ("", {"min_width": 9}),
        ("", {"no_wrap": False, "overflow": "fold"}),
    ]
    return table(*columns, header=False)


def said(message: Message) -> Text:
    """Return the text of a message; an event is its line, or dim and short, a photo's words follow.

    What a tool gave back as JSON is its line as well: `trace` shows the JSON.
    """
    if message.line is not None:
        return Text(one_line(message.line), style="dim", overflow="fold")
    if message.kind is MessageKind.EVENT:
        return text((clipped(message.content, _EVENT_SHOWN), "dim"))
    words = Text(plain(message.content).strip(), overflow="fold")
    if message.attachment_text:
        words.append(f"\n[{one_line(message.attachment_text)}]", "dim italic")
    return words


# --- conversations ---------------------------------------------------------------------------


def conversations_json(found: ConversationList) -> dict[str, Any]:
    """Return conversations under the keys of --json; `next` is the --after of the next page."""
    return asdict(found)


def conversations_view(found: ConversationList) -> RenderableType:
    """Return conversations, one a line."""
    if not found.conversations:
        return hint("No conversation.")
    right = {"justify": "right"}
    made = table(
        ("id", ID), ("customer", {"max_width": 20}), "channel", "status",
        ("messages", right), ("last message", {"min_width": 16}),
    )  # fmt: skip
    for row in found.conversations:
        made.add_row(
            str(row.id)[:8],
            one_line(row.customer or row.lead),
            row.channel,
            row.status,
            count(row.messages),
            moment(row.last_message_at),
        )
    if found.next:
        more = hint("More: ", ("--limit N", "cyan"), ", or ", ("--after", "cyan"), CURSOR)
        return Group(made, more)
    return Group(made, hint(f"{counted(len(found.conversations), 'conversation')}."))


# --- customers -------------------------------------------------------------------------------


def customers_json(rows: Sequence[CustomerRow], limit: int) -> dict[str, Any]:
    """Return customers under the keys of --json; `next` is the --after of the next page."""
    return {
        "customers": [asdict(row) for row in rows],
        "next": rows[-1].id if len(rows) == limit else None,
    }


def customers_view(rows: Sequence[CustomerRow], limit: int, query: str | None) -> RenderableType:
    """Return customers, one a line."""
    if not rows:
        return hint(f"No customer matches {one_line(query or '')!r}." if query else "No customer.")
    right = {"justify": "right"}
    made = table(
        ("id", ID), ("name", {"max_width": 20}), ("phone", {"max_width": 14}), "leads",
        ("messages", right), ("last message", {"min_width": 16}),
    )  # fmt: skip
    for row in rows:
        made.add_row(
            str(row.id)[:8],
            one_line(row.display_name or row.email or "-"),
            one_line(row.phone or "-"),
            count(row.leads),
            count(row.messages),
            moment(row.last_message_at),
        )
    if len(rows) < limit:
        return Group(made, hint(f"{counted(len(rows), 'customer')}."))
    return Group(made, hint(f"The latest {count(limit)}; a QUERY or --limit shows others."))


# --- trace -----------------------------------------------------------------------------------


def trace_json(found: Trace) -> dict[str, Any]:
    """Return a record and its message under the keys of --json."""
    return asdict(found)


def trace_view(found: Trace) -> RenderableType:
    """Return the message, then the record it was made from, payload and all."""
    record = found.record
    payload = json_text(record.payload)
    return Group(
        *_message_view(found.projection),
        heading(f"Audit record {one_line(record.audit_id)}", f"of log {one_line(record.log)}"),
        facts(
            [
                ("actor", one_line(record.actor)),
                ("action", one_line(record.action)),
                ("lead", one_line(record.lead or "-")),
                ("time", f"{record.created_at.isoformat()}"),
                ("received", f"{moment(record.received_at)} UTC"),
                ("run", str(record.run_id)[:8] if record.run_id else "-"),
                ("payload", Text(plain(payload), overflow="fold")),
            ]
        ),
    )


def _line(made: Projection) -> str:
    """Return the line of a message, and the rules that made it."""
    if made.message.line is None:
        return "-" if made.line_rules is None else f"- (no rule of {made.line_rules} fits)"
    return f"{one_line(made.message.line)} (by the rules {made.line_rules})"


def _message_view(made: Projection | None) -> list[RenderableType]:
    if made is None:
        return [hint("This record made no message.")]
    message = made.message
    who = text((message.role, ROLES[message.role]))
    if message.author:
        who.append(f", {one_line(message.author)}")
    return [
        heading(f"Message {message.id}", message.kind),
        facts(
            [
                ("who", who),
                ("conversation", str(made.conversation_id)),
                ("customer", str(made.customer_id)),
                ("text", said(replace(message, line=None))),
                ("line", _line(made)),
            ]
        ),
    ]
