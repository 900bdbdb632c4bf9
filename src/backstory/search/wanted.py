"""Reads what a query demands of a message by its words, where it is looked for by meaning.

As text search reads it: what stands behind `-` must not occur, what stands in quotes must, and of
what stands on both sides of `or` one side is enough. Other words only say what is meant.
"""

import re
from typing import NamedTuple

# PostgreSQL lets blanks stand behind a minus, and a quote open that nobody closes.
_PIECE = re.compile(r'(?P<minus>(?:-\s*)*)(?:"(?P<phrase>[^"]*)(?:"|$)|(?P<word>[^\s"]+))')
_OR = re.compile(r"or\W*", re.IGNORECASE)


class Wanted(NamedTuple):
    """What is meant, and what must hold of a message, as text search writes it; None if nothing."""

    meant: str
    demanded: str | None


def wanted(text: str) -> Wanted:
    """Return what a query means and demands; `meant` is empty if it only says what to leave out."""
    sides: list[list[str]] = [[]]
    meant, follows = [], False
    for piece in _PIECE.finditer(text):
        minus, phrase, word = piece["minus"].count("-") % 2 == 1, piece["phrase"], piece["word"]
        if follows and word and not piece["minus"] and _OR.fullmatch(word):
            sides.append([])
            follows = False
            continue
        follows = True
        if not minus:
            meant.append(phrase or word or "")
        if minus or phrase:
            written = word if phrase is None else f'"{phrase}"'
            sides[-1].append(f"-{written}" if minus else written)
    if not follows:
        # An `or` with nothing behind it is none.
        sides.pop()
    if not any(sides):
        return Wanted(text, None)
    free = not all(sides)
    return Wanted(" ".join(meant).strip(), None if free else " or ".join(map(" ".join, sides)))
