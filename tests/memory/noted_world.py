"""A database of a test's own with leads whose state says things, for tests of notes."""

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "backfill"))

from loaded_world import NOW, World, lead, record, talk

from backstory.memory import note_run
from backstory.memory.note_rules import load_rules
from backstory.memory.note_run import NotesReport

PHONE = {"phone": "512 555 0101"}
JANE = {"access": {"driveway_width": 42, "pets": ["cat"]}, "preferred_contact": "sms"}
JANE_BEFORE = {"access": {"driveway_width": 48, "pets": ["dog"]}, "preferred_contact": "sms"}
OTHER = {"preferred_contact": "email"}


def load(world: World, first: dict[str, Any], second: dict[str, Any]) -> str | None:
    """Load two leads of one customer and one of another; return the run's id."""
    leads = [
        lead("jane-1", state_metadata=first, **PHONE),
        lead("jane-2", state_metadata=second, **PHONE),
        lead("sam-1", state_metadata=OTHER),
    ]
    records = [*talk("jane-1", range(3)), *talk("jane-2", range(3, 5)), *talk("sam-1", [5, 6])]
    return world.load(records, leads).run_id


def take(world: World) -> NotesReport:
    return note_run.start(world.database, world.home, load_rules())


def told(world: World) -> dict[tuple[str, str], str]:
    """Return how every note stands, by lead and text."""
    rows = world.rows(
        "SELECT l.external_id, n.text, n.status FROM memory_notes n"
        " JOIN leads l ON l.id = n.source_lead_id"
    )
    return {(row[0], row[1]): row[2] for row in rows}


def id_of(world: World, name: str, words: str) -> str:
    """Return the id of a note by its lead and what it says."""
    return world.one(
        "SELECT CAST(n.id AS text) FROM memory_notes n JOIN leads l ON l.id = n.source_lead_id"
        " WHERE l.external_id = :name AND n.text = :words",
        name=name,
        words=words,
    )


__all__ = [
    "JANE",
    "JANE_BEFORE",
    "NOW",
    "OTHER",
    "World",
    "id_of",
    "load",
    "record",
    "take",
    "told",
]
