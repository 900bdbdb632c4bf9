"""Reading conversations, messages, customers and runs: what is across customers is the staff's."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from pydantic import BeforeValidator
from sqlalchemy import Connection
from starlette.convertors import PathConvertor, register_url_convertor

from backstory.faces.http.bodies import Json
from backstory.faces.http.callers import Key, Staff, StaffOrSession
from backstory.faces.http.problems import NotFound, not_found, problems
from backstory.faces.http.service import Service, service_of
from backstory.faces.http.shapes import (
    ConversationClosed,
    ConversationListed,
    ConversationPage,
    CustomerDetail,
    CustomerPage,
    RunList,
    RunShape,
    SearchPage,
    customers_json,
    run_json,
    search_json,
)
from backstory.live.conversations import close_conversation
from backstory.model import Channel, ConversationStatus, MessageKind, Role
from backstory.runs.run import get_run, list_runs
from backstory.search.conversations import MAX_LISTED, ConversationQuery, list_conversations
from backstory.search.text import MAX_LIMIT, MAX_QUERY_CHARS, SearchQuery, search_messages
from backstory.store.conversations import MAX_PAGE, find_conversation, messages
from backstory.store.customers import find_customers, get_customer, leads_of_customer
from backstory.store.engine import translated
from backstory.tools import reading as of_session
from backstory.tools.session import Session

_MOST_LISTED = 1_000
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


class _Whole(PathConvertor):
    """A path to its end; Starlette's own ends at a line, and an id may have one in it."""

    regex = r"[\s\S]*"


register_url_convertor("whole", _Whole())


def _written_out(value: object) -> object:
    if isinstance(value, str) and not _DATE_TIME.fullmatch(value):
        raise ValueError("a time is written with its zone, as in 2026-01-31T12:00:00Z")
    return value


Moment = Annotated[datetime, BeforeValidator(_written_out)]
Reference = Annotated[
    str,
    Path(
        min_length=1,
        description="The id of a conversation, its first 8 characters or more, or a lead's id in "
        "your system: its newest conversation.",
    ),
]
RunReference = Annotated[
    str, Path(min_length=1, description="A run's id, the beginning of it, or last.")
]
AfterId = Annotated[UUID | None, Query(description="What the page before calls `next`.")]
AfterCursor = Annotated[
    str | None, Query(description="What the page before calls `next`; for the same query.")
]
LeadId = Annotated[str | None, Query(description="A lead's id in your system.")]

router = APIRouter()


# --- conversations ---------------------------------------------------------------------------


@router.post(
    "/v1/conversations/{reference:whole}/close",
    tags=["conversations"],
    response_model=ConversationClosed,
    responses=problems(401, 404, 422, 429, 503),
)
def close(request: Request, key: Key, reference: Reference) -> Json:
    """Close a conversation; what happens from now on begins the next one.

    Closing it again changes nothing.
    """
    with not_found():
        return Json(close_conversation(service_of(request).database, reference, by=key.name))


