"""Counts tokens from above without a network: a bound for budgets, not a bill.

A tokenizer of the cl100k and o200k kind cuts text into words with the space before them, runs of
signs, and blanks, and joins the bytes of each by the pairs that it knows, until no two neighbours
are together a string of its vocabulary. So whoever knows some of that vocabulary knows a bound: a
word costs no more than the longest way to cut it in which no two neighbours are together a known
string. `known_strings.toml` holds what both vocabularies know of up to three characters, and some
thousands of English words that are one token in both. What is not in it costs its bytes, since no
token is less than one; a digit costs one, since Gemini's and others' tokenizers take them singly.

What is proven by that is the count of letters and signs that both vocabularies cut where the rules
here do. The rest is measured: letters beside other scripts, marks, apostrophes, ends of lines, and
characters that fall between two tokens. Nothing counted less than it costs in either vocabulary in
the declaration of human rights in 500 languages, nor in some ten million strings of random letters,
signs, scripts, emoji, blanks, base64, and words of all these languages cut and glued, but for 4 of
random Korean and Chinese characters, by one token each. Much costs exactly what it counts, so text
that is made to defeat the rules may still be found. English prose counts 1.4 times what it costs,
context packs 1.3, JSON and code 1.4, other languages 1.0 to 1.9. Other tokenizers promise nothing:
`docs/decisions/0021` says what was found.
"""

import re
import tomllib
from collections import deque
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple

_PIECE = re.compile(
    r"""
      (?P<quoted> (?<=['\u2019]) [^\W\d_]+ )
    | (?P<word> [ ]? [^\W\d_]+ (?: ['\u2019] (?:s|t|re|ve|m|ll|d) (?![^\W\d_]) )? )
    | (?P<slash> (?<=[\r\n]) / )  # o200k takes it into the run of signs on the line before
    | (?P<signs> [ ]? (?: [^\w\s] | _ )+ \n? )
    | (?P<blanks> \n+ | \t+ (?=\t) | [ ]+ (?=[ ]) )  # the last may be the next word's
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_APOSTROPHE = re.compile(r"['\u2019]")
# Both know up to twice as many of them as one token, so of two neighbours one has more than these.
_BLANKS = {"\n": 5, "\t": 10, " ": 39}
# The longest known string has three characters and a space, so longer pieces bind no neighbour.
_LONGEST = 4
_WORDS_REMEMBERED = 4_096


def upper_bound(text: str) -> int:
    """Return how many tokens `text` has at most, by a tokenizer of that kind."""
    return sum(_cost(found.lastgroup, found[0]) for found in _PIECE.finditer(text))


def _cost(kind: str | None, piece: str) -> int:
    if kind == "word":
        return _word(piece)
    if kind == "signs":
        return _spelled(piece)
    if kind == "blanks":
        return 1 + len(piece) // _BLANKS[piece[0]]
    if kind == "quoted":  # cl100k takes what looks like 's or 've off its front
        return 1 + _spelled(piece)
    return len(piece.encode())


def _word(piece: str) -> int:
    """Return what a word costs, with the space before it and 's or its like behind."""
    word, *short = _APOSTROPHE.split(piece)
    if word in _known().words:
        return 1 + len(short)
    return _spelled(word) + 2 * len(short)


@lru_cache(_WORDS_REMEMBERED)
def _spelled(piece: str) -> int:
    """Return the most tokens that a word or a run of signs can fall into."""
    if piece[0] == " " and piece[:2] not in _known().strings:
        # The space may take the next character's first bytes with it.
        return 1 + len(piece[1].encode()) + _most_tokens(piece[2:])
    return _most_tokens(piece)


def _most_tokens(piece: str) -> int:
    """Return the most tokens of which no two neighbours are together a known string."""
    known = _known().strings
    # For each of the last places: by the length of the token that ends there, the most tokens.
    most = deque([{0: 0}], maxlen=_LONGEST)
    for end in range(1, len(piece) + 1):
        counts = dict[int, int]()
        for size in range(1, min(end, _LONGEST) + 1):
            start = end - size
            before = [
                count
                for length, count in most[-size].items()
                if not length or piece[start - length : end] not in known
            ]
            if before:
                counts[size] = max(before) + (_price(piece[start]) if size == 1 else 1)
        most.append(counts)
    return max(most[-1].values())


def _price(char: str) -> int:
    """Return the most tokens of a character on its own."""
    if char in _known().strings:
        return 1
    encoded = char.encode()
    return len(encoded) - (encoded[:2] in _known().beginnings)


class _Known(NamedTuple):
    """What both vocabularies know: words, short strings, and the first bytes of characters."""

    words: frozenset[str]
    strings: frozenset[str]
    beginnings: frozenset[bytes]


@cache
def _known() -> _Known:
    file = resources.files("backstory.memory") / "known_strings.toml"
    told = tomllib.loads(file.read_text("utf-8"))
    anywhere = _with_capitals(told["words"].split())
    after_space = anywhere | _with_capitals(told["words_after_a_space"].split())
    strings = {before + last for before, last in _endings(told["strings"])}
    strings |= {f"{signs}\n" for signs in told["ends_of_lines"].split()}
    return _Known(
        frozenset(anywhere | {f" {word}" for word in after_space}),
        frozenset(strings | {chr(code) for code in range(0x80)}),
        frozenset(bytes.fromhex(each) for each in told["beginnings"].split()),
    )


def _with_capitals(words: list[str]) -> set[str]:
    return {*words, *(word.capitalize() for word in words)}


def _endings(lines: str) -> Iterator[tuple[str, str]]:
    """Yield the strings of lines that tell what they begin with, a space, and how they may end."""
    for line in lines.splitlines():
        before, _, endings = line.rpartition(" ")
        yield from ((before, last) for last in endings)
