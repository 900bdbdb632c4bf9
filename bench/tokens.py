"""The bound of tokens beside the true counts of cl100k_base and o200k_base, file by file.

    pip install bpe-openai
    python bench/tokens.py README.md docs/*.md
    python bench/tokens.py --write

Each line of a file is a text: the ratio is of the sums, the closest line is the one that costs most
of what it counts. `--write` makes `known_strings.toml` anew from the two vocabularies. The package
that carries them offline (72 MB) is no dependency of Backstory, so it is installed by hand.
"""

import argparse
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import bpe_openai

from backstory.memory.tokens import upper_bound

KNOWN = Path(__file__).parents[1] / "src" / "backstory" / "memory" / "known_strings.toml"
VOCABULARIES = tuple(map(bpe_openai.get_encoding, ("cl100k_base", "o200k_base")))
AFTER_A_SPACE = 2_500
APOSTROPHES = "'\u2019"
SHORT_FORMS = [
    f"{mark}{end}" for mark in APOSTROPHES for end in ("s", "t", "re", "ve", "m", "ll", "d")
]
LETTER, SIGN = r"[^\W\d_]", r"[!-/:-@\[-`{-~]"
SHORT = re.compile(f" ?{LETTER}{{1,3}}|{SIGN}{{2,3}}| {SIGN}{{1,3}}| ?[^\\x00-\\x7f]")
# Two bytes that begin a character of three or four.
BEGINNING = re.compile(rb"[\xe0-\xf4][\x80-\xbf]")
CONTINUING = bytes(range(0x80, 0xC0))
FILE = """\
# What cl100k_base and o200k_base both know as one token: see tokens.py, which counts by it.
# Made by `python bench/tokens.py --write`, from the vocabularies of OpenAI's tiktoken (MIT).

# Words, small and with a capital, that are one token with a space before them and without, no more
# than one beside any sign but an apostrophe, and no more than two with 's or its like.
words = '''
{words}
'''

# The same of the {after} commonest words that are one token after a space only.
words_after_a_space = '''
{words_after_a_space}
'''

# Letters and signs, up to three and a space before them. A line tells what strings begin with,
# then, behind the last space, how they may end.
strings = '''
{strings}
'''

# Signs that are one token together with the end of a line.
ends_of_lines = '''
{ends_of_lines}
'''

# The first two bytes of characters of three or four.
beginnings = '''
{beginnings}
'''
"""


def true_count(text: str) -> int:
    """Return the larger of the two counts."""
    return max(len(each.encode_ordinary(text)) for each in VOCABULARIES)


def measure(path: Path) -> None:
    """Print what the lines of a file cost and count, and the line that comes closest."""
    costs = [
        (true_count(line), upper_bound(line), line)
        for line in path.read_text("utf-8").splitlines()
        if line.strip()
    ]
    true, bound = (sum(column) for column in ([cost[0] for cost in costs], [c[1] for c in costs]))
    share, line = max((cost / count, line) for cost, count, line in costs)
    print(f"{path}  {true:,} cost, {bound:,} counted: {bound / true:.2f}")
    print(f"    closest  {share:.3f}  {line[:80]!r}")


@cache
def ranks() -> dict[bytes, int]:
    """Return what both vocabularies know, with how rare it is: the sum of its two ranks."""
    first, second = (
        {token: rank for rank, token in enumerate(each.token_byte_values())}
        for each in VOCABULARIES
    )
    return {token: rank + second[token] for token, rank in first.items() if token in second}


@cache
def known() -> frozenset[str]:
    """Return the known strings that are whole characters which can be printed."""
    texts = (token.decode(errors="ignore") for token in ranks())
    return frozenset(each for each in texts if each.encode() in ranks() and each.isprintable())


def forms(word: str) -> tuple[str, str]:
    """Return a word as it is and with a capital."""
    return word, word.capitalize()


def rarity(word: str) -> int:
    """Return how rare a word is after a space."""
    return ranks()[f" {word}".encode()]


def words_anywhere() -> set[str]:
    """Return the words that are one token with a space and without, and beside any sign."""
    cost_of = {sign: true_count(sign) for sign in signs_before_letters()}
    return {
        word
        for word in known()
        if re.fullmatch("[a-z]+", word)
        and all({each, f" {each}"} <= known() and bears_short_forms(each) for each in forms(word))
        and all(
            true_count(sign + each) <= cost + 1
            for sign, cost in cost_of.items()
            for each in forms(word)
        )
    }


