"""`POST /v1/events`: the log as it grows, one event or many, each answered after its commit."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from backstory.faces.http.bodies import JSON, Json, NotJson, read_json, require_json
from backstory.faces.http.callers import Key, key_of
from backstory.faces.http.problems import problems
from backstory.faces.http.service import Service, service_of
from backstory.live.reading import Event
from backstory.live.writing import Recorded
from backstory.model import EventOutcome

MOST_EVENTS = 1_000
# More than this is read in a thread: the others do not wait for it.
_LARGE = 64 * 1024
_EVENT = {
    "type": "object",
    "title": "Event",
    "description": "An event of the log: id, lead_id, actor, action, payload, created_at; `lead` "
    "says what its transport knows of the lead. Any object is taken and kept: one that cannot be "
    "read is quarantined, and its outcome says why.",
    "properties": {
        "id": {"description": "Its id in the log; the same id again is a duplicate or a conflict."},
        "lead_id": {"description": "The id of its lead in your system."},
        "actor": {"description": "customer, user, agent, assistant, system or tool."},
        "action": {"description": "What happened: message_received, message_sent, ..."},
        "payload": {
            "description": "An object; its text, message, content or body is what is said."
        },
        "created_at": {"description": "When it happened: ISO 8601, or seconds since 1970."},
        "lead": {"description": "channel, messenger_psid, phone, email, name, stage, ..."},
    },
    "examples": [
        {
            "id": "a-1",
            "lead_id": "lead-7",
            "actor": "customer",
            "action": "message_received",
            "payload": {"text": "same place as last time"},
            "created_at": "2026-04-07T21:20:11Z",
        }
    ],
}
_BATCH = {
    "type": "object",
    "title": "Events",
    "properties": {
        "events": {"type": "array", "items": _EVENT, "minItems": 1, "maxItems": MOST_EVENTS}
    },
    "required": ["events"],
    "additionalProperties": False,
}
# What has `events` and nothing else is a batch.
_SINGLE = _EVENT | {"not": {"required": ["events"], "maxProperties": 1}}
_BODY = {"required": True, "content": {JSON: {"schema": {"anyOf": [_SINGLE, _BATCH]}}}}

router = APIRouter(tags=["events"])


class EventRecorded(BaseModel):
    """What became of an event; ids are those of its message, where there is one."""

    model_config = ConfigDict(title="EventRecorded")

    outcome: EventOutcome
    audit_id: str | None
    record_id: str | None
    conversation_id: str | None
    customer_id: str | None
    reason: str | None = Field(description="Why it was skipped or quarantined, as a word.")
    message: str | None


class EventsRecorded(BaseModel):
    """What became of each event of a batch, in its order."""

    outcomes: list[EventRecorded]


@router.post(
    "/v1/events",
    status_code=HTTPStatus.CREATED,
    response_model=EventRecorded | EventsRecorded,
    responses={
        200: {"model": EventRecorded | EventsRecorded, "description": "Nothing new."},
        **problems(400, 401, 413, 415, 422, 429, 503),
    },
    openapi_extra={"requestBody": _BODY},
)
async def record_events(request: Request, key: Key) -> Json:
    """Record one event, or several as `{"events": [...]}`, and say what became of each.

    Answered after the commit: 201 if anything was created, 200 if not. After 503, or no answer,
    the same events can be sent again: what was written is then a duplicate.
    """
    require_json(request)
    service = service_of(request)
    body = await request.body()
    if len(body) > _LARGE:
        events, single = await run_in_threadpool(_events_in, body)
    else:
        events, single = _events_in(body)
    service.keys.owe(key.id, len(events) - 1)
    recorded = await _record(service, events)
    for each in recorded:
        service.metrics.event(each.outcome)
    created = any(each.outcome is EventOutcome.CREATED for each in recorded)
    answer = recorded[0] if single else {"outcomes": recorded}
    return Json(answer, HTTPStatus.CREATED if created else HTTPStatus.OK)


async def answer_events(request: Request) -> Response:
    """Do what `record_events` does, for whoever asks."""
    return await record_events(request, await key_of(request, None))


async def _record(service: Service, events: Sequence[Event]) -> Sequence[Recorded]:
    queue = service.queue
    if len(events) == 1:
        return [await asyncio.wrap_future(queue.submit(events[0]))]
    handed: list[asyncio.Future[Recorded]] = []
    try:
        handed.extend(asyncio.wrap_future(queue.submit(event)) for event in events)
    finally:
        # All are waited for: when an error is told, nothing of the batch is under way any more.
        done = await asyncio.gather(*handed, return_exceptions=True)
    for each in done:
        if isinstance(each, BaseException):
            raise each
    return [each for each in done if isinstance(each, Recorded)]


def _events_in(body: bytes) -> tuple[Sequence[Event], bool]:
    """Return the events of a body, and whether it is a single one: that stays as it came."""
    found = read_json(body)
    if not isinstance(found, dict):
        raise NotJson('An event is a JSON object; several are {"events": [...]}.')
    if list(found) != ["events"]:
        return [body], True
    # Once more, because the quick reader makes a float of a long whole number.
    events = read_json(body, exactly=True)["events"]
    if not isinstance(events, list) or not 1 <= len(events) <= MOST_EVENTS:
        raise NotJson(f"`events` is a list of 1 to {MOST_EVENTS:,} events.")
    if not all(isinstance(each, dict) for each in events):
        raise NotJson("Each of the `events` is an object.")
    return events, False
