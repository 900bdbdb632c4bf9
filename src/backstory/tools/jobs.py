"""The three tools about work: a job, its items, and what happens to it."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, WithJsonSchema

from backstory.model import CanceledBy, JobEventType, JobItemKind, JobStatus, Unit
from backstory.store import job_events, jobs
from backstory.store.binding import Bound
from backstory.tools.tool import Input, Moment, Output, Part

# Far above any invoice, far below what BIGINT sums of it overflow.
_MAX_CENTS = 10_000_000_000
_Cents = Annotated[int, Field(ge=0, le=_MAX_CENTS)]
_Text = Annotated[str, Field(min_length=1, max_length=2000)]
_THOUSANDTH = Decimal("0.001")
# A third of a load comes as 0.3333333333333333: it is kept as far as the column goes.
_Quantity = Annotated[
    Decimal,
    Field(ge=_THOUSANDTH, le=100_000),
    AfterValidator(lambda given: given.quantize(_THOUSANDTH)),
    WithJsonSchema({"type": "number", "minimum": 0.001, "maximum": 100_000}),
]


class CreateJob(Input):
    """A piece of work the customer wants."""

    title: Annotated[
        Annotated[str, Field(min_length=3, max_length=200)],
        Field(description="What is to be done, in a few words.", examples=["Garage clean-out"]),
    ]
    description: Annotated[
        _Text | None,
        Field(description="Details the crew needs.", examples=["Two sofas, ground floor"]),
    ] = None
    service_type: Annotated[
        Annotated[str, Field(min_length=1, max_length=100)] | None,
        Field(description="Kind of service.", examples=["junk_removal"]),
    ] = None
    address_id: Annotated[
        UUID | None,
        Field(
            description="Where: an address_id from add_address or a confirmed candidate.",
            examples=["3f2c8a70-5d0b-4b7e-9a51-0c9f3f7c1b22"],
        ),
    ] = None
    price_cents: Annotated[
        _Cents | None,
        Field(
            description="Agreed price of the whole work in cents; leave out when items are priced "
            "one by one.",
            examples=[24900],
        ),
    ] = None
    scheduled_start: Annotated[
        Moment | None,
        Field(
            description="Begin of the agreed window, with time zone.",
            examples=["2026-06-03T09:00:00-05:00"],
        ),
    ] = None
    scheduled_end: Annotated[
        Moment | None,
        Field(
            description="End of the agreed window, with time zone.",
            examples=["2026-06-03T11:00:00-05:00"],
        ),
    ] = None


class Totals(Part):
    """A job's money: null while nothing is priced."""

    subtotal_cents: int | None
    total_cents: int | None
    currency: str
    unpriced_items: int


class Job(Part):
    """A job as it stands."""

    job_id: UUID
    job_number: int
    title: str
    status: JobStatus
    address: str | None
    scheduled_start: datetime | None
    scheduled_end: datetime | None
    totals: Totals


class JobCreated(Output):
    """The job after the call."""

    outcome: Literal["created", "duplicate"]
    job: Job
    note: str | None


def create_job(bound: Bound, asked: CreateJob) -> JobCreated:
    """Open a job for this customer.

    Call it once the customer has agreed that work is to be done; with a window it is scheduled,
    without one unscheduled. Do not call it again to change a job: add_job_item and
    record_job_event do that. A job of the same title, place and window opened in this
    conversation within minutes is returned as duplicate. Comes back with job_id, job_number,
    status and totals.
    """
    given = jobs.Given(
        title=asked.title,
        description=asked.description,
        service_type=asked.service_type,
        address_id=asked.address_id,
        price_cents=asked.price_cents,
        window=jobs.Window.checked(asked.scheduled_start, asked.scheduled_end),
    )
    outcome, row = jobs.create(bound, given)
    note = None
    if outcome == "duplicate":
        note = (
            "This job was opened minutes ago in this conversation, and nothing was added: change "
            "it with add_job_item or record_job_event; a second one needs another title."
        )
    return JobCreated(outcome=outcome, job=_job(row), note=note)


class AddJobItem(Input):
    """A line of a job."""

    job_id: Annotated[
        UUID,
        Field(
            description="The job, as create_job or a confirmed candidate gave it.",
            examples=["8a1e6b0c-2f43-4c7d-8f7e-6a9d5b2c4e10"],
        ),
    ]
    kind: Annotated[
        JobItemKind,
        Field(
            description="item: a thing; service: labor; fee: a surcharge; discount: taken off.",
            examples=["item"],
        ),
    ]
    name: Annotated[
        Annotated[str, Field(min_length=1, max_length=200)],
        Field(description="What the line is for.", examples=["Sofa"]),
    ]
    quantity: Annotated[
        _Quantity | None,
        Field(
            description="How many units; rounded to three decimals, 1 when left out.",
            examples=[2],
        ),
    ] = None
    unit: Annotated[
        Unit | None,
        Field(description="What the quantity counts; each when left out.", examples=["each"]),
    ] = None
    unit_price_cents: Annotated[
        _Cents | None,
        Field(
            description="Price of one unit in cents, for a discount too; 0 is free, left out is "
            "not known yet.",
            examples=[4500],
        ),
    ] = None


class Item(Part):
    """A line as it is stored."""

    item_id: UUID
    position: int
    kind: JobItemKind
    name: str
    quantity: float
    unit: Unit
    unit_price_cents: int | None