@router.get(
    "/v1/conversations",
    tags=["conversations"],
    response_model=ConversationListed,
    responses=problems(400, 401, 403, 409, 422, 429, 503),
)
def conversations(
    request: Request,
    caller: StaffOrSession,
    *,
    customer_id: UUID | None = None,
    lead: LeadId = None,
    channel: Channel | None = None,
    status: ConversationStatus | None = None,
    since: Annotated[
        Moment | None, Query(description="With a last message from this moment on.")
    ] = None,
    until: Annotated[
        Moment | None, Query(description="With a last message before this moment.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 50,
    after: AfterCursor = None,
) -> Json:
    """List conversations, those last heard of first; a session lists those of its own customer."""
    asked = ConversationQuery(
        customer_id=customer_id,
        lead=lead,
        channel=channel,
        status=status,
        since=since,
        until=until,
        limit=limit,
        after=after,
    )
    if isinstance(caller, Session):
        return Json(of_session.list_conversations(caller, asked))
    with _reading(service_of(request)) as connection:
        return Json(list_conversations(connection, asked))


@router.get(
    "/v1/conversations/{reference:whole}",
    tags=["conversations"],
    response_model=ConversationPage,
    responses=problems(400, 401, 403, 404, 409, 422, 429, 503),
)
def conversation(
    request: Request,
    caller: StaffOrSession,
    reference: Reference,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    after: AfterId = None,
) -> Json:
    """Read a conversation as it went; a session reads those of its own customer and no others."""
    if isinstance(caller, Session):
        with not_found():
            header, page = of_session.read_conversation(caller, reference, after=after, limit=limit)
    else:
        with _reading(service_of(request)) as connection, not_found():
            header = find_conversation(connection, reference)
            page = messages(connection, header.id, after=after, limit=limit)
    return Json({"conversation": header, "messages": page.messages, "next": page.next})


# --- across customers ------------------------------------------------------------------------


@router.get(
    "/v1/search",
    tags=["staff"],
    response_model=SearchPage,
    responses=problems(400, 401, 403, 409, 422, 429, 503),
)
def search(
    request: Request,
    staff: Staff,
    *,
    query: Annotated[
        str,
        Query(
            min_length=1,
            max_length=MAX_QUERY_CHARS,
            description='Words that must all occur; "a phrase", or, -not as on the web.',
            examples=['"gate code" or gate'],
        ),
    ],
    role: Role | None = None,
    kind: MessageKind | None = None,
    channel: Channel | None = None,
    customer_id: UUID | None = None,
    lead: LeadId = None,
    since: Annotated[Moment | None, Query(description="From this moment on.")] = None,
    until: Annotated[Moment | None, Query(description="Before this moment.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 10,
    after: AfterCursor = None,
) -> Json:
    """Find messages of all customers by their words, the best first."""
    del staff
    asked = SearchQuery(
        text=query,
        role=role,
        kind=kind,
        channel=channel,
        customer_id=customer_id,
        lead=lead,
        since=since,
        until=until,
        limit=limit,
        after=after,
    )
    with _reading(service_of(request)) as connection:
        return Json(search_json(search_messages(connection, asked)))


@router.get(
    "/v1/customers",
    tags=["staff"],
    response_model=CustomerPage,
    responses=problems(401, 403, 422, 429, 503),
)
def customers(
    request: Request,
    staff: Staff,
    query: Annotated[
        str | None,
        Query(max_length=MAX_QUERY_CHARS, description="Part of a name, phone, e-mail or id."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST_LISTED)] = 50,
    after: AfterId = None,
) -> Json:
    """List customers, or find some: who they are, and how much was said."""
    del staff
    with _reading(service_of(request)) as connection:
        return Json(
            customers_json(find_customers(connection, query, limit=limit, after=after), limit)
        )


@router.get(
    "/v1/customers/{customer_id}",
    tags=["staff"],
    response_model=CustomerDetail,
    responses=problems(401, 403, 404, 422, 429, 503),
)
def customer(request: Request, staff: Staff, customer_id: UUID) -> Json:
    """Show a customer and its leads; one that was merged away is not there."""
    del staff
    with _reading(service_of(request)) as connection:
        found = get_customer(connection, customer_id)
        if found is None:
            raise NotFound(f"There is no customer {customer_id}.")
        return Json({"customer": found, "leads": leads_of_customer(connection, customer_id)})


@router.get(
    "/v1/runs",
    tags=["staff"],
    response_model=RunList,
    responses=problems(401, 403, 422, 429, 503),
)
def runs(
    request: Request, staff: Staff, limit: Annotated[int, Query(ge=1, le=_MOST_LISTED)] = 20
) -> Json:
    """List the newest runs: what they were asked, where they stand."""
    del staff
    with _reading(service_of(request)) as connection:
        return Json({"runs": [run_json(run) for run in list_runs(connection, limit=limit)]})


@router.get(
    "/v1/runs/{reference}",
    tags=["staff"],
    response_model=RunShape,
    responses=problems(401, 403, 404, 422, 429, 503),
)
def run(request: Request, staff: Staff, reference: RunReference) -> Json:
    """Show a run with its report."""
    del staff
    with _reading(service_of(request)) as connection, not_found():
        return Json(run_json(get_run(connection, reference)))


@contextmanager
def _reading(service: Service) -> Iterator[Connection]:
    """Yield a connection that can only read."""
    with translated(), service.database.engine.connect() as connection:
        yield connection.execution_options(postgresql_readonly=True)
