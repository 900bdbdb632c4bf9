"""`/v1/staff/tools` and `/v1/staff/tools/{name}`: what the staff may call, and the calls."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from backstory.faces.http.bodies import Json
from backstory.faces.http.callers import Staff as StaffKey
from backstory.faces.http.problems import problems
from backstory.faces.http.service import service_of
from backstory.faces.http.tools import Arguments, ToolsListed, add_tool, answered, said_of
from backstory.store.keys import ApiKey
from backstory.tools.catalog import STAFF_TOOLS
from backstory.tools.schemas import Format, projection
from backstory.tools.staff import Staff

_PATH = "/v1/staff/tools"


def staff_routes() -> APIRouter:
    """Return the routes: one for each of the staff's tools, one that knows none."""
    router = APIRouter(tags=["staff"])
    router.add_api_route(
        _PATH,
        list_staff_tools,
        response_model=ToolsListed,
        responses=problems(401, 403, 422, 429, 503),
        summary="List the staff's tools",
    )
    for tool in STAFF_TOOLS:
        add_tool(
            router,
            tool,
            path=f"{_PATH}/{tool.name}",
            endpoint=_calling(tool.name),
            responses=said_of(tool) | problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
        )
    router.add_api_route(_PATH + "/{name}", call_unknown, methods=["POST"], include_in_schema=False)
    return router


def list_staff_tools(
    staff: StaffKey,
    shape: Annotated[Format, Query(alias="format", description="Who is given the tools.")] = (
        Format.CANONICAL
    ),
) -> Json:
    """Return the staff's tools, ready to be handed to a model's provider."""
    del staff
    return Json({"format": shape, "tools": projection(STAFF_TOOLS, shape)})


def _calling(name: str) -> Callable[..., Response]:
    def call(request: Request, staff: StaffKey, arguments: Arguments) -> Response:
        return _called(request, staff, name, arguments)

    return call


def call_unknown(request: Request, staff: StaffKey, name: str, arguments: Arguments) -> Response:
    """Refuse a tool that is not there: in words, and on record."""
    return _called(request, staff, name, arguments)


def _called(request: Request, key: ApiKey, name: str, arguments: dict[str, Any]) -> Response:
    service = service_of(request)
    staff = Staff(service.database, key.name, service.app.rules)
    return answered(service, staff.call(name, arguments))
