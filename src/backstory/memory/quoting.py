"""Quotes text of strangers as data: bounded, on one line, without anything that hides.

What stands between two double quotes is what somebody wrote; no double quote is inside, so a reader
sees where it ends.
"""

import re

from backstory.search.snippet import shown

# Invisible, though Unicode calls them letters or marks: joiners, fillers, variation selectors.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
_CUT = "\u2026"
# Cleaning shortens; so much more than wanted is looked at, whatever the length of the text.
_LOOKED_AT = 4


def plain(text: str | None, limit: int) -> str:
    """Return up to `limit` characters on one line, without control, format and invisible ones."""
    if not text:
        return ""
    seen = text[: limit * _LOOKED_AT]
    clean = _INVISIBLE.sub("", shown(seen)).replace('"', "'").strip()
    if len(clean) <= limit and len(seen) == len(text):
        return clean
    return clean[: limit - 1].rstrip() + _CUT


def quoted(text: str | None, limit: int) -> str:
    """Return the text between double quotes, of up to `limit` characters without them."""
    return f'"{plain(text, limit)}"'
