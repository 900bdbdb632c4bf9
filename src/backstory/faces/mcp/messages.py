"""What clients send that the SDK does not read: put right where its sense is clear, or answered.

Half of a surrogate pair is what a cut emoji leaves behind: JSON can write it, the SDK's reader
refuses the whole message for it, and over stdio a request that was not read is never answered.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

import orjson
from mcp.shared.message import SessionMessage
from mcp.types import ErrorData, JSONRPCError, jsonrpc_message_adapter
from pydantic import ValidationError

_INVALID_REQUEST = -32600
_NO_JSON = "json_invalid"
_FORM = (
    "Send one JSON-RPC 2.0 message at a time, an object with `jsonrpc`, `method`, `params` where "
    "the method takes some, and for an answer `id`, a text or a whole number."
)
_HALVES = re.compile("[\ud800-\udfff]")
# Longer ones, Python refuses to read; no tool takes one.
_LONGEST_NUMBER = 1_000


class Misformed(ValueError):
    """What was sent has not the form of JSON-RPC; `answer` says so, under its id if it has one."""

    def __init__(self, given: object = None) -> None:
        super().__init__(_FORM)
        self.answer = JSONRPCError(
            jsonrpc="2.0",
            id=given if _is_id(given) else None,
            error=ErrorData(code=_INVALID_REQUEST, message=_FORM),
        )


def put_right(raw: bytes) -> bytes:
    """Return what a client has posted as the SDK can read it; raises Misformed.

    What is no JSON at all is returned as it is: the SDK says so.
    """
    try:
        message, fit = orjson.loads(raw), raw
    except orjson.JSONDecodeError:
        try:
            message = _read(raw.decode())
        except (ValueError, RecursionError):
            return raw
        fit = json.dumps(message, ensure_ascii=False).encode()
    _formed(message)
    return fit


def reread(wrong: Exception) -> SessionMessage:
    """Return a message that the SDK did not read, from what it says of it; raises Misformed."""
    said = wrong.errors() if isinstance(wrong, ValidationError) else []
    try:
        message = next((_read(each["input"]) for each in said if each["type"] == _NO_JSON), None)
    except (ValueError, RecursionError):
        raise Misformed from None
    if message is None:
        # It was read, and is of no form: one of the parts that are named is the whole.
        message = next((each["input"] for each in said if isinstance(each["input"], dict)), None)
    given = _formed(message)
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_python(given, by_name=False))
    except ValidationError:
        raise Misformed(given.get("id")) from None


def _formed(message: Any) -> Mapping[str, Any]:
    """Return a message that has the form of JSON-RPC; raises Misformed."""
    if not isinstance(message, Mapping):
        raise Misformed
    if not _is_formed(message):
        raise Misformed(message.get("id"))
    return message


def _is_formed(message: Mapping[str, Any]) -> bool:
    """Tell whether this is a request, a notification, or an answer."""
    if message.get("jsonrpc") != "2.0":
        return False
    if "method" not in message:
        return "result" in message or "error" in message
    asks = isinstance(message["method"], str)
    fits = isinstance(message.get("params"), Mapping | None)
    return asks and fits and ("id" not in message or _is_id(message["id"]))


def _is_id(given: object) -> TypeGuard[str | int]:
    return isinstance(given, str | int) and not isinstance(given, bool)


def _read(text: str) -> Any:
    """Return JSON data without halves of surrogate pairs; raises ValueError, RecursionError."""
    return _whole(json.loads(text, parse_int=_number))


def _number(digits: str) -> float:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else float(digits)


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return _HALVES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(each) for each in value]
    if isinstance(value, dict):
        return {_whole(name): _whole(each) for name, each in value.items()}
    return value
