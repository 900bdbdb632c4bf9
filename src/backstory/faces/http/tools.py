"""`GET /v1/tools` and `POST /v1/tools/{name}`: what an agent may call, and the calls."""

import re
from collections.abc import Callable
from functools import cache, partial
from typing import Annotated, Any

import orjson
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from backstory.faces.http.bodies import JSON, Json, json_object
from backstory.faces.http.callers import Caller, Known, session_of
from backstory.faces.http.problems import of_refusal, problems
from backstory.faces.http.service import Service, service_of
from backstory.faces.http.shortcut import Answer
from backstory.tools.canonical import Schema, input_schema, output_schema
from backstory.tools.catalog import offered
from backstory.tools.schemas import Format, projection
from backstory.tools.session import Session
from backstory.tools.tool import BLANK, Tool
from backstory.tools.toolset import Answer as Called

_REPLAYED = "Idempotency-Replayed"

_KEY_FORM = r"^[!-~]([ -~]{0,198}[!-~])?$"
_is_key = re.compile(_KEY_FORM).match

Arguments = Annotated[dict[str, Any], Depends(json_object)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=_KEY_FORM,
        description="Under the same key the same call is answered as before, and another one is "
        "refused: a UUID serves well.",
    ),
]


class ToolsListed(BaseModel):
    """The tools as a provider takes them."""

    format: Format
    tools: list[dict[str, Any]]


def tool_routes(*, memory_enabled: bool) -> APIRouter:
    """Return the routes: one for each tool on offer, one that knows none."""
    router = APIRouter(tags=["tools"])
    router.add_api_route(
        "/v1/tools",
        list_tools,
        response_model=ToolsListed,
        responses=problems(401, 422, 429, 503),
        summary="List the tools",
    )
    for tool in offered(memory_enabled=memory_enabled):
        add_tool(
            router,
            tool,
            path=f"/v1/tools/{tool.name}",
            endpoint=_calling(tool.name),
            responses=_answers(tool) | problems(400, 401, 404, 409, 413, 415, 422, 429, 503),
        )
    router.add_api_route(
        "/v1/tools/{name}", call_unknown, methods=["POST"], include_in_schema=False
    )
    return router


def add_tool(
    router: APIRouter,
    tool: Tool,
    *,
    path: str,
    endpoint: Callable[..., Response],
    responses: dict[int | str, dict[str, Any]],
) -> None:
    """Add the route by which a tool is called, told in the tool's own words."""
    router.add_api_route(
        path,
        endpoint,
        methods=["POST"],
        operation_id=tool.name,
        summary=tool.title,
        description=tool.description,
        responses=responses,
        openapi_extra={"requestBody": _input_of(tool)},
    )


def tool_answers(*, memory_enabled: bool) -> dict[str, Answer]:
    """Return how each tool on offer is called, by the path of its route."""
    return {
        f"/v1/tools/{tool.name}": _answering(tool.name)
        for tool in offered(memory_enabled=memory_enabled)
    }


def _answering(name: str) -> Answer:
    async def answer(request: Request) -> Response:
        session = await session_of(request, None)
        arguments = await json_object(request)
        key = _key_of(request)
        call = partial(_called, request, session, name, arguments, key)
        return await run_sync(call, limiter=service_of(request).calls)

    return answer


def _key_of(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not _is_key(key):
        wrong = {
            "loc": ("header", "idempotency-key"),
            "msg": f"String should match pattern '{_KEY_FORM}'",
        }
        raise RequestValidationError([wrong])
    return key


def list_tools(
    request: Request,
    known: Known,
    shape: Annotated[Format, Query(alias="format", description="Who is given the tools.")] = (
        Format.CANONICAL
    ),
) -> Response:
    """Return the tools that a session offers, ready to be handed to a model's provider."""
    del known
    enabled = service_of(request).app.settings.context_memory_enabled
    return Response(_listed(shape, memory_enabled=enabled), media_type=JSON)


@cache
def _listed(shape: Format, *, memory_enabled: bool) -> bytes:
    return orjson.dumps(
        {"format": shape, "tools": projection(offered(memory_enabled=memory_enabled), shape)}
    )


def _calling(name: str) -> Callable[..., Response]:
    def call(
        request: Request,
        session: Caller,
        arguments: Arguments,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        return _called(request, session, name, arguments, idempotency_key)

    return call


def call_unknown(request: Request, session: Caller, name: str, arguments: Arguments) -> Response:
    """Refuse a tool that is not there as a session does: in words, and on record."""
    return _called(request, session, name, arguments, None)


def _called(
    request: Request, session: Session, name: str, arguments: dict[str, Any], key: str | None
) -> Response:
    return answered(service_of(request), session.call(name, arguments, idempotency_key=key))


def answered(service: Service, answer: Called) -> Response:
    """Count a call, and tell what it came to: the tool's own words, or a problem."""
    known = answer.outcome != "unknown_tool"
    outcome = "replayed" if answer.replayed else answer.outcome
    service.metrics.call(answer.tool if known else "unknown", outcome)
    if answer.refused:
        return of_refusal(answer.data, in_form=answer.in_form)
    return Json(answer.data, headers={_REPLAYED: "true"} if answer.replayed else None)


# --- what OpenAPI says -----------------------------------------------------------------------


def _input_of(tool: Tool) -> dict[str, Any]:
    return {"required": True, "content": {JSON: {"schema": _nullable(input_schema(tool))}}}


def _nullable(schema: Schema) -> Schema:
    """Return a tool's input as it is taken: null means that a field is not given."""
    required = schema.get("required", ())
    fields = {
        name: _exact(each) if name in required else {"anyOf": [_exact(each), {"type": "null"}]}
        for name, each in schema["properties"].items()
    }
    return schema | {"properties": fields}


def _exact(node: Schema) -> Schema:
    """Return a field with what its length leaves open of a text: no NUL, and not blank."""
    if node["type"] == "array":
        return node | {"items": _exact(node["items"])}
    if node["type"] != "string" or node.keys() & {"enum", "format", "pattern"}:
        return node
    least = node.get("minLength", 0)
    seen = [rf"[^{BLANK}]"] * min(least, 2)
    within = rf"[^\u0000]{{{max(least - 2, 0)},}}".join(seen)
    return node | {"pattern": rf"^[^\u0000]*{within}[^\u0000]*$"}


def said_of(tool: Tool) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of a tool's output."""
    said = {
        "description": "What the tool did, in its output's own words.",
        "content": {JSON: {"schema": output_schema(tool)}},
    }
    return {200: said}


def _answers(tool: Tool) -> dict[int | str, dict[str, Any]]:
    replayed = {
        "description": "true: an earlier answer under the same Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
    }
    return {200: said_of(tool)[200] | {"headers": {_REPLAYED: replayed}}}
