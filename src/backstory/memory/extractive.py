"""Sums a conversation up in its own sentences: the same words always give the same summary.

A sentence counts by what it holds (a request, a price, a date, an address, a decision, a promise,
something to mind), by how many of its words the rest of the conversation takes up again, and by who
says it. The cues are English; of other languages words, digits and signs decide.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, groupby

from backstory.memory.quoting import plain
from backstory.model import Role

NAME = "extractive-1"
# What the context pack shows of a summary, less the marks around it.
MAX_CHARS = 560
_MOST_SENTENCES = 7
_SENTENCES_A_MESSAGE = 12
_SENTENCE_CHARS = 200
# Less room than this holds no other sentence.
_SHORTEST = 12
SPEAKERS = {
    Role.USER: "Customer",
    Role.ASSISTANT: "Agent",
    Role.SYSTEM: "System",
    Role.TOOL: "Tool",
}


@dataclass(frozen=True)
class Said:
    """What was said by whom; `captions` tell of pictures that came with it."""

    role: Role
    text: str
    captions: str | None = None


@dataclass(frozen=True)
class _Sentence:
    place: int
    message: int
    role: Role
    text: str
    words: frozenset[str]


def summarize(said: Sequence[Said], limit: int = MAX_CHARS) -> str:
    """Return up to `limit` characters of what matters in a talk, in its order; "" if it is silent.

    It holds what people wrote, on one line, without control and invisible characters: data still.
    """
    every = list(_sentences(said))
    sentences = list(compress(every, _closed([each.text for each in every])))
    telling = [each for each in sentences if not _says_nothing(each)] or sentences[:1]
    scores = _scores(telling, messages=len(said))
    chosen = _chosen(telling, scores, limit)
    return _rendered(sorted(chosen, key=lambda each: each.place), limit)


# --- sentences --------------------------------------------------------------------------------

_END = re.compile(r"(?<=[.!?\u2026\u3002\uff01\uff1f])[\"')\]]*\s+|\s*[\r\n]+\s*")
# A dot behind these ends no sentence: always, and where no capital follows.
_TITLE = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|No|Apt|Ste|approx|e\.g|i\.e)\.$", re.IGNORECASE)
_SHORT = re.compile(r"\b(?:St|Ave|Rd|Blvd|Ln|Ct|[ap]\.m|min|hrs?|etc|Inc)\.$", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]{4,}")
_COMMON = frozenset((
    "about", "after", "also", "away", "because", "been", "before", "being", "come", "could",
    "does", "doing", "done", "down", "each", "else", "even", "every", "from", "gets", "give",
    "going", "good", "great", "have", "haven", "here", "into", "just", "know", "like", "little",
    "long", "look", "made", "make", "many", "maybe", "mine", "more", "most", "much", "need",
    "okay", "only", "other", "over", "please", "really", "right", "said", "same", "should",
    "some", "something", "sorry", "still", "such", "sure", "take", "tell", "than", "thank",
    "thanks", "that", "thats", "their", "them", "then", "there", "these", "they", "thing",
    "think", "this", "those", "time", "today", "very", "want", "wants", "well", "were", "what",
    "when", "where", "which", "while", "will", "with", "would", "yeah", "your", "yours",
))  # fmt: skip


def _sentences(said: Sequence[Said]) -> Iterator[_Sentence]:
    place = 0
    for message, each in enumerate(said):
        parts = list(_split(each.text))[:_SENTENCES_A_MESSAGE]
        if each.captions:
            parts.append(f"(picture: {plain(each.captions, _SENTENCE_CHARS - 12)})")
        for part in parts:
            text = plain(part, _SENTENCE_CHARS)
            if text:
                yield _Sentence(place, message, each.role, text, _words(text))
                place += 1


def _split(text: str) -> Iterator[str]:
    """Yield the sentences of a text; what an abbreviation cut apart stays together."""
    held = ""
    for piece in _END.split(text[: _SENTENCES_A_MESSAGE * _SENTENCE_CHARS]):
        held = f"{held} {piece}" if held else piece
        following = text[text.find(piece) + len(piece) :].lstrip()[:1]
        if _TITLE.search(held) or (_SHORT.search(held) and not following.isupper()):
            continue
        yield held
        held = ""
    if held:
        yield held


def _words(text: str) -> frozenset[str]:
    """Return the words that may be taken up again, without the endings of plurals."""
    found = (word.lower() for word in _WORD.findall(text))
    return frozenset(word.removesuffix("s") for word in found if word not in _COMMON)


# --- what counts ------------------------------------------------------------------------------

_I = re.IGNORECASE
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_STREETS = "st|street|ave|avenue|rd|road|blvd|boulevard|ln|lane|dr|drive|ct|court|way|pl|place|hwy"
_ASK = re.compile(
    r"\?$|\b(?:need|needs|want|wants|would like|i'd like|looking for|looking to|can you|could you"
    r"|do you|is it possible|how much|how soon|interested in|help me|help with)\b",
    _I,
)
_PRICE = re.compile(
    r"[$\u20ac\u00a3\u00a5]\s?\d"
    r"|\b\d[\d.,]*\s?(?:usd|eur|gbp|dollars?|euros?|bucks|\u20ac|per hour)",
    _I,
)
_TIME = re.compile(
    r"\b(?:(?:mon|tues|wednes|thurs|fri|satur|sun)days?|tomorrow|tonight|next week|this week|noon"
    rf"|\d{{1,2}}(?::\d\d)?\s?[ap]\.?m\b|\d{{1,2}}:\d\d|(?:{_MONTHS})[a-z]*\.? \d{{1,2}}(?!\d)"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?(?: of)? (?:{_MONTHS})[a-z]*|\d{{4}}-\d\d-\d\d"
    r"|\d{1,2}/\d{1,2})\b",
    _I,
)
_ADDRESS = re.compile(
    rf"\b\d{{1,6}} (?:[\w'.-]+ ){{1,4}}(?:{_STREETS})\b|\b[A-Z]{{2}} \d{{5}}\b", _I
)
_DECISION = re.compile(
    r"\b(?:book(?:ed|ing)?|confirm(?:ed|s)?|schedul(?:e|ed)|go ahead|let'?s (?:do|go|book|take)"
    r"|works for (?:me|us)|deal|agreed?|cancel(?:l?ed|l?ing)?|resched\w+|accept(?:ed)?|approved?"
    r"|paid|declin\w+|instead|changed? (?:my|our) mind|all set|completed?|picked up"
    r"|on (?:my|our) way)\b",
    _I,
)
_PROMISE = re.compile(
    r"\b(?:i|we)(?:'ll| will| shall|'re going to| are going to)\b"
    r"|\bour (?:crew|team|driver) will\b",
    _I,
)
_TO_MIND = re.compile(
    r"\b(?:gate|codes?|dogs?|cats?|keys?|park(?:ing)?|stairs|elevator|basement|allerg\w+|careful"
    r"|must|do not|don'?t|cannot|can'?t|never|always|only|except|call (?:me )?(?:first|before)"
    r"|fragile)\b",
    _I,
)
# Cue, weight, and by whom it counts: what an agent asks says little of the customer.
_BOTH = frozenset(Role)
_CUES: tuple[tuple[re.Pattern[str], float, frozenset[Role]], ...] = (
    (_ASK, 2.0, frozenset({Role.USER})),
    (_PRICE, 2.2, _BOTH),
    (_TIME, 1.4, _BOTH),
    (_ADDRESS, 2.0, _BOTH),
    (_DECISION, 1.6, _BOTH),
    (_PROMISE, 1.2, frozenset({Role.ASSISTANT, Role.SYSTEM})),
    (_TO_MIND, 1.2, frozenset({Role.USER})),
)
_CENTRAL = 2.0
_ROLES = {Role.USER: 1.15, Role.ASSISTANT: 1.0, Role.SYSTEM: 0.6, Role.TOOL: 0.5}
_FIRST_REQUEST, _OUTCOME, _LAST_MESSAGES = 1.2, 0.6, 4
_AGENT_ASKS = 0.35
_EMPTY = re.compile(
    r"(?:hi|hello|hey|dear|good (?:morning|afternoon|evening)|thanks?|thank you|you'?re welcome|ok"
    r"|okay|great|perfect|awesome|cool|sure|yes|yeah|yep|no|nope|bye|have a (?:great|good|nice)"
    r"|how can i help|how may i help|what can i|let me know|any(?:thing)? else|is there anything"
    r"|feel free|no problem|no worries|my pleasure|lol|haha|sounds good|see you)\b",
    _I,
)
_EMPTY_WORDS = 6
# What opens a door is told after the customer's yes only: it has no place in a summary.
_OPENS = re.compile(
    r"\b(?:codes?|pin|passcode|password|combo|combination|lock ?box|key ?pad|alarm)\b", _I
)
_HARMLESS = re.compile(r"\b(?:zip|area|postal|promo|discount|country) codes?\b", _I)
_DIGIT = re.compile(r"\d")
# A request may begin politely, a closing phrase may be long: what it holds decides.
_TELLING = (_PRICE, _TIME, _ADDRESS, _DECISION)


def opens_a_door(text: str) -> bool:
    """Tell whether a sentence may hold a code, a PIN or a password."""
    return bool(_OPENS.search(text) and _DIGIT.search(text))


def tells_a_code(text: str) -> bool:
    """Tell the same, but pass over codes that open nothing: a ZIP code, a discount's."""
    return opens_a_door(_HARMLESS.sub("", text))


