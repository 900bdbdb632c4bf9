"""Assembles a record from separate cells into the one line of JSON that every source yields."""

import json
from collections.abc import Mapping

import orjson

from backstory.audit.rows import Oversized, bounded


def json_cell(field: str, text: str) -> tuple[str, object]:
    """Return (key, value) for a cell that should hold JSON; the value is spliced in verbatim.

    A blank cell is null. Text that is not one whole JSON value comes under `FIELD_unreadable`.
    """
    if not text or text.isspace():
        return field, None
    if not _is_json(text):
        return f"{field}_unreadable", text_cell(text)
    # A line break in valid JSON stands between values, never inside one.
    one_line = text.replace("\n", " ").replace("\r", " ")
    return field, orjson.Fragment(_bytes(one_line))


def text_cell(text: str) -> object:
    """Return a value for `line_of`; bytes that were no UTF-8 reach the line as they were."""
    if text.isascii() or is_text(text):
        return text
    return orjson.Fragment(_bytes(json.dumps(text, ensure_ascii=False)))


def line_of(cells: Mapping[str, object]) -> bytes | Oversized:
    """Return one line of JSON for the cells of a record."""
    return bounded(orjson.dumps(cells))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def is_text(text: str) -> bool:
    """Tell whether the text came from valid UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_json(text: str) -> bool:
    """Tell whether `text` is one JSON value; numbers may be of any size, NaN is none."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return _is_unusual_json(text)
    return True


def _is_unusual_json(text: str) -> bool:
    """Tell the same of what orjson refuses: 1e400, lone surrogates, bytes that are no UTF-8."""
    try:
        json.loads(text, parse_constant=_refuse, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(word: str) -> None:
    raise ValueError(word)
