"""Makes the text of strangers safe to show: no control, escape or bidirectional characters."""

import re
import unicodedata
from typing import Any

import orjson

# Whole escape sequences: CSI, OSC, other strings, and the two-character ones.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c]*(?:\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# Joiners make one emoji of several, and words of some scripts: they only ever act on neighbours.
_KEPT = frozenset("\u200c\u200d")
_BREAKS = re.compile(r"\r\n?|[\n\v\f\x85\u2028\u2029]")
_RISKY_IN_JSON = re.compile(
    "[\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)


def plain(text: str) -> str:
    """Return `text` as one or several lines that cannot act on a terminal."""
    text = _BREAKS.sub("\n", _ESCAPES.sub("", text)).replace("\t", "    ")
    return "".join(_safe(character) for character in text)


def one_line(text: str) -> str:
    """Return `text` as `plain` does, on one line with single spaces."""
    return " ".join(plain(text).split())


def clipped(text: str, length: int) -> str:
    """Return at most `length` characters of `one_line(text)`; an ellipsis marks a cut."""
    line = one_line(text)
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def _safe(character: str) -> str:
    if character == "\n" or character in _KEPT:
        return character
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"
    return "" if category in {"Cc", "Cf"} else character


def json_text(data: Any, *, indented: bool = True) -> str:
    """Return `data` as JSON; characters a terminal may obey are escapes, the value is the same.

    Not `indented`, it is one line.
    """
    options = orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if indented else 0)
    written = orjson.dumps(data, default=str, option=options).decode()
    return _RISKY_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", written)
