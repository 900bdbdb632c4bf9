"""Jobs of the bound customer: opening one, adding to it, and what it comes to."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Literal, Self
from uuid import UUID, uuid4

import orjson
from sqlalchemy import Row

from backstory.errors import Refused
from backstory.model import JobEventType, JobItemKind, JobStatus, Unit
from backstory.store.addresses import find, one_line
from backstory.store.binding import Bound
from backstory.store.statements import sql

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
    """A job as it stands."""

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


def get(bound: Bound, job_id: UUID) -> Job:
    """Return a job of the bound customer; raise Refused as not found for any other."""
    asked = {"customer_id": bound.customer_id, "id": job_id}
    row = bound.connection.execute(sql("job_by_id"), asked).one_or_none()
    if row is None:
        raise Refused(
            "not_found",
            f"There is no job {job_id}.",
            next_step="Use a job_id from create_job or from a confirmed candidate.",
        )
    return _job(row)


def create(bound: Bound, given: Given) -> tuple[Literal["created", "duplicate"], Job]:
    """Open a job, with its price as the first line; or return its twin of minutes ago."""
    address = None if given.address_id is None else find(bound, given.address_id)
    mine = {
        "customer_id": bound.customer_id,
        "lead_id": bound.lead_id,
        "conversation_id": bound.conversation_id,
        "title": given.title,
    }
    twin = bound.connection.execute(
        sql("twin_job"), mine | {"since": bound.now - TWIN_WITHIN}
    ).scalar()
    if twin is not None:
        return "duplicate", get(bound, twin)
    job_id = uuid4()
    status = JobStatus.SCHEDULED if given.window.start else JobStatus.UNSCHEDULED
    bound.connection.execute(
        sql("insert_job"),
        mine
        | {
            "id": job_id,
            "address_id": address and address.id,
            "description": given.description,
            "service_type": given.service_type,
            "status": status,
            "scheduled_start": given.window.start,
            "scheduled_end": given.window.end,
            "created_at": bound.now,
        },
    )
    append_event(bound, job_id, JobEventType.CREATED, before=status, after=status)
    if given.price_cents is not None:
        price = given.price_cents
        item = GivenItem(JobItemKind.SERVICE, given.title, Decimal(1), Unit.EACH, price)
        add_item(bound, job_id, item)
    return "created", get(bound, job_id)


def add_item(bound: Bound, job_id: UUID, given: GivenItem) -> tuple[Row[Any], Job, int]:
    """Add a line to an open job; return it, the job with its new totals, and how many are like it.

    Raises Refused for a job that is closed, or where discounts would exceed the rest.
    """
    job = get(bound, job_id)
    if job.status in CLOSED:
        raise Refused(
            "job_closed",
            f"Job {job.job_number} is {job.status}: no line can be added.",
            next_step="Open a new job with create_job if there is more to do.",
        )
    line = {
        "job_id": job_id,
        "customer_id": bound.customer_id,
        "kind": given.kind,
        "name": given.name,
        "quantity": given.quantity,
        "unit": given.unit,
        "unit_price_cents": given.unit_price_cents,
    }
    like = bound.connection.execute(sql("like_items"), line).scalar_one()
    row = bound.connection.execute(sql("insert_item"), line | {"id": uuid4()}).one()
    _settle_totals(bound, job_id)
    told = {"item_id": str(row.id), "name": given.name}
    append_event(
        bound, job_id, JobEventType.ITEM_ADDED, before=job.status, after=job.status, payload=told
    )
    return row, get(bound, job_id), like


def _settle_totals(bound: Bound, job_id: UUID) -> None:
    """Write down what the lines come to: the only place where totals are made."""
    mine = {"job_id": job_id, "customer_id": bound.customer_id}
    priced = [
        (row.kind == JobItemKind.DISCOUNT, _cents(row.quantity * row.unit_price_cents))
        for row in bound.connection.execute(sql("items_of_job"), mine)
        if row.unit_price_cents is not None
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
    totals = {
        "id": job_id,
        "customer_id": bound.customer_id,
        "subtotal": subtotal if priced else None,
        "total": subtotal - discounts if priced else None,
    }
    bound.connection.execute(sql("set_totals"), totals)


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
) -> Row[Any]:
    """Append to what happened to a job; now, unless it is said when."""
    return bound.connection.execute(
        sql("insert_job_event"),
        {
            "id": uuid4(),
            "job_id": job_id,
            "customer_id": bound.customer_id,
            "event_type": event_type,
            "occurred_at": occurred_at or bound.now,
            "actor": bound.actor,
            "from_status": before,
            "to_status": after,
            "payload": orjson.dumps(payload or {}).decode(),
        },
    ).one()


def _job(row: Row[Any]) -> Job:
    return Job(
        id=row.id,
        job_number=row.job_number,
        title=row.title,
        status=JobStatus(row.status),
        address=one_line(row) or None,
        scheduled_start=row.scheduled_start,
        scheduled_end=row.scheduled_end,
        actual_start=row.actual_start,
        actual_end=row.actual_end,
        canceled_by=row.canceled_by,
        subtotal_cents=row.subtotal_cents,
        total_cents=row.total_cents,
        currency=row.currency,
        unpriced_items=row.unpriced_items,
    )