def without_codes(text: str) -> str:
    """Return a text without the sentences that may open a door."""
    sentences = list(_split(text))
    return " ".join(compress(sentences, _closed(sentences)))


def _closed(sentences: Sequence[str]) -> Iterator[bool]:
    """Tell of each sentence whether it opens no door; a code may stand behind what asks for it."""
    asked = False
    for each in sentences:
        yield not (opens_a_door(each) or (asked and _DIGIT.search(each)))
        asked = not _DIGIT.search(each) and bool(_OPENS.search(_HARMLESS.sub("", each)))


def _says_nothing(sentence: _Sentence) -> bool:
    """Tell whether a sentence is a greeting, thanks, a bare yes, or a phrase of courtesy."""
    if any(cue.search(sentence.text) for cue in _TELLING):
        return False
    count = len(sentence.text.split())
    if _EMPTY.match(sentence.text):
        return count <= _EMPTY_WORDS or sentence.role is not Role.USER
    return count == 1 and not sentence.words


def _scores(sentences: Sequence[_Sentence], *, messages: int) -> list[float]:
    held = Counter(word for each in sentences for word in each.words)
    central = [_centrality(each, held) for each in sentences]
    most = max(central, default=0.0) or 1.0
    scores = [
        (_cues(each) + _CENTRAL * share / most) * _weight(each)
        + (_OUTCOME if each.message >= messages - _LAST_MESSAGES else 0.0)
        for each, share in zip(sentences, central, strict=True)
    ]
    for place, each in enumerate(sentences):
        if each.role is Role.USER and _ASK.search(each.text):
            scores[place] += _FIRST_REQUEST
            break
    return scores


