"""Takes notes from what a business keeps beside its leads, as a run: planned, resumed, taken back.

A note's id follows from the lead, the path and the value, so that a second run adds none; where the
same is told in other words since, the note gets these. What a lead no longer says is superseded by
what it says now, or expires; what a person has confirmed or rejected stays as the person left it.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row

from backstory.errors import RunError
from backstory.extract.identity import derived_id
from backstory.memory.note_rules import Noted, Rules, notes_in, read_rules
from backstory.model import NoteStatus, RunMode
from backstory.runs.journey import add_run, do_pages, end_run, lead_run, resumable
from backstory.runs.progress import Listener, Stopwatch
from backstory.runs.run import Run, short_id
from backstory.store import notes as store
from backstory.store.backfill import lock_leads
from backstory.store.engine import Database, translated
from backstory.store.notes import NewNote, Reworded, Standing

EXTRACTOR = "state_metadata"
VERSION = "1"
AUDIT_ACTION = "take_notes"
_LEADS_AT_ONCE = 500
_NOBODY = uuid.UUID(int=0)


@dataclass
class NoteCounts:
    """What came of so many leads, in notes.

    `reopened` are said again after they had ended, `reworded` are told in other words than before.
    """

    leads: int = 0
    created: int = 0
    superseded: int = 0
    expired: int = 0
    reopened: int = 0
    reworded: int = 0
    kinds: dict[str, int] = field(default_factory=dict)

    def add(self, change: "Changes", leads: int) -> None:
        """Count what a page of leads came to."""
        self.leads += leads
        self.created += len(change.new)
        self.reopened += sum(each.status is NoteStatus.CANDIDATE for each in change.standing)
        self.superseded += sum(each.status is NoteStatus.SUPERSEDED for each in change.standing)
        self.expired += sum(each.status is NoteStatus.EXPIRED for each in change.standing)
        self.reworded += len(change.reworded)
        for note in change.new:
            self.kinds[note.kind.value] = self.kinds.get(note.kind.value, 0) + 1


@dataclass(frozen=True)
class NotesReport:
    """What a run did, or would do (no `run_id`); `contradictions` are topics, of all there is."""

    run_id: str | None
    mode: str
    leads: int
    created: int
    superseded: int
    expired: int
    reopened: int
    reworded: int
    kinds: dict[str, int]
    contradictions: int
    seconds_by_step: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return asdict(self)


# --- what a lead comes to --------------------------------------------------------------------


@dataclass(frozen=True)
class Changes:
    """Notes to be written, how others are to stand, and the words that others are told in now."""

    new: tuple[NewNote, ...]
    standing: tuple[Standing, ...]
    reworded: tuple[Reworded, ...]


def note_id(lead_id: uuid.UUID, noted: Noted) -> uuid.UUID:
    """Return the id of what a lead says of a topic."""
    return uuid.UUID(bytes=derived_id("note", lead_id.hex, *noted.origin))


def decide(
    leads: Iterable[Row[Any]],
    held: dict[uuid.UUID, list[Row[Any]]],
    rules: Rules,
    now: datetime,
) -> Changes:
    """Return what is to change so that notes say what their leads say now."""
    new: list[NewNote] = []
    standing: list[Standing] = []
    reworded: list[Reworded] = []
    for lead in leads:
        said = {note_id(lead.id, each): each for each in notes_in(lead.state_metadata, rules)}
        known = {row.id: row for row in held.get(lead.id, ())}
        since = now if known else lead.created_at
        new += [_new(key, lead.id, noted, since) for key, noted in said.items() if key not in known]
        standing += _ended(said, known.values(), now)
        standing += [
            Standing(row.id, NoteStatus.CANDIDATE)
            for row in known.values()
            if row.ended and row.id in said
        ]
        # What a person decided of a note was decided of what it says, not of our words before it.
        reworded += [
            Reworded(row.id, said[row.id].text)
            for row in known.values()
            if row.id in said and row.text != said[row.id].text
        ]
    return Changes(tuple(new), tuple(standing), tuple(reworded))


def _new(key: uuid.UUID, lead: uuid.UUID, noted: Noted, since: datetime | None) -> NewNote:
    return NewNote(
        id=key,
        lead_id=lead,
        topic=noted.topic,
        kind=noted.kind,
        text=noted.text,
        extracted_by=f"{EXTRACTOR}/{VERSION}",
        valid_from=since,
    )


def _ended(
    said: dict[uuid.UUID, Noted], known: Iterable[Row[Any]], now: datetime
) -> list[Standing]:
    """End candidates that their lead no longer says, in favour of what it says of the topic now."""
    now_said = {noted.topic: key for key, noted in said.items() if not noted.several}
    ended = []
    for row in known:
        if row.id not in said and row.status == NoteStatus.CANDIDATE:
            heir = now_said.get(row.topic)
            status = NoteStatus.SUPERSEDED if heir else NoteStatus.EXPIRED
            ended.append(Standing(row.id, status, heir, now))
    return ended


# --- the run ---------------------------------------------------------------------------------


def plan(connection: Connection, rules: Rules, now: datetime) -> NotesReport:
    """Return what a run would do; writes nothing. Contradictions are those of now."""
    counts = NoteCounts()
    after = _NOBODY
    while leads := store.next_leads(connection, after, limit=_LEADS_AT_ONCE):
        counts.add(decide(leads, _held(connection, leads), rules, now), len(leads))
        after = leads[-1].id
    return NotesReport(None, "plan", **asdict(counts), **_rest(connection, {}))


def _held(connection: Connection, leads: Sequence[Row[Any]]) -> dict[uuid.UUID, list[Row[Any]]]:
    return store.notes_of_leads(connection, [lead.id for lead in leads], EXTRACTOR)


def _rest(connection: Connection, seconds: dict[str, float]) -> dict[str, Any]:
    return {"contradictions": store.contradictions(connection), "seconds_by_step": seconds}


def start(
    database: Database, home: Path, rules: Rules, listener: Listener | None = None
) -> NotesReport:
    """Take notes from every lead; raise Interrupted when the run was paused or canceled."""
    with translated(), database.engine.begin() as connection:
        run_id = add_run(
            connection,
            home,
            mode=RunMode.NOTES,
            options={"rules": rules.as_json()},
            records=store.count_leads(connection),
            parts=1,
        )
    return lead_run(database, run_id, _steps, listener)


def resume(database: Database, reference: str, listener: Listener | None = None) -> NotesReport:
    """Continue a run that was paused, failed or killed, by the rules it began with."""
    run = resumable(database, reference, RunMode.NOTES)
    if "rules" not in run.options:
        raise RunError(f"Run {short_id(run.id)} takes no notes from leads.")
    return lead_run(database, run.id, _steps, listener)


def _steps(connection: Connection, run: Run, watch: Stopwatch) -> NotesReport:
    rules = read_rules(run.options["rules"])

    def page(
        after: uuid.UUID, counts: dict[str, Any]
    ) -> tuple[Sequence[uuid.UUID], dict[str, Any]]:
        return _page(connection, run, rules, after, counts)

    watch.begin("notes", total=run.records_read)
    counts = do_pages(connection, run, watch, page)
    watch.end()
    with connection.begin():
        told = NotesReport(
            str(run.id), RunMode.NOTES, **_counts(counts), **_rest(connection, watch.seconds)
        )
        end_run(connection, run, AUDIT_ACTION, report=told.as_json(), watch=watch)
    return told


def _page(
    connection: Connection,
    run: Run,
    rules: Rules,
    after: uuid.UUID,
    so_far: dict[str, Any],
) -> tuple[Sequence[uuid.UUID], dict[str, Any]]:
    """Take notes from the next leads; return which, and what is counted with them."""
    ids = [lead.id for lead in store.next_leads(connection, after, limit=_LEADS_AT_ONCE)]
    # From here on nobody else changes these leads, or gives them to another customer.
    lock_leads(connection, (each.bytes for each in ids))
    leads = store.leads_anew(connection, ids)
    change = decide(leads, _held(connection, leads), rules, run.created_at)
    store.add(connection, change.new, run_id=run.id)
    store.change(connection, change.standing, run_id=run.id)
    store.reword(connection, change.reworded, run_id=run.id)
    counts = NoteCounts(**_counts(so_far))
    counts.add(change, len(leads))
    return ids, asdict(counts) | {"records": counts.leads}


def _counts(counts: dict[str, Any]) -> dict[str, Any]:
    """Return the counts of notes; what is committed of a run has its records beside them."""
    return asdict(NoteCounts()) | {name: n for name, n in counts.items() if name != "records"}
