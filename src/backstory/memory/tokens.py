"""Counts tokens from above without any provider's vocabulary: a bound for budgets, not a bill.

A tokenizer of the cl100k and o200k kind cuts text into words with the space before them, groups of
up to three digits, and runs of signs, then spells each by the byte pairs it knows. The rules here
take what that costs for rare words, so that common ones pay a little too much: customers' talk
counts 1.15 times what it costs in either vocabulary, JSON 1.2, Markdown 1.3, code 1.5, other
scripts up to 2.4, and nothing that people or programs write was found to count less than it costs.
Text made to defeat the rules can: words of invented syllables cost up to three times their count.
"""

import re

_PIECE = re.compile(
    r"""
      [A-Z]?[a-z]+ | [A-Z]+(?![a-z])  # a word, or a hump of camelCase
    | [0-9]+
    | \s*[\r\n]+ | \s+  # the ends of lines, then what the next line is moved in by
    | ":[\[{]?" | "[}\]]?," | [{\[,]" | "[:,}\]] | [}\]],  # what joins JSON is one token
    | .  # a sign, or a character of another script
    """,
    re.VERBOSE | re.DOTALL,
)
# No English word looks like this, so it is spelled letter by letter.
_UNPRONOUNCEABLE = re.compile(r"[bcdfghjklmnpqrstvwxz]{5}|^[^aeiouyAEIOUY]{2,}$")

# Letters that one token holds at least, on average of the words of a kind.
_WORD, _NAME, _CAPITALS, _AMID_OTHER_LETTERS = 5, 3, 2, 2
_DIGITS = 3
_BLANKS = 16
# Latin letters with marks, and Cyrillic, have words of their own; other scripts fewer, or none.
_GREEK, _CYRILLIC, _AFTER_CYRILLIC, _ASTRAL = 0x370, 0x400, 0x530, 0x10000


def upper_bound(text: str) -> int:
    """Return how many tokens `text` has at most, by a tokenizer of that kind."""
    return sum(_cost(text, found.start(), found.end()) for found in _PIECE.finditer(text))


def _cost(text: str, start: int, end: int) -> int:
    piece, before, after = text[start:end], text[start - 1 : start], text[end : end + 1]
    if not piece.isascii():
        return _foreign(piece) + (before == " ")
    if piece.isalpha():
        return _word(piece, before, after)
    if piece.isdigit():
        return _parts(len(piece), _DIGITS) + (before == " ")
    if piece.isspace():
        return 0 if piece == " " else 1 + len(piece) // _BLANKS  # one space is the next word's
    joins_words = piece == "_" and before.isalpha() and after.islower()
    return 0 if joins_words else 1


def _word(word: str, before: str, after: str) -> int:
    letters = len(word)
    beside_digit = before.isdigit() or after.isdigit()
    if beside_digit or (letters > 1 and _UNPRONOUNCEABLE.search(word)):
        return letters
    if not (before + after).isascii():
        return _parts(letters, _AMID_OTHER_LETTERS)
    if word.isupper():
        return _parts(letters, _CAPITALS)
    is_name = not word.islower() and not before.isalpha()
    return _parts(letters, _NAME if is_name else _WORD)


def _foreign(piece: str) -> int:
    if piece.isspace():
        return len(piece.encode())
    code = ord(piece)
    if code < _GREEK or _CYRILLIC <= code < _AFTER_CYRILLIC:
        return 1
    return 2 if code < _ASTRAL else 4


def _parts(length: int, size: int) -> int:
    return -(-length // size)
