"""Reads a file of long dialogues of the shape of LoCoMo, however carefully it was written.

What cannot be read is left out and counted on stderr, so that one odd session does not cost the
figures of all others.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_EVIDENCE = re.compile(r"D:?(\d+):(\d+)")
_SESSION = re.compile(r"session_(\d{1,9})")
# Turns of a session have no times of their own.
_BETWEEN_TURNS = timedelta(seconds=30)
_BETWEEN_SESSIONS = timedelta(days=1)
# Where a dialogue names no date at all.
_BEGUN = datetime(2023, 1, 1, 12, tzinfo=UTC)
_YEARS = range(1900, 3000)


@dataclass(frozen=True)
class Turn:
    """One turn of a dialogue; `name` is unique in it, as `D3:12`."""

    name: str
    speaker: str
    text: str
    caption: str
    at: datetime


@dataclass(frozen=True)
class Question:
    """A question and the turns that answer it."""

    text: str
    category: int
    evidence: frozenset[str]


@dataclass(frozen=True)
class Dialogue:
    """A dialogue, which becomes a customer, and its questions; `lead` is the id it goes by."""

    lead: str
    turns: tuple[Turn, ...]
    questions: tuple[Question, ...]


def read_dialogues(path: Path) -> list[Dialogue]:
    """Return the dialogues of a file; questions without a turn that is there are left out.

    Says on stderr what else could not be read, how often.
    """
    held = json.loads(path.read_text(encoding="utf-8"))
    samples = held if isinstance(held, list) else [held]
    reader = _Reader()
    found = [reader.dialogue(sample, number) for number, sample in enumerate(samples, 1)]
    for odd, times in sorted(reader.odd.items()):
        sys.stderr.write(f"{path.name}: {odd}: {times}\n")
    return [dialogue for dialogue in found if dialogue]


def turn_names(written: str) -> list[str]:
    """Return the turns named in a string that may hold several, as `D8:6; D9:17`."""
    return [f"D{int(session)}:{int(turn)}" for session, turn in _EVIDENCE.findall(written)]


@dataclass
class _Reader:
    """Reads what it can, and counts in `odd` what it cannot."""

    odd: Counter[str] = field(default_factory=Counter)

    def dialogue(self, sample: Any, number: int) -> Dialogue | None:
        """Return a dialogue, None for one in which nothing is said."""
        held = sample if isinstance(sample, dict) else {}
        talk = held.get("conversation")
        turns = tuple(self._turns(talk)) if isinstance(talk, dict) else ()
        if not turns:
            self.odd["dialogues without a turn, left out"] += 1
            return None
        names = {turn.name for turn in turns}
        asked = held.get("qa")
        questions = [self._question(each) for each in (asked if isinstance(asked, list) else ())]
        kept = [
            Question(q.text, q.category, q.evidence & names)
            for q in questions
            if q and q.evidence & names
        ]
        return Dialogue(f"dialogue-{number}", turns, tuple(kept))

    def _turns(self, talk: dict[str, Any]) -> Iterator[Turn]:
        sessions = {int(m[1]): key for key in talk if (m := _SESSION.fullmatch(key))}
        keys = [sessions[number] for number in sorted(sessions)]
        known = [self._moment(talk.get(f"{key}_date_time")) for key in keys]
        last, seen = _before(known), set[str]()
        for key, dated in zip(keys, known, strict=True):
            began = last = dated or last + _BETWEEN_SESSIONS
            for place, given in enumerate(self._listed(talk[key])):
                last = began + place * _BETWEEN_TURNS
                turn = self._turn(given, last)
                if turn and turn.name in seen:
                    self.odd["turns under a name that is taken, left out"] += 1
                elif turn:
                    seen.add(turn.name)
                    yield turn

    def _listed(self, session: Any) -> list[Any]:
        if session is None or isinstance(session, list):
            return session or []
        self.odd["sessions that are no list of turns, left out"] += 1
        return []

    def _turn(self, given: Any, at: datetime) -> Turn | None:
        held = given if isinstance(given, dict) else {}
        name, speaker = _text(held.get("dia_id")), _text(held.get("speaker"))
        if not name or not speaker:
            self.odd["turns without a dia_id or a speaker, left out"] += 1
            return None
        text, caption = _text(held.get("text")), _text(held.get("blip_caption"))
        return Turn((turn_names(name) or [name])[0], speaker, text, caption, at)

    def _moment(self, written: Any) -> datetime | None:
        """Read a time as `1:56 pm on 8 May, 2023`, or as ISO 8601 has it."""
        said = written.strip() if isinstance(written, str) else ""
        for read in (_spoken, datetime.fromisoformat):
            try:
                moment = read(said)
            except ValueError:
                continue
            if moment.year in _YEARS:
                return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        self.odd["sessions without a date, told after the session before"] += 1
        return None

    def _question(self, asked: Any) -> Question | None:
        held = asked if isinstance(asked, dict) else {}
        text, category = held.get("question"), held.get("category")
        if text is None or not _text(str(text)):
            self.odd["questions without words, left out"] += 1
            return None
        try:
            number = int(category)
        except (TypeError, ValueError, OverflowError):
            self.odd["questions without a category, left out"] += 1
            return None
        evidence = held.get("evidence") or []
        listed = evidence if isinstance(evidence, list) else [evidence]
        names = frozenset(name for written in listed for name in turn_names(str(written)))
        return Question(str(text), number, names)


def _before(known: list[datetime | None]) -> datetime:
    """Return when the session before the first would have been, so that undated ones lead on."""
    for place, dated in enumerate(known):
        if dated:
            return dated - (place + 1) * _BETWEEN_SESSIONS
    return _BEGUN - _BETWEEN_SESSIONS


def _spoken(written: str) -> datetime:
    return datetime.strptime(written, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)


def _text(given: Any) -> str:
    """Return a text as it is, "" for what is none or blank."""
    return given if isinstance(given, str) and given.strip() else ""
