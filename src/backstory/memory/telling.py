"""Tells what is kept of a customer in a line or two: our own words first, then theirs in quotes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from backstory.memory.lead_details import read_details
from backstory.memory.quoting import plain, quoted
from backstory.model import MemorySource, MessageKind, NoteStatus, Role
from backstory.store import memory as store
from backstory.store.addresses import one_line
from backstory.store.binding import Bound
from backstory.store.jobs import CLOSED

# What was said so shortly before is the talk that is going on, not something from before.
TALK = timedelta(minutes=15)
ADDRESS_CHARS = 160
# A conversation may go on for years: for so long what was agreed in it is of now, and a yes is
# taken. Then it is asked for again.
LASTS = timedelta(days=7)
# Less room than this is no room for a quotation.
_SHORTEST = 12
_UNITS: Mapping[str, int] = dict.fromkeys(("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND"), 0) | (
    dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "OMR", "TND"), 3)
)
_SPEAKERS = {
    Role.USER: "the customer",
    Role.ASSISTANT: "the agent",
    Role.SYSTEM: "the system",
    Role.TOOL: "a tool",
}
# A row of a statement of `store/sql/memory.sql`.
Row_ = Any
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Kept:
    """Something kept of a customer: `head` is ours to say, the pairs are a word of ours and theirs.

    `at` is when there was last something about it, None if nobody knows. `held_back` is told, and
    found by, only after a confirmation. `current`: it is of this contact and not from before, or
    was confirmed by who reviews notes, and needs no confirmation. `of_talk`: it was made in the
    talk that is going on. A message that was not said (`was_said`) is an event, or an instruction
    to the agent.
    """

    source: MemorySource
    id: UUID
    content_hash: bytes
    at: datetime | None
    head: str
    said: Pairs
    question: Pairs = ()
    question_id: UUID | None = None
    held_back: Pairs = ()
    address: str | None = None
    job_id: UUID | None = None
    address_id: UUID | None = None
    confirmed: bool = False
    current: bool = False
    of_talk: bool = False
    was_said: bool = True

    @property
    def text(self) -> str:
        """All that a word of a question may be found in."""
        # Of our own words only a job's are what a customer may say: its number, its status.
        ours = self.head if self.source is MemorySource.JOB else ""
        return " ".join([ours, *(text for _, text in self.said), self.address or ""])

    def told(self, limit: int, *, whole: bool = False) -> str:
        """Return it in up to `limit` characters; `whole` with what is for after a confirmation."""
        line = self.head
        pairs = (*self.said, *self.question)
        if whole:
            elsewhere = self.address and self.source is not MemorySource.ADDRESS
            where = (("at", self.address or ""),) if elsewhere else ()
            pairs = (*self.said[:1], *where, *self.held_back, *self.said[1:], *self.question)
        for word, text in pairs:
            before = f"{line} {word} " if word else f"{line} "
            room = limit - len(before) - 2
            if room < _SHORTEST:
                break
            line = before + quoted(text, room)
        return line[:limit]


def kept(bound: Bound) -> Iterator[Kept]:
    """Yield all that is kept of the customer but messages, kind by kind, the latest first."""
    found = store.all_kept(bound, talk_since=bound.now - TALK)
    for source, tell in _TOLD.items():
        for row in found[source]:
            yield tell(row, bound)


def messages(bound: Bound, ids: Sequence[UUID]) -> list[Kept]:
    """Return some messages of the customer, by conversation and in order."""
    return [_message(row) for row in store.messages(bound, ids)] if ids else []


def one(bound: Bound, source: MemorySource, row_id: UUID) -> Kept | None:
    """Return one thing as it is now; None if it is gone."""
    if source is _M.MESSAGE:
        return next(iter(messages(bound, [row_id])), None)
    row = store.kept(bound, source, row_id, talk_since=bound.now - TALK)
    return None if row is None else _TOLD[source](row, bound)


def date(moment: datetime | None) -> str:
    """Return the day of a moment, in UTC."""
    return "no date" if moment is None else moment.date().isoformat()


def money(cents: int | None, currency: str) -> str | None:
    """Return an amount of minor units in its currency: `249.00 USD`."""
    if cents is None:
        return None
    digits = _UNITS.get(currency, 2)
    return f"{cents / 10**digits:.{digits}f} {currency}"


def _listed(*words: str | None) -> str:
    return ", ".join(word for word in words if word)


def _said(*pairs: tuple[str, str | None]) -> Pairs:
    return tuple((word, text) for word, text in pairs if text and text.strip())


def _address_line(row: Row_) -> str | None:
    return plain(one_line(row), ADDRESS_CHARS) or None


def _job(row: Row_, bound: Bound) -> Kept:
    ours = row.lead_id == bound.lead_id or (
        row.conversation_id is not None and row.conversation_id == bound.conversation_id
    )
    total = money(row.total_cents, row.currency)
    done = row.actual_end or row.actual_start
    when = f"done {date(done)}" if done else None
    if when is None and row.scheduled_start:
        when = f"scheduled {date(row.scheduled_start)}"
    head = _listed(
        f"Job {row.job_number}",
        row.status.replace("_", " "),
        when or f"opened {date(row.created_at)}",
        total and f"total {total}",
    )
    return Kept(
        source=_M.JOB,
        id=row.id,
        content_hash=bytes(row.content_hash),
        at=row.at,
        head=head + ":",
        said=_said(
            ("", row.title),
            ("with", row.items),
            ("of kind", row.service_type),
            ("described as", row.description),
        ),
        address=_address_line(row),
        job_id=row.id,
        address_id=row.address_id,
        current=row.status not in CLOSED and ours and row.at > bound.now - LASTS,
        of_talk=ours and row.created_at > bound.now - TALK,
    )


def _lead(row: Row_, bound: Bound) -> Kept:
    since = row.created_at and f"since {date(row.created_at)}"
    contact = "This contact" if row.id == bound.lead_id else "Contact"
    details = read_details(row.state_metadata)
    return Kept(
        source=_M.LEAD,
        id=row.id,
        content_hash=bytes(row.content_hash),
        at=row.at,
        head=_listed(f"{contact} over {row.channel}", since, f"last {date(row.at)}"),
        said=_said(
            ("as", row.name),
            ("at stage", row.stage),
            ("with", details.rest),
            ("about", row.summary),
        ),
        held_back=_said(("access", details.access)),
        address=plain(details.address, ADDRESS_CHARS) or None,
    )


def _address(row: Row_, bound: Bound) -> Kept:
    line = _address_line(row)
    head = _listed(
        "Primary address" if row.is_primary else "Address",
        f"{row.jobs} jobs there" if row.jobs != 1 else "1 job there",
    )
    return Kept(
        source=_M.ADDRESS,
        id=row.id,
        content_hash=bytes(row.content_hash),
        at=row.at,
        head=head + ":",
        said=_said(("", line), ("called", row.label)),
        held_back=_said(("access", row.access_notes)),
        address=line,
        address_id=row.id,
        current=row.created_at > bound.now - TALK,
        of_talk=row.created_at > bound.now - TALK,
    )


def _note(row: Row_, bound: Bound) -> Kept:
    del bound
    confirmed = row.status == NoteStatus.CONFIRMED
    about = row.job_number and f"about job {row.job_number}"
    until = row.valid_until and f"valid until {date(row.valid_until)}"
    head = _listed(
        f"{'Confirmed' if confirmed else 'Unconfirmed'} note ({row.kind}) of {date(row.at)}",
        about,
        until,
        "another contact says otherwise" if row.contradicted else None,
    )
    return Kept(
        source=_M.NOTE,
        id=row.id,
        content_hash=bytes(row.content_hash),
        at=row.at,
        head=head + ":",
        said=_said(("", row.text), ("from the words", None if confirmed else row.quotation)),
        address=_address_line(row),
        job_id=row.job_id,
        address_id=row.address_id,
        confirmed=confirmed,
        current=confirmed and row.job_id is None and row.address_id is None,
    )


def _message(row: Row_) -> Kept:
    what = "said" if row.kind == MessageKind.TEXT else "noted"
    asked = row.asked and f"when asked by {_SPEAKERS[Role(row.asked_by)]}"
    return Kept(
        source=_M.MESSAGE,
        id=row.id,
        content_hash=bytes(row.content_hash),
        at=row.at,
        head=f"On {date(row.at)} {_SPEAKERS[Role(row.role)]} {what}",
        said=_said(("", row.content), ("with a picture of", row.attachment_text)),
        question=_said((asked or "", row.asked)),
        question_id=row.asked_id,
        was_said=row.kind == MessageKind.TEXT and row.role != Role.SYSTEM,
    )


_M = MemorySource
_TOLD: Mapping[MemorySource, Callable[[Row_, Bound], Kept]] = {
    _M.JOB: _job,
    _M.LEAD: _lead,
    _M.ADDRESS: _address,
    _M.NOTE: _note,
}
