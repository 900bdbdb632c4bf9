"""The part of the demo in which a customer comes back: an agent by script, and real calls."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from backstory.errors import Refused
from backstory.faces.cli.plain import clipped
from backstory.faces.cli.screen import moment, table, text
from backstory.tools.session import Session
from backstory.tools.toolset import Answer

LEAD = "c1283308-5e67-55c8-ac93-b32792d4d790"
"""The sample's customer who came by messenger, and then by SMS."""

_ASKS = "Hi, it's Joanie. Same place as last time: a couch, two tables?"
_AGREES = "Yes, that's the one. Saturday is fine."
_LINES = (("Couch", 1, 9900), ("Side table", 2, 1500))
_CANDIDATES = 2
_SATURDAY = 5
_TOOL_WIDTH = 24
_DETAIL_WIDTH = 42
_WORDS_WIDTH = 49


@dataclass
class Talk:
    """What was said and called, in order; a call that is refused ends it."""

    session: Session
    turns: list[tuple[str, str] | Answer] = field(default_factory=list)

    def said(self, who: str, words: str) -> None:
        """Note what the customer or the agent says."""
        self.turns.append((who, words))

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool as the agent; raise Refused if it is."""
        answer = self.session.call(tool, arguments)
        self.turns.append(answer)
        if answer.refused:
            raise Refused(
                answer.outcome, answer.data["message"], next_step=answer.data.get("next_step", "")
            )
        return answer.data

    def as_json(self) -> list[dict[str, Any]]:
        """Return the turns under the keys of --json."""
        return [
            {"tool": turn.tool, "outcome": turn.outcome, "data": turn.data}
            if isinstance(turn, Answer)
            else {"who": turn[0], "says": turn[1]}
            for turn in self.turns
        ]


def serve(session: Session, now: datetime) -> Talk:
    """Serve the customer as an agent should: look, ask, and only after a yes reuse what was."""
    talk = Talk(session)
    talk.said("customer", _ASKS)
    found = talk.call("memory_fetch_candidates", query=_ASKS)["candidates"]
    meant = next(each for each in found if each["address"])
    talk.said("agent", f"Welcome back! Is it {meant['address']} again?")
    talk.said("customer", _AGREES)
    talk.call("memory_confirm_context", candidate_ids=[meant["candidate_id"]])
    job = _book(talk, meant["address"], now)
    totals = job["totals"]
    talk.said("agent", f"Booked: job {job['job_number']}, {_money(totals['total_cents'])} in all.")
    return talk


def _book(talk: Talk, address: str, now: datetime) -> dict[str, Any]:
    line1, city, rest = address.split(", ")
    region, postal_code = rest.split()
    kept = talk.call("add_address", line1=line1, city=city, region=region, postal_code=postal_code)[
        "address"
    ]
    start = _next_saturday(now)
    job_id = talk.call(
        "create_job",
        title="Couch and side tables",
        address_id=kept["address_id"],
        scheduled_start=start.isoformat(),
        scheduled_end=(start + timedelta(hours=2)).isoformat(),
    )["job"]["job_id"]
    for name, quantity, cents in _LINES:
        talk.call(
            "add_job_item",
            job_id=job_id,
            kind="item",
            name=name,
            quantity=quantity,
            unit_price_cents=cents,
        )
    booked: dict[str, Any] = talk.call("record_job_event", job_id=job_id, event_type="confirmed")
    return dict(booked["job"])


def _next_saturday(now: datetime) -> datetime:
    """Return the next Saturday that is not today, in the morning of the sample's Texas."""
    days = (_SATURDAY - now.weekday()) % 7 or 7
    return (now + timedelta(days=days)).replace(hour=15, minute=0, second=0, microsecond=0)


# --- what it looks like ----------------------------------------------------------------------


def talk_view(talk: Talk) -> RenderableType:
    """Return the talk line by line, each call with what came of it."""
    made = table(("", {"style": "dim"}), ("", {"no_wrap": False, "overflow": "fold"}), header=False)
    for turn in talk.turns:
        if isinstance(turn, Answer):
            made.add_row("calls", Group(*_call_lines(turn)))
        else:
            who, words = turn
            made.add_row(who, text((words, "cyan" if who == "customer" else "green")))
    return made


def _call_lines(answer: Answer) -> Iterator[Text]:
    detail = _DETAILS[answer.tool](answer.data)
    yield text((f"{answer.tool:<{_TOOL_WIDTH}}", "bold"), (clipped(detail, _DETAIL_WIDTH), "dim"))
    for each in answer.data.get("candidates", [])[:_CANDIDATES]:
        known = each["address"] or quoted_part(each["summary"])
        yield text(
            (f"  {each['score']:.2f}  {each['source']:<9}", "dim"), clipped(known, _WORDS_WIDTH)
        )


def quoted_part(summary: str) -> str:
    """Return a summary from its first quotation on: the rest is the same for all."""
    return summary[max(summary.find('"'), 0) :]


def _found(data: Mapping[str, Any]) -> str:
    return f"{len(data['candidates'])} found; the best:"


def _confirmed(data: Mapping[str, Any]) -> str:
    return f"{len(data['confirmed'])} confirmed, to be reused now"


def _address(data: Mapping[str, Any]) -> str:
    return f"{data['outcome']}: {data['address']['line']}"


def _job(data: Mapping[str, Any]) -> str:
    job = data["job"]
    start = moment(datetime.fromisoformat(job["scheduled_start"]))
    return f"{data['outcome']}: job {job['job_number']} for {start}"


def _item(data: Mapping[str, Any]) -> str:
    item = data["item"]
    return f"{item['quantity']:g} of {item['name']}, {_money(item['unit_price_cents'])} each"


def _event(data: Mapping[str, Any]) -> str:
    return f"{data['outcome']}: {data['event']['event_type']}"


def _money(cents: int) -> str:
    return f"${cents / 100:,.2f}"


_DETAILS = {
    "memory_fetch_candidates": _found,
    "memory_confirm_context": _confirmed,
    "add_address": _address,
    "create_job": _job,
    "add_job_item": _item,
    "record_job_event": _event,
}
