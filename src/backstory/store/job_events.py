"""What happens to a job, and the one table of how that moves it.

event                            from                                        to
scheduled                        unscheduled, on_hold                        scheduled
rescheduled                      scheduled, on_hold                          scheduled
started                          unscheduled, scheduled                      in_progress
on_hold                          unscheduled, scheduled, in_progress         on_hold
resumed                          on_hold                                     what it was before
completed                        scheduled, in_progress                      completed
canceled                         unscheduled, scheduled, in_progress,        canceled
                                 on_hold
no_show                          scheduled                                   on_hold
confirmed, reminder_sent,        scheduled                                   (stays)
en_route, arrived
estimate_sent                    unscheduled, scheduled, in_progress,        (stays)
                                 on_hold
note_added, invoiced,            any                                         (stays)
payment_received, other
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from backstory.errors import Refused
from backstory.model import CanceledBy, JobEventType, JobStatus
from backstory.store import jobs
from backstory.store.binding import Bound

_E, _S = JobEventType, JobStatus
_ANY = frozenset(JobStatus)
_OPEN = _ANY - jobs.CLOSED
_PLANNED = frozenset({_S.SCHEDULED})
# Where an event may happen, and where it leads; None: the job stays, or goes back where it was.
TRANSITIONS: Mapping[JobEventType, tuple[frozenset[JobStatus], JobStatus | None]] = {
    _E.SCHEDULED: (frozenset({_S.UNSCHEDULED, _S.ON_HOLD}), _S.SCHEDULED),
    _E.RESCHEDULED: (frozenset({_S.SCHEDULED, _S.ON_HOLD}), _S.SCHEDULED),
    _E.STARTED: (frozenset({_S.UNSCHEDULED, _S.SCHEDULED}), _S.IN_PROGRESS),
    _E.ON_HOLD: (_OPEN - {_S.ON_HOLD}, _S.ON_HOLD),
    _E.RESUMED: (frozenset({_S.ON_HOLD}), None),
    _E.COMPLETED: (frozenset({_S.SCHEDULED, _S.IN_PROGRESS}), _S.COMPLETED),
    _E.CANCELED: (_OPEN, _S.CANCELED),
    _E.NO_SHOW: (_PLANNED, _S.ON_HOLD),
    _E.CONFIRMED: (_PLANNED, None),
    _E.REMINDER_SENT: (_PLANNED, None),
    _E.EN_ROUTE: (_PLANNED, None),
    _E.ARRIVED: (_PLANNED, None),
    _E.ESTIMATE_SENT: (_OPEN, None),
    _E.NOTE_ADDED: (_ANY, None),
    _E.INVOICED: (_ANY, None),
    _E.PAYMENT_RECEIVED: (_ANY, None),
    _E.OTHER: (_ANY, None),
}
_WINDOWED = frozenset({_E.SCHEDULED, _E.RESCHEDULED})
# Clocks differ; more than this ahead of ours is the future.
_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True)
class Given:
    """An event as it was reported."""

    event_type: JobEventType
    occurred_at: datetime | None
    note: str | None
    amount_cents: int | None
    window: jobs.Window
    canceled_by: CanceledBy | None


def record(bound: Bound, job_id: UUID, given: Given) -> tuple[jobs.Event, jobs.Job, int]:
    """Append an event and move its job; return both, and how many events were like it.

    Raises Refused where the table above has no such way, or the event lacks what it needs.
    """
    when = jobs.utc(given.occurred_at, "occurred_at")
    payload = _payload(given)
    alike = {
        "job_id": job_id,
        "event_type": given.event_type,
        "occurred_at": when,
        "payload": orjson.dumps(payload).decode(),
    }
    held, [(like,)] = bound.all_rows(("job_by_id", {"id": job_id}), ("like_events", alike))
    job = jobs.found(held, job_id)
    _check(bound, job, given)
    after = _after(job, given.event_type)
    event = jobs.append_event(
        bound,
        job_id,
        given.event_type,
        before=job.status,
        after=after,
        occurred_at=when,
        payload=payload,
    )
    moved = _moved(job, given, after, event.occurred_at)
    bound.later("move_job", moved | {"id": job_id})
    return event, replace(job, **moved), like


def _check(bound: Bound, job: jobs.Job, given: Given) -> None:
    kind, when = given.event_type, given.occurred_at
    allowed, _ = TRANSITIONS[kind]
    if job.status not in allowed:
        ways = sorted(event for event, (states, _) in TRANSITIONS.items() if job.status in states)
        raise Refused(
            "invalid_transition",
            f"Job {job.job_number} is {job.status}: {kind} cannot happen to it.",
            next_step=f"What can: {', '.join(ways)}.",
        )
    if kind in _WINDOWED and given.window.start is None:
        raise Refused(
            "invalid_arguments",
            f"scheduled_start: {kind} needs the agreed window.",
            next_step="Give scheduled_start with time zone, as in 2026-06-05T09:00:00-05:00.",
        )
    _refuse_misplaced(given)
    if when is not None and when > bound.now + _TOLERANCE:
        raise Refused(
            "invalid_arguments",
            f"occurred_at: {when.isoformat()} is in the future.",
            next_step="Record an event when it has happened; a plan is a scheduled window.",
        )
    if kind == _E.COMPLETED and job.actual_start and (when or bound.now) < job.actual_start:
        raise Refused(
            "invalid_arguments",
            f"occurred_at: the work began at {job.actual_start.isoformat()}, after that.",
            next_step="Give the time at which it was completed.",
        )


def _refuse_misplaced(given: Given) -> None:
    kind = given.event_type
    misplaced = None
    if given.window.start is not None and kind not in _WINDOWED:
        misplaced = ("scheduled_start", "scheduled and rescheduled")
    elif given.canceled_by is not None and kind != _E.CANCELED:
        misplaced = ("canceled_by", "canceled")
    if misplaced:
        field, events = misplaced
        raise Refused(
            "invalid_arguments",
            f"{field}: it belongs to {events}, not to {kind}.",
            next_step=f"Leave it out, or record {events} instead.",
        )


def _after(job: jobs.Job, kind: JobEventType) -> JobStatus:
    """Return where the event leads; a resumed job goes back where it was."""
    there = job.held_from if kind == _E.RESUMED else TRANSITIONS[kind][1]
    return there or job.status


def _moved(job: jobs.Job, given: Given, after: JobStatus, moment: datetime) -> dict[str, Any]:
    """Return what the event leaves of status and times."""
    kind = given.event_type
    planned = jobs.Window(job.scheduled_start, job.scheduled_end)
    window = given.window.in_utc() if kind in _WINDOWED else planned
    by = given.canceled_by or CanceledBy.CUSTOMER
    return {
        "status": after,
        "canceled_by": by if kind == _E.CANCELED else job.canceled_by,
        "scheduled_start": window.start,
        "scheduled_end": window.end,
        "actual_start": moment if kind == _E.STARTED else job.actual_start,
        "actual_end": moment if kind == _E.COMPLETED else job.actual_end,
    }


def _payload(given: Given) -> dict[str, Any]:
    window = given.window
    told = {
        "note": given.note,
        "amount_cents": given.amount_cents,
        "scheduled_start": window.start and window.start.isoformat(),
        "scheduled_end": window.end and window.end.isoformat(),
        "canceled_by": given.canceled_by,
    }
    return {name: value for name, value in told.items() if value is not None}
