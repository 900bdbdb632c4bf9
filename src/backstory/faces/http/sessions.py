"""`POST /v1/sessions`: a key of the business opens a session for one lead, and gets its token."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from backstory.faces.http.bodies import Json, body_of, described, whole_number
from backstory.faces.http.callers import Key
from backstory.faces.http.problems import not_found, problems
from backstory.faces.http.service import service_of
from backstory.tools.access import LIFETIME, LONGEST_LIFETIME, MAX_ACTOR

_LONGEST_LEAD = 10_000

router = APIRouter(tags=["sessions"])


class OpenSession(BaseModel):
    """For whom, in whose name, and for how long."""

    model_config = ConfigDict(extra="forbid", strict=True)

    lead: str = Field(
        min_length=1,
        max_length=_LONGEST_LEAD,
        description="The lead's id in your system, or ours.",
        examples=["lead-7"],
    )
    actor: str = Field(
        "agent",
        pattern=rf"^[!-~]([ -~]{{0,{MAX_ACTOR - 2}}}[!-~])?$",
        description="Who calls the tools, as the records of calls name it.",
    )
    ttl_seconds: Annotated[int, BeforeValidator(whole_number)] = Field(
        int(LIFETIME.total_seconds()),
        ge=1,
        le=int(LONGEST_LIFETIME.total_seconds()),
        description="How long the token is valid.",
    )


class SessionOpened(BaseModel):
    """A session's token: whoever holds it is the agent of this lead until it expires."""

    token: str
    expires_at: datetime
    lead: str
    tools: list[str] = Field(description="The names of the tools that it may call.")


@router.post(
    "/v1/sessions",
    status_code=HTTPStatus.CREATED,
    response_model=SessionOpened,
    responses=problems(400, 401, 404, 413, 415, 422, 429, 503),
    openapi_extra=described(OpenSession),
)
def open_session(
    request: Request, key: Key, asked: Annotated[OpenSession, Depends(body_of(OpenSession))]
) -> Json:
    """Open a session for a lead; nothing an agent says in it can change whom it concerns.

    A lead without an open conversation gets one.
    """
    access = service_of(request).access
    with not_found():
        opened = access.open(
            key, asked.lead, actor=asked.actor, lifetime=timedelta(seconds=asked.ttl_seconds)
        )
    answer = {
        "token": opened.token,
        "expires_at": opened.expires_at.astimezone(UTC),
        "lead": asked.lead,
        "tools": [tool.name for tool in opened.session.offered],
    }
    return Json(answer, HTTPStatus.CREATED)
