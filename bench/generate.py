"""Write a believable audit log of any size, the same one for the same seed.

    python bench/generate.py --records 1000000 --per-lead 50 --seed 1 --out bench/data

makes three files: `audit.jsonl` (the log: leads interleaved as in a real one, about 330 bytes a
line), `leads.jsonl` (half of the leads belong to customers who come back, linked by a shared
messenger id, phone or e-mail in another spelling) and `words.json` (which words are how frequent,
for the search benchmark). Memory does not grow with the number of records.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from vocabulary import LENGTHS, NAMES, SURNAMES, Vocabulary, vocabulary

START = datetime(2024, 1, 1, tzinfo=UTC)
SPAN = timedelta(days=700)
WINDOW = 2_000  # leads that are being talked with at the same time
REMEMBERED = 20_000  # customers who may still come back
RETURNING = 0.5
EVENTS = 0.02
BLOCK = 5_000  # records whose words, ids and gaps are drawn at once
AREAS = (205, 212, 303, 305, 312, 404, 415, 503, 512, 602, 617, 702, 713, 737, 808, 919)
ACTIONS = ("stage_changed", "quote_created", "photo_received", "reminder_scheduled")


@dataclass(frozen=True)
class Customer:
    """The keys one person is known by, in their plainest spelling."""

    number: int
    name: str
    psid: str
    phone: str
    email: str


@dataclass
class Draw:
    """All chance comes from here, in blocks, because a call for each word would be slow."""

    rng: random.Random
    words: Vocabulary
    _ids: Iterator[str] = field(init=False, default_factory=lambda: iter(()))
    _words: Iterator[str] = field(init=False, default_factory=lambda: iter(()))

    def new_id(self) -> str:
        """Return a random UUID of version 4 as text."""
        for fresh in self._ids:
            return fresh
        self._ids = iter(self._fresh_ids())
        return next(self._ids)

    def _fresh_ids(self) -> list[str]:
        raw = self.rng.randbytes(16 * BLOCK).hex()
        parts = (raw[i : i + 32] for i in range(0, len(raw), 32))
        return [f"{r[:8]}-{r[8:12]}-4{r[13:16]}-a{r[17:20]}-{r[20:]}" for r in parts]

    def sentence(self, length: int) -> str:
        """Return `length` words of the vocabulary, in its frequencies."""
        said = list(islice(self._words, length))
        if len(said) < length:
            tokens = self.words.tokens
            drawn = self.rng.choices(tokens, cum_weights=self.words.cumulative, k=16 * BLOCK)
            self._words = iter(drawn)
            said += islice(self._words, length - len(said))
        return " ".join(said)


def phone_number(number: int) -> str:
    """Return the ten digits of the `number`-th customer: a possible number, never given twice."""
    rest, area = divmod(number, len(AREAS))
    exchange, subscriber = divmod(rest * 7 + 1_000, 10_000)
    return f"{AREAS[area]}{(220, 330, 440, 550, 660)[exchange % 5] + exchange // 5}{subscriber:04}"


def new_customer(number: int, rng: random.Random) -> Customer:
    """Return a person nobody has seen before."""
    first, last = rng.choice(NAMES), rng.choice(SURNAMES)
    return Customer(
        number=number,
        name=f"{first} {last}",
        psid=f"{6_000_000_000_000_000 + number * 7_919}",
        phone=phone_number(number),
        email=f"{first}.{last}.{number}@example.com".lower(),
    )


def respelled_phone(digits: str, rng: random.Random) -> str:
    """Return the same number as another person would type it."""
    a, b, c = digits[:3], digits[3:6], digits[6:]
    spellings = (f"({a}) {b}-{c}", f"+1{digits}", f"{a}-{b}-{c}", f"{a}.{b}.{c}", f"1 {a} {b} {c}")
    return rng.choice(spellings)


def lead_row(
    lead_id: str, customer: Customer, rng: random.Random, *, first: bool
) -> dict[str, object]:
    """Return a lead as the business lists it: all keys at first, later perhaps one of them."""
    shared = "all" if first else rng.choice(("all", "psid", "phone", "email"))
    channel = "messenger" if shared == "psid" or rng.random() < 0.5 else "sms"
    psid = customer.psid if channel == "messenger" and shared in {"all", "psid"} else None
    if first and psid is None:
        channel, psid = "messenger", customer.psid
    phone = respelled_phone(customer.phone, rng) if shared in {"all", "phone"} else None
    email = customer.email if shared in {"all", "email"} else None
    return {
        "id": lead_id,
        "channel": channel,
        "name": customer.name if first else rng.choice((customer.name, customer.name.lower())),
        "messenger_psid": psid,
        "phone": phone,
        "email": email.upper() if email and not first and rng.random() < 0.5 else email,
        "stage": rng.choice(("new", "quoted", "scheduled", "completed")),
        "state_metadata": {"items": rng.randrange(1, 9)},
    }


def leads(draw: Draw, count: int) -> Iterator[dict[str, object]]:
    """Yield the leads in the order of their first contact."""
    rng, known = draw.rng, list[Customer]()
    made = 0
    for _ in range(count):
        first = not known or rng.random() >= RETURNING
        if first:
            customer = new_customer(made, rng)
            slot = made % REMEMBERED
            known[slot : slot + 1] = [customer]
            made += 1
        else:
            customer = rng.choice(known)
        yield lead_row(draw.new_id(), customer, rng, first=first)


def shared_out(
    draw: Draw, records: int, per_lead: int
) -> Iterator[tuple[str, dict[str, object] | None]]:
    """Yield the lead id of each record in turn, with the lead's row where it speaks first."""
    rng = draw.rng
    count = -(-records // per_lead)
    coming = leads(draw, count)
    active: list[list[str]] = []  # a lead's id, once for each record it still has to say
    for _ in range(records):
        row = None
        if len(active) < min(WINDOW, max(1, count // 10)):
            row = next(coming, None)
            if row is not None:
                active.append([str(row["id"])] * per_lead)
        slot = len(active) - 1 if row else int(rng.random() * len(active))
        yield active[slot].pop(), row
        if not active[slot]:
            active[slot] = active[-1]
            active.pop()


def event_payload(draw: Draw) -> tuple[str, str]:
    """Return action and payload of something that happened without words."""
    rng = draw.rng
    action = rng.choice(ACTIONS)
    return action, f'{{"previous":1,"current":2,"reference":{rng.randrange(10**6)},"retry":false}}'


def said_payload(draw: Draw, text: str, *, incoming: bool) -> str:
    """Return the payload around `text`, in one of the shapes agents write."""
    shape = draw.rng.random()
    if incoming and shape < 0.05:
        about = draw.sentence(6)
        return f'{{"text":"{text}","attachments":[{{"type":"image","description":"{about}"}}]}}'
    if incoming:
        mid = draw.new_id()[:13]
        return f'{{"mid":"m_{mid}","text":"{text}"}}'
    if shape < 0.7:
        return f'{{"message":"{text}","model":"agent-7","tokens":{len(text)}}}'
    if shape < 0.85:
        return f'{{"content":"{text}","meta":{{"intent":"reply"}}}}'
    return f'{{"body":"{text}","status":"sent","segments":{1 + len(text) // 160}}}'


def record(draw: Draw, lead_id: str, moment: str) -> str:
    """Return one line of the log."""
    rng = draw.rng
    incoming = rng.random() < 0.5
    actor = "customer" if incoming else "agent"
    if rng.random() < EVENTS:
        action, payload = event_payload(draw)
    else:
        action = "message_received" if incoming else "message_sent"
        said = draw.sentence(rng.choice(LENGTHS))
        ending = rng.choice((".", ".", "?", "!", " 👍", "\\n", ""))
        payload = said_payload(draw, said[:1].upper() + said[1:] + ending, incoming=incoming)
    return (
        f'{{"id":"{draw.new_id()}","lead_id":"{lead_id}","actor":"{actor}","action":"{action}",'
        f'"payload":{payload},"created_at":"{moment}"}}\n'
    )


def iso(seconds: float) -> str:
    """Return a moment of the log in the form JavaScript writes it."""
    moment = START + timedelta(seconds=seconds)
    return f"{moment.isoformat(timespec='milliseconds')[:-6]}Z"


def write(out: Path, *, records: int, per_lead: int, seed: int) -> None:
    """Write the three files into `out`."""
    draw = Draw(random.Random(seed), vocabulary(said_share=1 - EVENTS))
    out.mkdir(parents=True, exist_ok=True)
    (out / "words.json").write_text(draw.words.listed(), encoding="utf-8")
    gap, clock = SPAN.total_seconds() / max(records, 1), 0.0
    with (
        (out / "audit.jsonl").open("w", encoding="utf-8", buffering=1 << 20) as log,
        (out / "leads.jsonl").open("w", encoding="utf-8") as listed,
    ):
        for lead_id, row in shared_out(draw, records, per_lead):
            clock += gap * (0.2 + 1.6 * draw.rng.random())
            if row is not None:
                row["created_at"] = iso(clock - 0.4)
                listed.write(json.dumps(row, separators=(",", ":")) + "\n")
            log.write(record(draw, lead_id, iso(clock)))


def main() -> None:
    """Read the arguments and say what was written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--per-lead", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("data"))
    wish = parser.parse_args()
    if min(wish.records, wish.per_lead) < 1:
        parser.error("--records and --per-lead count from 1")
    began = time.perf_counter()
    write(wish.out, records=wish.records, per_lead=wish.per_lead, seed=wish.seed)
    size = (wish.out / "audit.jsonl").stat().st_size
    print(
        f"{wish.records} records, {size / wish.records:.0f} bytes a line, "
        f"in {time.perf_counter() - began:.1f} s: {wish.out}"
    )


if __name__ == "__main__":
    main()