def words_after_a_space(others: set[str]) -> list[str]:
    """Return the commonest words that are one token after a space, and are not among the others."""
    found = (text[1:] for text in known() if re.fullmatch(" [a-z]{2,}", text))
    fit = [
        word
        for word in found
        if word not in others
        and all(f" {each}" in known() and bears_short_forms(f" {each}") for each in forms(word))
    ]
    return sorted(fit, key=rarity)[:AFTER_A_SPACE]


def bears_short_forms(word: str) -> bool:
    """Tell whether 's and its like add no more than a token to a word."""
    return all(true_count(word + short) <= 1 + 1 for short in SHORT_FORMS)


def signs_before_letters() -> set[str]:
    """Return the characters that any token of either begins with before a letter."""
    begins = re.compile(rf"(?! )([^\w\r\n]|_){LETTER}")
    texts = (token.decode(errors="ignore") for token in every_token())
    return {text[0] for text in texts if begins.match(text)} - set(APOSTROPHES)


def every_token() -> Iterator[bytes]:
    """Yield the tokens of both vocabularies."""
    for each in VOCABULARIES:
        yield from each.token_byte_values()


def short_strings() -> set[str]:
    """Return the known strings of up to three letters or signs, and single other characters.

    Left out are those whose end is not known without its beginning, which a sign before it may
    pull away, and of other scripts those from which a neighbour may pull a character away.
    """
    single = {text for text in known() if len(text) == 1 and not text.isascii()}
    found = single | {text for text in known() if SHORT.fullmatch(text)}
    torn = torn_pairs(single)
    firsts, seconds = {one for one, _ in torn}, {other for _, other in torn}
    loose = {
        text
        for text in found
        if len(text.lstrip()) > 1
        and not text.isascii()
        and (text[-1] in firsts or text[0] in seconds or torn & set(pairwise(text)))
    }
    headless = {
        text for text in found if len(text) > len("ab") and text[0] != " " and text[1:] not in found
    }
    return found - loose - headless


def torn_pairs(single: set[str]) -> set[tuple[str, str]]:
    """Return neighbours of which one may lose bytes to the other before they are joined.

    They do to a token of one whole character and a part of its neighbour, where that is commoner
    than the neighbour as a whole.
    """
    found = set[tuple[str, str]]()
    for each in VOCABULARIES:
        rank_of = {token: rank for rank, token in enumerate(each.token_byte_values())}
        for token, rank in rank_of.items():
            body = token.lstrip(CONTINUING)
            text = body.decode(errors="ignore")
            head, tail = token[: len(token) - len(body)], body[len(text.encode()) :]
            if not text or not (head or tail):
                continue
            rarer = [char for char in single if rank_of[char.encode()] > rank]
            if tail:
                found |= {(text[-1], c) for c in rarer if c.encode().startswith(tail)}
            if head:
                found |= {(c, text[0]) for c in rarer if c.encode().endswith(head)}
    return found


def lines_of(strings: Iterable[str]) -> str:
    """Return strings as lines: what some of them begin with, a space, how they end."""
    endings = defaultdict[str, str](str)
    for each in sorted(strings):
        endings[each[:-1]] += each[-1]
    return "\n".join(f"{before} {last}" for before, last in sorted(endings.items()))


def wrapped(words: Iterable[str]) -> str:
    """Return words in lines of a page's width."""
    return textwrap.fill(
        " ".join(sorted(words)), 100, break_long_words=False, break_on_hyphens=False
    )


def write() -> None:
    """Make the file of known strings anew."""
    anywhere = words_anywhere()
    line_ends = (token.decode(errors="ignore") for token in ranks())
    told = FILE.format(
        after=AFTER_A_SPACE,
        words=wrapped(anywhere),
        words_after_a_space=wrapped(words_after_a_space(anywhere)),
        strings=lines_of(short_strings()),
        ends_of_lines=wrapped(
            text[:-1] for text in line_ends if re.fullmatch(f"{SIGN}{{1,2}}\n", text)
        ),
        beginnings=wrapped(token.hex() for token in ranks() if BEGINNING.fullmatch(token)),
    )
    KNOWN.write_text(told, "utf-8")
    print(f"{KNOWN.name}: {len(anywhere):,} words, {len(told.encode()):,} bytes")


def read_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--write", action="store_true", help="make the file of known strings anew")
    return parser.parse_args()


if __name__ == "__main__":
    arguments = read_arguments()
    if arguments.write:
        write()
    for file in arguments.files:
        measure(file)
