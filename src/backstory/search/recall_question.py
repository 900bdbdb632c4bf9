"""Reads a question: whom it names, what time it speaks of, and what kind of answer it wants."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backstory.model import Role

# Who is meant where nobody is named; a customer's latest words may speak of "your technician".
_ROLE_WORDS = {
    Role.USER: ("customer", "client"),
    Role.ASSISTANT: ("agent", "assistant", "representative", "technician"),
}
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_WANTS_TIME = re.compile(
    r"\bwhen\b|\bhow long\b|\bwhat (?:date|day|month|year|time)\b|\bwhich (?:month|year|day)\b"
)
_WANTS_NUMBER = re.compile(r"\bhow (?:many|often|much)\b")
_WANTS_NAME = re.compile(
    r"\bwho\b|\bwhom\b|\bwhere\b|\bnames?\b|\bwhich\b|\bcalled\b"
    r"|\bwhat (?:brand|company|city|country|place|state|street)s?\b"
)
_MONTH = "|".join(_MONTHS)
_ISO = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b")
_MONTH_DAY = re.compile(
    rf"\b({_MONTH}) (\d{{1,2}})(?:st|nd|rd|th)?\b(?!\d)|"
    rf"\b(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({_MONTH})\b"
)
_MONTH_ONLY = re.compile(rf"\b(?:in|of|during|since|last|early|late|mid|this) ({_MONTH})\b")
_MONTH_YEAR = re.compile(rf"\b({_MONTH}),? (?:of )?\d{{4}}\b")
_YEAR = re.compile(r"\b((?:19|20)\d\d)\b")
_WORD = re.compile(r"\w+")
# A capital within a sentence, where names have them.
_CAPITAL = re.compile(r"(?<=[\w,;] )(?!I\b)[A-Z]")
# What stands before a thing, and before nobody's name.
_THE = re.compile(
    r"\b(?:the|an?|my|your|our|his|her|its|their|this|that|these|those|no|any|some|each|every)\s"
    r"(?:\w+\s)?$",
    re.IGNORECASE,
)
# Words of the index are stems: so many letters tell of which word.
_STEM = 3
_AGO = re.compile(r"\b(\d{1,3}|an?|two|three|four|five|six) (day|week|month|year)s? ago\b")
_COUNTS = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}
# What happened on a day is often told some days later.
_TOLD_LATER = timedelta(days=8)
_TOLD_BEFORE = timedelta(days=1)
# A month counts less where its day is named; one without a year is that of any recent year.
_MONTH_ALONE, _MONTH_OF_DAY = 1.0, 0.5
_YEARS_BACK = 8


@dataclass(frozen=True)
class Span:
    """A stretch of time that a question speaks of; `weight` is 1 for a month, 2 for a day."""

    since: datetime
    until: datetime
    weight: float


@dataclass(frozen=True)
class Question:
    """What is asked: the words to look for, and what the answer may look like.

    `speaker` is the one author or role the question names, None if it names nobody or several.
    """

    words: tuple[str, ...]
    speaker: str | None
    wants_time: bool
    wants_number: bool
    wants_name: bool
    spans: tuple[Span, ...]

    def time_weights(self, moments: Sequence[float]) -> dict[int, float]:
        """Return which moments, in seconds since 1970, fit the time it speaks of, and how well."""
        found: dict[int, float] = {}
        for span in self.spans:
            since, until = span.since.timestamp(), span.until.timestamp()
            for number, moment in enumerate(moments):
                if since <= moment < until and span.weight > found.get(number, 0.0):
                    found[number] = span.weight
        return found


def read_question(
    text: str,
    words: Collection[str],
    *,
    authors: Mapping[str, Collection[str]],
    now: datetime,
) -> Question:
    """Read a question from its text, its words in the index, and the words of authors' names."""
    said = text.lower()
    named = {author: _naming(author, names, text) for author, names in authors.items()}
    speakers = [author for author, names in named.items() if not names.isdisjoint(words)]
    names = frozenset[str]().union(*named.values())
    return Question(
        words=tuple(word for word in words if word not in names),
        speaker=speakers[0] if len(speakers) == 1 else None if speakers else _role_named(said),
        wants_time=_WANTS_TIME.search(said) is not None,
        wants_number=_WANTS_NUMBER.search(said) is not None,
        wants_name=_WANTS_NAME.search(said) is not None,
        spans=tuple(span for span in _times(said, now) if span is not None),
    )


