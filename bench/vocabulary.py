"""The words of the generated log and how often each is said: a head, a Zipf tail, rare pairs.

Frequencies are shares of all messages that hold the word at least once, so that a benchmark knows
what it asks: at a million messages a `common` word has some 47,000 matches, two `hub` words
together have as many, and a `rare` word has a handful.
"""

import json
import random
from dataclasses import dataclass
from itertools import accumulate

HUB_SHARE = 0.188  # two together: 47,000 of a million, as long messages hold more of each
COMMON_SHARE = 0.047
TAIL_TOP_SHARE = 0.035
TAIL_FLATTENING = 40
RARE_MATCHES = (4, 60)  # at a million messages
LENGTHS = (2, 4, 6, 9, 11, 13, 16, 18, 20, 24, 28, 36)


def _words(listed: str) -> list[str]:
    return listed.split()


STOP = _words(
    "the the the to to you you a a and i we is it of for in on that your can have are this with be "
    "my do at will was if what from as there all or so"
)
HUB = _words("pickup today price house thank please time need")
COMMON = _words(
    "quote mattress couch truck gate garage photo address morning driveway stair basement yard "
    "fridge washer carpet sofa table chair lamp shed fence hot tub piano treadmill desk cabinet "
    "window invoice deposit card cash estimate crew saturday monday friday noon ladder tile brick "
    "concrete gravel lumber branch leaf stump paint freezer"
)
NAMES = _words(
    "Alma Bruno Carmen Dario Elsa Felix Greta Hugo Iris Jonas Kira Leo Mona Nils Olga Pia"
)
SURNAMES = _words(
    "Abel Brandt Cole Duran Ebert Finch Gallo Hale Ibarra Jensen Kerr Lund Moss Ortiz"
)
FIRST = _words(
    "ash bark bay birch bolt brook cedar clay cliff cloud coal copper cork corn crest dew dust elm "
    "fern flint fog fox frost glen gold grain hail hawk hazel heath hill horn iron ivy jade kelp "
    "lake lark lime linen lynx maple marsh mill mint moon moss north oak opal owl peak pearl pine "
    "plum pond quartz rain reed ridge river"
)
SECOND = _words(
    "arch band barn bath bell bird block board boat bowl brush cart cask clamp cloth cord crate "
    "crown drum farm field flag floor fork frame glass grip hatch hook jug keg kit knob latch loft "
    "mat nest panel path pipe plank plow pot rack rail rod roof rope sack seat sink slab"
)
RARE_COUNT = 240


@dataclass(frozen=True)
class Vocabulary:
    """Tokens with their cumulative weights; a rare token is a pair of words said together."""

    tokens: list[str]
    cumulative: list[float]
    rare: list[str]

    def listed(self) -> str:
        """Return what a benchmark needs to choose its queries, as JSON."""
        pairs = [pair.split() for pair in self.rare]
        kinds = {
            "hub": HUB,
            "common": COMMON,
            "rare": [word for pair in pairs for word in pair],
            "rare_pairs": pairs,
        }
        return json.dumps(kinds, indent=1)


def weight(share: float) -> float:
    """Return the chance of a word at each place that puts it into `share` of the messages."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        missing = sum((1 - middle) ** length for length in LENGTHS) / len(LENGTHS)
        low, high = (middle, high) if 1 - missing < share else (low, middle)
    return high


def vocabulary(*, said_share: float) -> Vocabulary:
    """Return the words; `said_share` is the part of the records that says anything at all."""
    order = random.Random(0)
    compounds = [first + second for first in FIRST for second in SECOND]
    order.shuffle(compounds)
    rare = [f"{compounds[i]} {compounds[i + 1]}" for i in range(0, RARE_COUNT, 2)]
    tail = compounds[RARE_COUNT:]
    low, high = RARE_MATCHES
    shares = dict.fromkeys(HUB, HUB_SHARE) | dict.fromkeys(COMMON, COMMON_SHARE)
    for rank, word in enumerate(tail):
        shares[word] = TAIL_TOP_SHARE * (TAIL_FLATTENING + 1) / (TAIL_FLATTENING + 1 + rank)
    for number, pair in enumerate(rare):
        shares[pair] = low * (high / low) ** (number / len(rare)) / 1_000_000
    weights = [weight(share / said_share) for share in shares.values()]
    rest = (1 - sum(weights)) / len(STOP)
    tokens = [*shares, *STOP]
    return Vocabulary(tokens, list(accumulate(weights + [rest] * len(STOP))), rare)
