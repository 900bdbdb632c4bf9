"""Every refusal and failure as problem+json (RFC 9457): a sentence, never a stack trace."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from math import ceil
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from backstory.errors import (
    BackstoryError,
    NotAllowed,
    NotRecognized,
    RecordRefused,
    Refused,
    Transient,
    Unanswerable,
    UsageError,
)

MEDIA_TYPE = "application/problem+json"
KIND = "urn:backstory:problem:"
_log = logging.getLogger("backstory.http")
_MOST_FIELDS = 10
# What a tool's refusal is in the words of HTTP; any other outcome is a conflict, and so are
# arguments of the form that the schema asks for: no schema says that a number can be dialled.
_REFUSALS = {
    "invalid_arguments": 422,
    "not_found": 404,
    "unknown_tool": 404,
    "memory_off": 404,
    "session_ended": 401,
}


class FieldProblem(BaseModel):
    """One thing that is wrong with a request."""

    field: str = Field(description="Where: body.lead, query.limit, header.idempotency-key.")
    message: str


class Problem(BaseModel):
    """Why a request was refused or failed."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description=f"{KIND} and a word for the kind of problem.")
    title: str = Field(description="The status in words.")
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="What is wrong and what to do, in a sentence.")
    outcome: str | None = Field(None, description="Of a tool: why it refused, as a word.")
    message: str | None = Field(None, description="Of a tool: what the model should be told.")
    next_step: str | None = Field(None, description="Of a tool: what the model can do now.")
    errors: list[FieldProblem] | None = Field(None, description="What is wrong, field by field.")


class TooMuch(BackstoryError):
    """A caller asks for more than it may; `seconds` is how long it has to wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__("You ask for more than this server gives to one caller: slow down.")
        self.seconds = seconds


class WrongMediaType(BackstoryError):
    """The body does not say that it is what this address takes."""


class NotFound(BackstoryError):
    """There is nothing of that name, or nothing that the caller may see."""


_BEARER = {"WWW-Authenticate": "Bearer"}
_ERRORS: tuple[tuple[type[BackstoryError], int, dict[str, str] | None], ...] = (
    (NotRecognized, 401, _BEARER),
    (NotAllowed, 403, None),
    (NotFound, 404, None),
    (WrongMediaType, 415, None),
    (Unanswerable, 409, None),
    (UsageError, 400, None),
    (Transient, 503, {"Retry-After": "1"}),
)


@contextmanager
def not_found() -> Iterator[None]:
    """Tell what is not there, or not just one, as not found."""
    try:
        yield
    except UsageError as unknown:
        raise NotFound(str(unknown)) from unknown


def problem(
    status: int,
    detail: str,
    *,
    kind: str | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """Return a problem; its kind is the status's name unless one is given."""
    title = HTTPStatus(status).phrase
    body = {
        "type": KIND + (kind or title.lower().replace(" ", "_")),
        "title": title,
        "status": status,
        "detail": detail,
        **more,
    }
    return Response(orjson.dumps(body), status, headers, media_type=MEDIA_TYPE)


def of_error(error: BackstoryError) -> Response:
    """Return the problem for an error that was raised on purpose."""
    if isinstance(error, Refused):
        return of_refusal({"outcome": error.outcome, "message": error.message}, str(error))
    if isinstance(error, RecordRefused):
        return problem(400, "The database cannot hold or look for these values.")
    for kind, status, headers in _ERRORS:
        if isinstance(error, kind):
            return problem(status, str(error), headers=headers)
    if isinstance(error, TooMuch):
        return problem(429, str(error), headers={"Retry-After": str(ceil(error.seconds))})
    # What the database or a setting refuses is the operator's to read, not the caller's.
    _log.error("%s: %s", type(error).__name__, error)
    return problem(500, "The server cannot do this at the moment; its log says why.")


def of_refusal(
    told: Mapping[str, Any], detail: str | None = None, *, in_form: bool = False
) -> Response:
    """Return the problem for what a tool refused: `outcome`, `message`, `next_step` as told.

    `in_form`: the arguments are as the tool's schema has them.
    """
    outcome = told["outcome"]
    conflicts = in_form and outcome == "invalid_arguments"
    status = 409 if conflicts else _REFUSALS.get(outcome, 409)
    sentence = detail or " ".join(filter(None, (told["message"], told.get("next_step"))))
    headers = _BEARER if status == HTTPStatus.UNAUTHORIZED else None
    return problem(status, sentence, kind=outcome, headers=headers, **told)


def install(app: FastAPI) -> None:
    """Let every error leave the application as a problem."""
    for kind, answer in _ANSWERED.items():
        app.add_exception_handler(kind, answer)


async def answered_errors(
    request: Request, answer: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Return the answer to a request, an error as the application would tell it."""
    try:
        return await answer(request)
    except tuple(_ANSWERED) as error:
        kind = next(kind for kind in _ANSWERED if isinstance(error, kind))
        return await _ANSWERED[kind](request, error)


async def _on_purpose(_request: Request, error: Exception) -> Response:
    assert isinstance(error, BackstoryError)  # noqa: S101 - registered for these
    return of_error(error)


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for these
    words = {
        404: "There is nothing at this address.",
        405: f"{request.method[:20]} is not possible here.",
    }
    detail = words.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if "GET" in headers.get("allow", headers.get("Allow", "")):
        # The edge makes a GET of a HEAD.
        headers = {"Allow": f"{headers.get('allow', headers.get('Allow'))}, HEAD"}
    return problem(error.status_code, detail, headers=headers)


async def _of_validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for these
    # What was sent is not repeated: it may be a secret that stands in the wrong place.
    wrong = [
        {"field": ".".join(str(part) for part in each["loc"]), "message": each["msg"]}
        for each in error.errors()[:_MOST_FIELDS]
    ]
    detail = "; ".join(f"{each['field']}: {each['message']}" for each in wrong)
    return problem(422, f"{detail}.", kind="invalid_request", errors=wrong)


_ANSWERED: Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    BackstoryError: _on_purpose,
    HTTPException: _of_http,
    RequestValidationError: _of_validation,
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of these answers, and of those that any request may get."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in sorted({*statuses, 500})
    }
