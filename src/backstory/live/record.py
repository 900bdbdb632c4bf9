"""Appends audit events as they happen, each projected at once into its lead's conversation."""

from collections.abc import Iterable

from backstory.live.reading import Event, EventReader, LiveOptions
from backstory.live.writing import Recorded, Writer
from backstory.store.engine import Database


def record_event(
    database: Database, event: Event, *, options: LiveOptions | None = None
) -> Recorded:
    """Record one event, committed when this returns; the same event again is a duplicate.

    An event is a line of the audit log, as text or as the object in it: id, lead_id, actor, action,
    payload, created_at. Its `lead`, an object of channel, messenger_psid, phone, email, name,
    stage, state_metadata, created_at, says what the transport knows for sure of the lead: it
    creates, updates and links it. Raises UsageError for what is no JSON, Transient (the same event
    may be given again, as it may after a lost connection) or a database error.
    """
    return record_events(database, [event], options=options)[0]


def record_events(
    database: Database, events: Iterable[Event], *, options: LiveOptions | None = None
) -> list[Recorded]:
    """Record events in one transaction; return what became of each, in their order.

    A bad event spoils none of the others: see `Writer.write`.
    """
    options = options or LiveOptions()
    read = EventReader(options)
    return Writer(database.engine.begin, options).write([read(event) for event in events])
