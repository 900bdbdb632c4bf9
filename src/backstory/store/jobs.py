"""Jobs of the bound customer: opening one, adding to it, and what it comes to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Literal, Self
from uuid import UUID, uuid4

import orjson

from backstory.errors import Refused
from backstory.model import JobEventType, JobItemKind, JobStatus, Unit
from backstory.store import addresses
from backstory.store.binding import Bound

# How long the same title in the same conversation is taken for the same job.
TWIN_WITHIN = timedelta(minutes=10)
CLOSED = frozenset({JobStatus.COMPLETED, JobStatus.CANCELED})
# What BIGINT cents can hold with room to spare.
_MAX_TOTAL = 10**15


@dataclass(frozen=True)
class Window:
    """An agreed time; the end may be open."""

    start: datetime | None = None
    end: datetime | None = None

    @classmethod
    def checked(cls, start: datetime | None, end: datetime | None) -> Self:
        """Return the window; raise Refused for an end without a start, or before it."""
        if end is not None and (start is None or end < start):
            raise Refused(
                "invalid_arguments",
                "scheduled_end: the window ends before it begins, or has no scheduled_start.",
                next_step="Give both, with time zone, the start first.",
            )
        return cls(start, end)

    def in_utc(self) -> Self:
        """Return it as the database keeps it; raises Refused as `utc` does."""
        return type(self)(utc(self.start, "scheduled_start"), utc(self.end, "scheduled_end"))


def utc(moment: datetime | None, name: str) -> datetime | None:
    """Return a moment in UTC, as the database would; raise Refused where no calendar goes."""
    try:
        return moment and moment.astimezone(UTC)
    except OverflowError as beyond:
        raise Refused(
            "invalid_arguments",
            f"{name}: this is not a date that a calendar has.",
            next_step="Give a date of these days, with time zone.",
        ) from beyond


@dataclass(frozen=True)
class Given:
    """A job as it was asked for."""

    title: str
    description: str | None
    service_type: str | None
    address_id: UUID | None
    price_cents: int | None
    window: Window


@dataclass(frozen=True)
class GivenItem:
    """A line as it was asked for; no price is not yet priced, which is not zero."""

    kind: JobItemKind
    name: str
    quantity: Decimal
    unit: Unit
    unit_price_cents: int | None


@dataclass(frozen=True)
class Job:
    """A job as it stands; `held_from` is what it was before it was put on hold."""

    id: UUID
    job_number: int
    title: str
    status: JobStatus
    address: str | None
    scheduled_start: datetime | None
    scheduled_end: datetime | None
    actual_start: datetime | None
    actual_end: datetime | None
    canceled_by: str | None
    subtotal_cents: int | None
    total_cents: int | None
    currency: str
    unpriced_items: int
    held_from: JobStatus | None = None


@dataclass(frozen=True)
class Item:
    """A line as it is stored."""

    id: UUID
    position: int
    kind: JobItemKind
    name: str
    quantity: Decimal
    unit: Unit
    unit_price_cents: int | None


@dataclass(frozen=True)
class Event:
    """Something that happened to a job, as it is stored; the status before it and after it."""

    id: UUID
    event_type: JobEventType
    occurred_at: datetime
    from_status: JobStatus
    to_status: JobStatus


def get(bound: Bound, job_id: UUID) -> Job:
    """Return a job of the bound customer; raise Refused as not found for any other."""
    return found(bound.rows("job_by_id", {"id": job_id}), job_id)


def found(rows: Sequence[Any], job_id: UUID) -> Job:
    """Return what `job_by_id` gave as a job; raise Refused as not found for nothing."""
    if not rows:
        raise Refused(
            "not_found",
            f"There is no job {job_id}.",
            next_step="Use a job_id from create_job or from a confirmed candidate.",
        )
    return _job(rows[0])


def create(bound: Bound, given: Given) -> tuple[Literal["created", "duplicate"], Job]:
    """Open a job, with its price as the first line; or return its twin of minutes ago."""
    mine = {
        "lead_id": bound.lead_id,
        "conversation_id": bound.conversation_id,
        "title": given.title,
    }
    places, twins = bound.all_rows(
        ("address_by_id", {"id": given.address_id}),
        ("twin_job", _twin(bound, given, mine)),
    )
    address = None if given.address_id is None else addresses.found(places, given.address_id)
    if twins:
        return "duplicate", get(bound, twins[0].id)
    job = _insert(bound, given, mine, address)
    append_event(bound, job.id, JobEventType.CREATED, before=job.status, after=job.status)
    if given.price_cents is not None:
        price = given.price_cents
        item = GivenItem(JobItemKind.SERVICE, given.title, Decimal(1), Unit.EACH, price)
        _, job = _add_line(bound, job, item, lines=())
    return "created", job


def _twin(bound: Bound, given: Given, mine: Mapping[str, Any]) -> dict[str, Any]:
    window = given.window.in_utc()
    return {
        **mine,
        "address_id": given.address_id,
        "scheduled_start": window.start,
        "scheduled_end": window.end,
        "since": bound.now - TWIN_WITHIN,
    }


def _insert(
    bound: Bound, given: Given, mine: Mapping[str, Any], address: addresses.Address | None
) -> Job:
    """Write a new job; return it as it is then."""
    status = JobStatus.SCHEDULED if given.window.start else JobStatus.UNSCHEDULED
    job_id, window = uuid4(), given.window.in_utc()
    values = {
        "id": job_id,
        "address_id": address and address.id,
        "description": given.description,
        "service_type": given.service_type,
        "status": status,
        "scheduled_start": window.start,
        "scheduled_end": window.end,
        "created_at": bound.now,
    }
    [row] = bound.rows("insert_job", {**mine, **values})
    return Job(
        id=job_id,
        job_number=row.job_number,
        title=given.title,
        status=status,
        address=(address and address.line) or None,
        scheduled_start=window.start,
        scheduled_end=window.end,
        actual_start=None,
        actual_end=None,
        canceled_by=None,
        subtotal_cents=None,
        total_cents=None,
        currency=row.currency,
        unpriced_items=0,
    )


def add_item(bound: Bound, job_id: UUID, given: GivenItem) -> tuple[Item, Job, int]:
    """Add a line to an open job; return it, the job with its new totals, and how many are like it.

    Raises Refused for a job that is closed, or where discounts would exceed the rest.
    """
    line = _values(job_id, given)
    held, lines, [(like,)] = bound.all_rows(
        ("job_by_id", {"id": job_id}), ("items_of_job", {"job_id": job_id}), ("like_items", line)
    )
    job = found(held, job_id)
    if job.status in CLOSED:
        raise Refused(
            "job_closed",
            f"Job {job.job_number} is {job.status}: no line can be added.",
            next_step="Open a new job with create_job if there is more to do.",
        )
    item, job = _add_line(bound, job, given, lines=lines)
    return item, job, like


def _add_line(
    bound: Bound, job: Job, given: GivenItem, *, lines: Sequence[Any]
) -> tuple[Item, Job]:
    """Write a line behind those that a job has, with what they all come to then."""
    position = 1 + max((each.position for each in lines), default=0)
    item = Item(uuid4(), position, **vars(given))
    subtotal, total = _totals([*lines, item])
    bound.later("insert_item", _values(job.id, given) | {"id": item.id, "position": position})
    bound.later("set_totals", {"id": job.id, "subtotal": subtotal, "total": total})
    told = {"item_id": str(item.id), "name": given.name}
    append_event(
        bound, job.id, JobEventType.ITEM_ADDED, before=job.status, after=job.status, payload=told
    )
    unpriced = job.unpriced_items + (given.unit_price_cents is None)
    return item, replace(job, subtotal_cents=subtotal, total_cents=total, unpriced_items=unpriced)


def _values(job_id: UUID, given: GivenItem) -> dict[str, Any]:
    return {"job_id": job_id, **vars(given)}


def _totals(lines: Iterable[Any]) -> tuple[int | None, int | None]:
    """Return what lines come to, before and after discounts: the only place where totals are made.

    Nothing for lines of which none is priced. Raises Refused where discounts exceed the rest.
    """
    priced = [
        (each.kind == JobItemKind.DISCOUNT, _cents(each.quantity * each.unit_price_cents))
        for each in lines
        if each.unit_price_cents is not None
    ]
    subtotal = sum(cents for is_discount, cents in priced if not is_discount)
    discounts = sum(cents for is_discount, cents in priced if is_discount)
    if discounts > subtotal or subtotal > _MAX_TOTAL:
        raise Refused(
            "invalid_arguments",
            f"unit_price_cents: with this line the job would come to {subtotal} cents less "
            f"{discounts} of discounts.",
            next_step="Add what is charged before what is taken off, in cents.",
        )
    return (subtotal, subtotal - discounts) if priced else (None, None)


def _cents(amount: Decimal) -> int:
    """Round half a cent up, line by line, as invoices do."""
    return int(amount.to_integral_value(ROUND_HALF_UP))


def append_event(
    bound: Bound,
    job_id: UUID,
    event_type: JobEventType,
    *,
    before: JobStatus,
    after: JobStatus,
    occurred_at: datetime | None = None,
    payload: dict[str, Any] | None = None,
) -> Event:
    """Append to what happened to a job; now, unless it is said when."""
    event = Event(uuid4(), event_type, occurred_at or bound.now, before, after)
    bound.later(
        "insert_job_event",
        {
            **vars(event),
            "job_id": job_id,
            "actor": bound.actor,
            "payload": orjson.dumps(payload or {}).decode(),
        },
    )
    return event


def _job(row: Any) -> Job:
    return Job(
        id=row.id,
        job_number=row.job_number,
        title=row.title,
        status=JobStatus(row.status),
        address=addresses.one_line(row) or None,
        scheduled_start=row.scheduled_start,
        scheduled_end=row.scheduled_end,
        actual_start=row.actual_start,
        actual_end=row.actual_end,
        canceled_by=row.canceled_by,
        subtotal_cents=row.subtotal_cents,
        total_cents=row.total_cents,
        currency=row.currency,
        unpriced_items=row.unpriced_items,
        held_from=row.held_from and JobStatus(row.held_from),
    )
