"""What the tests of live writing share: events in one line, and the rows they leave."""

from typing import Any

from loaded_world import BEGUN, World, record

from backstory.live.reading import LiveOptions
from backstory.live.record import record_event, record_events
from backstory.live.writing import Recorded

# What a backfill and live writing say differently of the same, by table.
OTHERWISE = (
    "leads.source",
    "audit_log.seq",
    "messages.seq",
    # Where it stood, and which bytes: a line of a file, or an event.
    *("skips.position", "quarantine.position", "quarantine.options", "conflicts.position"),
)


def told(number: int, lead: str = "lead-1", /, **said: Any) -> dict[str, Any]:
    """Return an event whose transport says this of the lead."""
    return record(number, lead) | {"lead": said}


def record_one(world: World, event: Any, **options: Any) -> Recorded:
    return record_event(world.database, event, options=LiveOptions(**options))


def record_all(world: World, events: Any, **options: Any) -> list[Recorded]:
    return record_events(world.database, events, options=LiveOptions(**options))


def outcomes(recorded: list[Recorded]) -> list[str]:
    return [each.outcome.value for each in recorded]


def texts(world: World, lead: str = "lead-1") -> list[list[str]]:
    """Return what was said in each conversation of a lead, in order."""
    rows = world.rows(
        "SELECT c.ordinal, m.content FROM conversations c JOIN leads l ON l.id = c.lead_id"
        " LEFT JOIN messages m ON m.conversation_id = c.id WHERE l.external_id = :lead"
        ' ORDER BY c.ordinal, m.created_at, m.seq, m.audit_id COLLATE "C"',
        lead=lead,
    )
    found: dict[int, list[str]] = {}
    for ordinal, content in rows:
        found.setdefault(ordinal, [])
        if content is not None:
            found[ordinal].append(content)
    return list(found.values())


def customers(world: World) -> list[list[str]]:
    """Return which leads are one customer."""
    rows = world.rows(
        "SELECT array_agg(external_id ORDER BY external_id) FROM leads GROUP BY customer_id"
    )
    return sorted(row[0] for row in rows)


__all__ = [
    "BEGUN",
    "OTHERWISE",
    "World",
    "customers",
    "outcomes",
    "record",
    "record_all",
    "record_one",
    "texts",
    "told",
]
