"""Makes text of strangers fit to be shown: nothing that commands, hides or reorders."""

import html
import re
import unicodedata
from dataclasses import dataclass

# The database puts these two around a match; they are no characters, so no honest text has them.
OPEN, CLOSE = "\ufdd0", "\ufdd1"
# Without them emoji fall apart and Persian is misspelt; they neither hide text nor reorder it.
_JOINERS = frozenset("\u200c\u200d")
# Control, format (bidirectional marks are there), surrogate, unassigned, private use.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Cn", "Co"})
_TERMINAL_COMMAND = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor movement
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # window titles, links
    r"|\x1b[ -/]*[0-~]"
)
_SPACE = re.compile(r"\s+")
_MARK = re.compile(f"({OPEN}|{CLOSE})")


@dataclass(frozen=True)
class Fragment:
    """A stretch of a snippet, already fit to be shown; `is_match` where the query was found."""

    text: str
    is_match: bool


def shown(text: str) -> str:
    """Return `text` on one line, without anything a terminal or a page would obey."""
    plain = _SPACE.sub(" ", _TERMINAL_COMMAND.sub("", text))
    if plain.isascii() and plain.isprintable():
        return plain
    return "".join(c for c in plain if c in _JOINERS or unicodedata.category(c) not in _UNSEEN)


def fragments(marked: str) -> tuple[Fragment, ...]:
    """Cut what the database marked into fragments, leaving out those with nothing to show."""
    found, is_match = list[Fragment](), False
    for part in _MARK.split(marked):
        if part in {OPEN, CLOSE}:
            is_match = part == OPEN
        elif text := shown(part):
            found.append(Fragment(text, is_match))
    return tuple(found)


def plain(snippet: tuple[Fragment, ...]) -> str:
    """Return the words of a snippet without marks."""
    return "".join(fragment.text for fragment in snippet).strip()


def as_html(snippet: tuple[Fragment, ...]) -> str:
    """Return a snippet as HTML: everything escaped, matches inside `<mark>`."""
    return "".join(
        f"<mark>{html.escape(part.text)}</mark>" if part.is_match else html.escape(part.text)
        for part in snippet
    ).strip()
