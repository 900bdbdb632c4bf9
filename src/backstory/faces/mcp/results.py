"""What a call comes to in MCP: structured content, or an error that the model can read."""

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from mcp.types import CallToolResult, TextContent

from backstory.errors import Transient, UsageError
from backstory.tools.toolset import Toolset

_log = logging.getLogger(__name__)


def call_result(
    toolset: Toolset, name: str, arguments: Mapping[str, Any], *, idempotency_key: str | None
) -> CallToolResult:
    """Call a tool and return what came of it; nothing is raised, whatever goes wrong.

    The structured content of an answer is what its one text block says. A refusal is an error
    result whose text has `outcome`, `message` and, where something helps, `next_step`.
    """
    try:
        answer = toolset.call(name, arguments, idempotency_key=idempotency_key)
    except UsageError as wrong:
        return _error({"outcome": "invalid_request", "message": str(wrong)})
    except Transient:
        _log.warning("The database did not serve a call of %s.", name, exc_info=True)
        return _error(_UNAVAILABLE)
    except Exception:  # noqa: BLE001 - the edge: a defect of ours is told in words, and logged
        _log.exception("A call of %s failed.", name)
        return _error(_FAILED)
    if answer.refused:
        return _error(answer.data)
    return CallToolResult(content=[_text(answer.data)], structured_content=answer.data)


# What the model needs to go on; what we need to find the cause is in the log.
_UNAVAILABLE = {
    "outcome": "unavailable",
    "message": "The database does not answer at the moment.",
    "next_step": "Make the same call once more; if that fails too, tell the customer that it "
    "cannot be done right now.",
}
_FAILED = {
    "outcome": "failed",
    "message": "The call failed on the server, for no fault of its arguments.",
    "next_step": "Do not repeat it: tell the customer that it cannot be done right now.",
}


def _error(told: Mapping[str, Any]) -> CallToolResult:
    return CallToolResult(content=[_text(told)], is_error=True)


def _text(data: Mapping[str, Any]) -> TextContent:
    return TextContent(text=orjson.dumps(data).decode())
