"""Reads bodies and writes answers as JSON, quickly and strictly."""

import json
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from backstory.errors import UsageError
from backstory.faces.http.problems import WrongMediaType

JSON = "application/json"


class Json(Response):
    """An answer as JSON, with ids and moments as text."""

    media_type = JSON

    def render(self, content: Any) -> bytes:
        """Return the body."""
        # Keys may be words of a vocabulary.
        return orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)


class NotJson(UsageError):
    """The body is not what this address takes."""


_Model = TypeVar("_Model", bound=BaseModel)


def body_of(model: type[_Model]) -> Callable[[Request], Awaitable[_Model]]:
    """Return what reads a body as `model`, for `Depends`; it raises as the other ways do.

    FastAPI's own reading refuses what is no JSON before it asks who it is from, and otherwise.
    """

    async def read(request: Request) -> _Model:
        found = await json_object(request)
        try:
            return model.model_validate(found)
        except ValidationError as wrong:
            errors = wrong.errors(include_url=False, include_context=False, include_input=False)
            told = [each | {"loc": ("body", *each["loc"])} for each in errors]
            raise RequestValidationError(told) from None

    return read


def described(model: type[BaseModel]) -> dict[str, Any]:
    """Return what OpenAPI says of a body that `body_of` reads."""
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}


async def json_object(request: Request) -> dict[str, Any]:
    """Return the body as a JSON object; raises NotJson, WrongMediaType."""
    require_json(request)
    found = read_json(await request.body())
    if not isinstance(found, dict):
        raise NotJson("The body is JSON, but not an object.")
    return found


def require_json(request: Request) -> None:
    """Raise WrongMediaType unless the body says that it is JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise WrongMediaType(f"The body has to be JSON, and say so: Content-Type: {JSON}.")


def read_json(body: bytes, *, exactly: bool = False) -> Any:
    """Return what a body says; `exactly` keeps whole numbers of any length. Raises NotJson."""
    if not exactly:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass  # half a surrogate pair, perhaps: the standard library takes it
    try:
        return json.loads(
            body.decode("utf-8-sig"), parse_constant=_no_constant, parse_float=_finite
        )
    except (ValueError, RecursionError) as bad:
        raise NotJson(
            "The body is not JSON in UTF-8, is nested too deeply, or has a number out of range."
        ) from bad


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:40]} is out of range")
    return number


def whole_number(value: object) -> object:
    """Return 60 for 60.0, as JSON Schema counts; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no JSON number")
