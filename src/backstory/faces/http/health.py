"""`/healthz`, `/readyz`, `/metrics`: whether the server lives, can serve, and what it counted."""

from dataclasses import asdict
from time import monotonic
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from backstory.errors import BackstoryError
from backstory.faces.http.bodies import Json
from backstory.faces.http.callers import Staff
from backstory.faces.http.metrics import Metrics
from backstory.faces.http.problems import problem, problems
from backstory.faces.http.service import Readiness, Service, service_of
from backstory.store import agent_role
from backstory.store.engine import translated
from backstory.store.schema import schema_state

# Anybody may ask, so the database is asked no more often than that.
_FRESH_SECONDS = 2

router = APIRouter(tags=["operation"])


class Alive(BaseModel):
    """The process answers."""

    alive: bool


class Checks(BaseModel):
    """What a server needs, each in a word: ok, or what is wrong."""

    database: Literal["ok", "unreachable"]
    schema_: Annotated[Literal["ok", "outdated", "unknown"], Field(alias="schema")]
    agents: Literal["ok", "no role", "unknown"]


class Ready(BaseModel):
    """The server can serve."""

    ready: bool
    checks: Checks


@router.get("/healthz", response_model=Alive, responses=problems())
async def health() -> Json:
    """Say that the process lives; the database is not asked."""
    return Json({"alive": True})


@router.get("/readyz", response_model=Ready, responses=problems(503))
def readiness(request: Request) -> Response:
    """Say whether requests can be served: the database answers, its schema and role are there."""
    checks = asdict(_checked(service_of(request)))
    if set(checks.values()) == {"ok"}:
        return Json({"ready": True, "checks": checks})
    return problem(503, "The server cannot serve at the moment.", checks=checks)


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Counters in the text format of Prometheus.",
            "content": {Metrics.content_type: {"schema": {"type": "string"}}},
        },
        **problems(401, 403, 429, 503),
    },
)
def metrics(request: Request, staff: Staff) -> Response:
    """Return what the server counted, for Prometheus; no ids, nothing of customers."""
    del staff
    return Response(service_of(request).metrics.text(), media_type=Metrics.content_type)


def _checked(service: Service) -> Readiness:
    now = monotonic()
    if service.readiness is None or now - service.readiness[0] > _FRESH_SECONDS:
        service.readiness = (now, _look(service))
    return service.readiness[1]


def _look(service: Service) -> Readiness:
    database = service.database
    try:
        with translated(), database.engine.connect() as connection:
            current = schema_state(connection, database.schema).current
            missing = agent_role.missing(connection, database.schema) if current else []
    except BackstoryError:
        return Readiness("unreachable", "unknown", "unknown")
    if not current:
        return Readiness("ok", "outdated", "unknown")
    return Readiness("ok", "ok", "no role" if missing else "ok")
