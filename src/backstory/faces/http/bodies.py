"""Reads bodies and writes answers as JSON, quickly and strictly."""

import json
import math
from typing import Any

import orjson
from fastapi import Request, Response

from backstory.errors import UsageError

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


async def json_object(request: Request) -> dict[str, Any]:
    """Return the body as a JSON object; raises NotJson."""
    require_json(request)
    found = read_json(await request.body())
    if not isinstance(found, dict):
        raise NotJson("The body is JSON, but not an object.")
    return found


def require_json(request: Request) -> None:
    """Raise NotJson unless the body says that it is JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise NotJson(f"The body has to be JSON, and say so: Content-Type: {JSON}.")


def read_json(body: bytes, *, exactly: bool = False) -> Any:
    """Return what a body says; `exactly` keeps whole numbers of any length. Raises NotJson."""
    if not exactly:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass  # half a surrogate pair, perhaps: the standard library takes it
    try:
        return json.loads(body, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as bad:
        raise NotJson("The body is not JSON, or nested too deeply.") from bad


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