def _centrality(sentence: _Sentence, held: Counter[str]) -> float:
    shared = sum(math.log(held[word]) for word in sentence.words)
    return shared / math.sqrt(len(sentence.words) + 1)


def _cues(sentence: _Sentence) -> float:
    return sum(
        weight
        for cue, weight, roles in _CUES
        if sentence.role in roles and cue.search(sentence.text)
    )


def _weight(sentence: _Sentence) -> float:
    asks = sentence.role is not Role.USER and sentence.text.endswith("?")
    return _ROLES[sentence.role] * (_AGENT_ASKS if asks else 1.0)


# --- the choice -------------------------------------------------------------------------------


def _chosen(sentences: Sequence[_Sentence], scores: Sequence[float], limit: int) -> list[_Sentence]:
    """Return the best sentences that fit, each worth the less the more of it is said already."""
    left = dict(zip(sentences, scores, strict=True))
    told, chosen = set[str](), list[_Sentence]()
    texts, room = set[str](), limit
    while left and len(chosen) < _MOST_SENTENCES and room > _SHORTEST:
        best = max(left, key=lambda each: (left[each] * (1 - _repeats(each, told)), -each.place))
        del left[best]
        cost = len(best.text) + len(SPEAKERS[best.role]) + 4
        if best.text.lower() in texts or cost > room:
            continue
        chosen.append(best)
        texts.add(best.text.lower())
        told |= best.words
        room -= cost
    return chosen


def _repeats(sentence: _Sentence, told: set[str]) -> float:
    if not sentence.words:
        return 0.0
    return 0.7 * len(sentence.words & told) / len(sentence.words)


def _rendered(sentences: Iterable[_Sentence], limit: int) -> str:
    told = [
        f"{SPEAKERS[role]}: {' '.join(_ended(each.text) for each in some)}"
        for role, some in groupby(sentences, key=lambda each: each.role)
    ]
    return plain(" ".join(told), limit)


def _ended(text: str) -> str:
    return f"{text}." if text[-1:].isalnum() else text
