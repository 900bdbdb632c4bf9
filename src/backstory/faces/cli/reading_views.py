"""What found messages, conversations, customers and traces look like."""

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from backstory.faces.cli.plain import one_line
from backstory.faces.cli.screen import counted, hint, indented, moment, text
from backstory.search.text import Hit, SearchAnswer, SearchQuery

CURSOR = " with what --json calls next."
ROLES = {"user": "cyan", "assistant": "green", "system": "magenta", "tool": "yellow"}


def answer_json(answer: SearchAnswer) -> dict[str, Any]:
    """Return a page of hits under the keys of --json; `next` is the --after of the next page."""
    return {
        "hits": [_hit_json(hit) for hit in answer.hits],
        "next": answer.next,
        "total_at_least": answer.total_at_least,
        "capped": answer.capped,
        "note": answer.note,
    }


def _hit_json(hit: Hit) -> dict[str, Any]:
    return {
        "id": hit.id,
        "conversation_id": hit.conversation_id,
        "customer_id": hit.customer_id,
        "lead": hit.lead,
        "customer": hit.customer,
        "role": hit.role,
        "kind": hit.kind,
        "channel": hit.channel,
        "author": hit.author,
        "created_at": hit.created_at,
        "score": hit.score,
        "snippet": hit.snippet_plain(),
        "fragments": [{"text": part.text, "match": part.is_match} for part in hit.snippet],
    }


def answer_view(answer: SearchAnswer, asked: SearchQuery) -> RenderableType:
    """Return a page of hits, two lines or more each, and how to see the next page."""
    if not answer.hits:
        return hint(" ".join((f"No message matches {one_line(asked.text)!r}.", answer.note or "")))
    more = "at least " if answer.capped else ""
    head = f"{more}{counted(answer.total_at_least, 'match', 'matches')}, the best first"
    shown: list[RenderableType] = [hint(f"{len(answer.hits)} of {head}")]
    for hit in answer.hits:
        shown += [hit_line(hit), indented(snippet(hit))]
    if answer.note:
        shown.append(hint(answer.note))
    if answer.next:
        shown.append(hint("More: ", ("--limit N", "cyan"), ", or ", ("--after", "cyan"), CURSOR))
    return Group(*shown)


def hit_line(hit: Hit) -> Text:
    """Return who said it, when and where, and the id under which it can be traced."""
    line = text(
        (str(hit.id)[:8], "dim"),
        f"  {moment(hit.created_at)}  ",
        (f"{hit.role:<9}", ROLES[hit.role]),
        f"  {one_line(hit.customer or hit.lead)}",
        (f" on {hit.channel}", "dim"),
    )
    line.truncate(80, overflow="ellipsis")
    return line


def snippet(hit: Hit) -> Text:
    """Return the words around the match, the match in bold."""
    said = Text(overflow="fold")
    for part in hit.snippet:
        said.append(part.text, "bold yellow" if part.is_match else "")
    return said