def _naming(author: str, names: Collection[str], text: str) -> frozenset[str]:
    """Return the index words of an author's name by which a text names the author.

    That is the whole name, or the first word of it: where "crew" is said, the Moving Crew is not
    named. "The final bill" is no Bill, nor is "bill" where other names have capitals.
    """
    parts = _WORD.findall(author.lower())
    if not parts:
        return frozenset()
    whole = r"\W+".join(map(re.escape, parts))
    if len(parts) > 1 and re.search(rf"\b{whole}\b", text.lower()):
        return frozenset(names)
    first = re.compile(rf"\b{re.escape(parts[0])}\b", re.IGNORECASE)
    small = _CAPITAL.search(text) is None
    is_named = any(
        found[0][0].isupper() or (small and not _THE.search(text[: found.start()]))
        for found in first.finditer(text)
    )
    return frozenset(name for name in names if is_named and name[:_STEM] == parts[0][:_STEM])


def _role_named(said: str) -> str | None:
    found = [
        role
        for role, words in _ROLE_WORDS.items()
        if any(re.search(rf"\b{word}\b", said) for word in words)
    ]
    return found[0] if len(found) == 1 else None


def _times(said: str, now: datetime) -> list[Span | None]:
    """Return the stretches of time that a text names, in UTC; None for a day that is none."""
    named = [int(year) for year in _YEAR.findall(said)]
    years = named[:1] or range(now.year - _YEARS_BACK, now.year + 2)
    months = {m[1] for pattern in (_MONTH_ONLY, _MONTH_YEAR) for m in pattern.finditer(said)}
    spans = [_day(int(y), int(m), int(d)) for y, m, d in _ISO.findall(said)]
    for match in _MONTH_DAY.finditer(said):
        name, day = match[1] or match[4], int(match[2] or match[3])
        months.add(name)
        spans += [_day(year, _MONTHS.index(name) + 1, day) for year in years]
    weight = _MONTH_OF_DAY if spans else _MONTH_ALONE
    spans += [_month(y, _MONTHS.index(name) + 1, weight) for name in months for y in years]
    if not spans:
        spans += [_whole_year(each) for each in named]
    return spans + _relative(said, now)


def _day(year: int, month: int, day: int) -> Span | None:
    try:
        moment = datetime(year, month, day, tzinfo=UTC)
        return Span(moment - _TOLD_BEFORE, moment + _TOLD_LATER, 2.0)
    except (ValueError, OverflowError):
        return None


def _month(year: int, month: int, weight: float) -> Span:
    following = (year + 1, 1) if month == len(_MONTHS) else (year, month + 1)
    return Span(datetime(year, month, 1, tzinfo=UTC), datetime(*following, 1, tzinfo=UTC), weight)


def _whole_year(year: int) -> Span:
    return Span(datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC), 1.0)


def _relative(said: str, now: datetime) -> list[Span | None]:
    """Read "yesterday", "last week" and "two months ago", as seen from now."""
    days = [
        (_DAYS[unit], int(_COUNTS.get(count, 0) or count)) for count, unit in _AGO.findall(said)
    ]
    days += [(1, 1)] * ("yesterday" in said)
    days += [(length, 1) for unit, length in _DAYS.items() if f"last {unit}" in said]
    return [
        Span(
            now - timedelta(days=length * (back + 0.5)),
            now - timedelta(days=length * (back - 0.5) - 1),
            2.0 if length <= _DAYS["week"] else 1.0,
        )
        for length, back in days
    ]