class JobItemAdded(Output):
    """The line, and what the job comes to with it."""

    outcome: Literal["added"]
    item: Item
    job_number: int
    totals: Totals
    note: str | None


def add_job_item(bound: Bound, asked: AddJobItem) -> JobItemAdded:
    """Add a line to an open job of this customer.

    That is a thing to haul, labor, a fee or a discount. Call it once for each line; two equal
    lines are two lines. Do not call it on a completed or canceled job, or to correct a line.
    Comes back with the line, its position and the job's new totals.
    """
    row, job, like = jobs.add_item(
        bound,
        asked.job_id,
        jobs.GivenItem(
            kind=asked.kind,
            name=asked.name,
            quantity=asked.quantity or Decimal(1),
            unit=asked.unit or Unit.EACH,
            unit_price_cents=asked.unit_price_cents,
        ),
    )
    note = f"The job had {like} like this before: this is one more." if like else None
    return JobItemAdded(
        outcome="added",
        item=Item(
            item_id=row.id,
            position=row.position,
            kind=row.kind,
            name=row.name,
            quantity=float(row.quantity),
            unit=row.unit,
            unit_price_cents=row.unit_price_cents,
        ),
        job_number=job.job_number,
        totals=_totals(job),
        note=note,
    )


# What an agent may report; the rest the store writes itself.
ReportedEvent = StrEnum(  # type: ignore[misc]  # a subset of the vocabulary, word for word
    "ReportedEvent",
    {
        each.name: each.value
        for each in JobEventType
        if each
        not in {JobEventType.CREATED, JobEventType.ITEM_ADDED, JobEventType.CONTEXT_CONFIRMED}
    },
)


class RecordJobEvent(Input):
    """Something that happened to a job."""

    job_id: Annotated[
        UUID,
        Field(
            description="The job, as create_job or a confirmed candidate gave it.",
            examples=["8a1e6b0c-2f43-4c7d-8f7e-6a9d5b2c4e10"],
        ),
    ]
    event_type: Annotated[
        ReportedEvent,
        Field(
            description="What happened. scheduled and rescheduled need a window.",
            examples=["scheduled"],
        ),
    ]
    occurred_at: Annotated[
        Moment | None,
        Field(
            description="When it happened, with time zone; now when left out, never in the future.",
            examples=["2026-06-03T09:12:00-05:00"],
        ),
    ] = None
    note: Annotated[
        _Text | None,
        Field(description="What a colleague should know.", examples=["Customer asked for 2 crew"]),
    ] = None
    amount_cents: Annotated[
        _Cents | None,
        Field(
            description="Money in cents, of an estimate, invoice or payment.",
            examples=[24900],
        ),
    ] = None
    scheduled_start: Annotated[
        Moment | None,
        Field(
            description="Begin of the new window, with time zone.",
            examples=["2026-06-05T09:00:00-05:00"],
        ),
    ] = None
    scheduled_end: Annotated[
        Moment | None,
        Field(
            description="End of the new window, with time zone.",
            examples=["2026-06-05T11:00:00-05:00"],
        ),
    ] = None
    canceled_by: Annotated[
        CanceledBy | None,
        Field(
            description="Who canceled; only with canceled, customer when left out.",
            examples=["customer"],
        ),
    ] = None


class Event(Part):
    """An event as it is stored."""

    event_id: UUID
    event_type: JobEventType
    occurred_at: datetime
    from_status: JobStatus
    to_status: JobStatus


class JobEventRecorded(Output):
    """The event, and where the job stands now."""

    outcome: Literal["recorded"]
    event: Event
    job: Job
    note: str | None


def record_job_event(bound: Bound, asked: RecordJobEvent) -> JobEventRecorded:
    """Record what happened to a job of this customer.

    That is an estimate, an appointment, arrival, completion, cancellation, a payment, a note.
    Call it when it has happened or was agreed, not for what is only planned. The job's status
    moves along its table; a step the table does not have is refused with those it has. Comes
    back with the event and the job as it stands.
    """
    event, job, like = job_events.record(
        bound,
        asked.job_id,
        job_events.Given(
            event_type=JobEventType(asked.event_type.value),
            occurred_at=asked.occurred_at,
            note=asked.note,
            amount_cents=asked.amount_cents,
            window=jobs.Window.checked(asked.scheduled_start, asked.scheduled_end),
            canceled_by=asked.canceled_by,
        ),
    )
    note = f"The job had {like} like this before: this is one more." if like else None
    return JobEventRecorded(
        outcome="recorded",
        event=Event(
            event_id=event.id,
            event_type=event.event_type,
            occurred_at=event.occurred_at,
            from_status=event.from_status,
            to_status=event.to_status,
        ),
        job=_job(job),
        note=note,
    )


def _job(row: jobs.Job) -> Job:
    return Job(
        job_id=row.id,
        job_number=row.job_number,
        title=row.title,
        status=row.status,
        address=row.address,
        scheduled_start=row.scheduled_start,
        scheduled_end=row.scheduled_end,
        totals=_totals(row),
    )


def _totals(row: jobs.Job) -> Totals:
    return Totals(
        subtotal_cents=row.subtotal_cents,
        total_cents=row.total_cents,
        currency=row.currency,
        unpriced_items=row.unpriced_items,
    )
