"""An agent by script, in place of a model: what a good one calls next, told what came of it.

It serves the returning customer of `backstory demo`, who writes again. The modules beside this one
give it the shapes of the SDKs, so that the examples run without a network and without a key.
"""

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

LEAD = "c1283308-5e67-55c8-ac93-b32792d4d790"
CUSTOMER = (
    "Hi, it's Joanie again. Same place as last time, one old couch. Saturday morning?",
    "Yes, that's the one. Nine works.",
)

Step = str | tuple[str, dict[str, Any]]


class Agent:
    """Answers with the next step: a text for the customer, or a tool's name and arguments."""

    def __init__(self) -> None:
        self._steps = _talk()
        self._begun = False

    def next(self, told: dict[str, Any] | None) -> Step:
        """Return the next step; `told` is what the last call came to, None after a text."""
        if told is not None and "message" in told:
            raise RuntimeError(told["message"])
        value, self._begun = (told if self._begun else None), True
        return self._steps.send(value)


def _talk() -> Generator[Step, Any, None]:
    found = yield "memory_fetch_candidates", {"query": CUSTOMER[0]}
    meant = next(each for each in found["candidates"] if each["address"])
    yield f"Welcome back! Is it {meant['address']} again?"
    yes = {"candidate_ids": [meant["candidate_id"]]}
    yield "memory_confirm_context", yes
    line1, city, rest = meant["address"].split(", ")
    region, postal_code = rest.split()
    place = {"line1": line1, "city": city, "region": region, "postal_code": postal_code}
    kept = yield "add_address", place
    start = datetime.now(UTC).replace(hour=14, minute=0, second=0, microsecond=0)
    start += timedelta(days=1 + (4 - start.weekday()) % 7)
    job = yield (
        "create_job",
        {
            "title": "Couch pickup",
            "address_id": kept["address"]["address_id"],
            "scheduled_start": start.isoformat(),
            "scheduled_end": (start + timedelta(hours=2)).isoformat(),
        },
    )
    job_id = job["job"]["job_id"]
    couch = {"job_id": job_id, "kind": "item", "name": "Couch", "unit_price_cents": 9900}
    yield "add_job_item", couch
    said = {"job_id": job_id, "event_type": "confirmed", "note": "Nine in the morning"}
    booked = (yield "record_job_event", said)["job"]
    yield f"Booked: job {booked['job_number']}, {booked['address']}."
