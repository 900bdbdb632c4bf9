"""Notes: taken from leads by a run, reviewed by people, and never overwritten without a word."""

from uuid import UUID

import pytest
from noted_world import JANE, JANE_BEFORE, NOW, OTHER, World, id_of, load, take, told
from sqlalchemy import Engine

from backstory.errors import Interrupted, RunError, UsageError
from backstory.extract.identity import derived_id
from backstory.memory import note_run, notes
from backstory.memory.note_rules import load_rules
from backstory.model import NoteStatus
from backstory.runs import run as runs
from backstory.runs.run import RunWish
from backstory.store.engine import Database
from backstory.store.notes import list_notes


@pytest.fixture
def world(engine: Engine, database_url: str, tmp_path) -> World:
    return World(Database(database_url, "backstory", engine), tmp_path)


FIRST = {
    ("jane-1", "driveway width: 42"): "candidate",
    ("jane-1", "pets: cat"): "candidate",
    ("jane-1", "preferred contact: sms"): "candidate",
    ("jane-2", "preferred contact: email"): "candidate",
    ("sam-1", "preferred contact: email"): "candidate",
}


# --- the run ---------------------------------------------------------------------------------


def test_notes_carry_kind_source_and_validity_and_begin_as_candidates(world):
    load(world, JANE, OTHER)
    report = take(world)
    assert told(world) == FIRST
    assert (report.leads, report.created) == (3, 5)
    assert report.kinds == {"constraint": 2, "preference": 3}
    rows = world.rows(
        "SELECT n.kind, n.topic, n.extracted_by, n.valid_from = l.created_at,"
        " n.customer_id = l.customer_id, CAST(n.run_id AS text), n.valid_until"
        " FROM memory_notes n JOIN leads l ON l.id = n.source_lead_id WHERE n.text LIKE 'pets%'"
    )
    assert [tuple(row) for row in rows] == [
        ("constraint", "access.pets[]", "state_metadata/1", True, True, report.run_id, None)
    ]
    assert world.verify().ok


def test_a_plan_says_what_a_run_does_and_writes_nothing(world):
    load(world, JANE_BEFORE, OTHER)
    take(world)
    load(world, JANE, OTHER)
    before = world.dump()
    with world.connection() as connection:
        planned = note_run.plan(connection, load_rules(), NOW)
    assert world.dump() == before
    done = take(world)
    for name in ("leads", "created", "superseded", "expired", "reopened", "reworded", "kinds"):
        assert getattr(planned, name) == getattr(done, name), name
    assert planned.run_id is None


def test_a_second_run_changes_no_row(world):
    load(world, JANE, OTHER)
    take(world)
    before = world.dump()
    report = take(world)
    assert (report.created, report.superseded, report.expired, report.reopened) == (0, 0, 0, 0)
    assert world.dump() == before


def test_a_later_state_supersedes_or_ends_what_it_no_longer_says(world):
    load(world, JANE_BEFORE, OTHER)
    take(world)
    load(world, JANE, OTHER)
    report = take(world)
    assert told(world) == FIRST | {
        ("jane-1", "driveway width: 48"): "superseded",
        # One of several: nothing takes its place.
        ("jane-1", "pets: dog"): "expired",
    }
    assert (report.created, report.superseded, report.expired) == (2, 1, 1)
    old, new = (id_of(world, "jane-1", f"driveway width: {width}") for width in (48, 42))
    row = world.rows(
        "SELECT CAST(superseded_by_id AS text), valid_until FROM memory_notes"
        " WHERE CAST(id AS text) = :old",
        old=old,
    )[0]
    assert row[0] == new
    assert row[1] is not None
    load(world, JANE_BEFORE, OTHER)
    assert take(world).reopened == 2
    assert told(world)["jane-1", "driveway width: 48"] == "candidate"
    assert told(world)["jane-1", "driveway width: 42"] == "superseded"


def test_what_a_person_decided_stays_as_the_person_left_it(world):
    load(world, JANE_BEFORE, OTHER)
    take(world)
    db = world.database
    notes.confirm(db, id_of(world, "jane-1", "driveway width: 48"), by="staff", now=NOW)
    notes.reject(db, id_of(world, "jane-1", "pets: dog"), by="staff", now=NOW)
    load(world, JANE, OTHER)
    take(world)
    load(world, JANE_BEFORE, OTHER)
    take(world)
    assert told(world)["jane-1", "driveway width: 48"] == "confirmed"
    assert told(world)["jane-1", "pets: dog"] == "rejected"


@pytest.mark.parametrize("twice", [False, True])
def test_a_rollback_leaves_the_notes_as_they_were(world, *, twice):
    load(world, JANE_BEFORE, OTHER)
    if twice:
        take(world)
        load(world, JANE, OTHER)
    before = world.dump()
    run = take(world).run_id
    assert world.dump() != before
    assert world.roll_back(run).removed == {"memory_notes": 2 if twice else 5}
    assert world.dump() == before


def test_a_note_that_a_person_touched_blocks_the_rollback_of_its_run(world):
    load(world, JANE, OTHER)
    run = take(world).run_id
    notes.confirm(
        world.database, id_of(world, "sam-1", "preferred contact: email"), by="s", now=NOW
    )
    (blocker,) = world.plan_rollback(run).blockers
    assert (blocker.name, blocker.count) == ("notes", 1)
    with pytest.raises(RunError, match="notes"):
        world.roll_back(run)
    assert world.roll_back(run, force=True).forced == {"notes": 1}
    assert told(world) == {}


def test_a_run_that_is_asked_to_pause_goes_on_where_it_stood(world, monkeypatch):
    load(world, JANE, OTHER)
    monkeypatch.setattr(note_run, "_LEADS_AT_ONCE", 1)

    def pause(progress):
        if progress.done == 1:
            with world.connection() as connection:
                runs.wish(connection, runs.get_run(connection, "last"), RunWish.PAUSE)

    with pytest.raises(Interrupted):
        note_run.start(world.database, world.home, load_rules(), pause)
    assert 0 < len(told(world)) < len(FIRST)
    later = []
    report = note_run.resume(world.database, "last", later.append)
    assert told(world) == FIRST
    assert report.created == 5
    # What was done before it was paused does not count for its rate.
    assert {each.before for each in later[1:]} == {1}


# --- what an earlier version noted -----------------------------------------------------------

NESTED = {"warranty": {"until": "2026-01-01"}, "gateWidth": 48}
# As version 1 told these, by the text of now.
FORMERLY = {"warranty until: 2026-01-01": "until: 2026-01-01", "gate width: 48": "gateWidth: 48"}


def take_as_formerly(world: World) -> None:
    take(world)
    for now, then in FORMERLY.items():
        world.run("UPDATE memory_notes SET text = :then WHERE text = :now", now=now, then=then)


def test_a_note_is_the_same_note_when_it_is_told_in_other_words(world):
    load(world, NESTED, OTHER)
    take_as_formerly(world)
    ids = {then: id_of(world, "jane-1", then) for then in FORMERLY.values()}
    # As version 1 made them of path and text.
    assert ids["gateWidth: 48"] == str(
        UUID(bytes=derived_id("note", lead_of(world).hex, "gateWidth", "gateWidth: 48"))
    )
    notes.confirm(world.database, ids["gateWidth: 48"], by="staff", now=NOW)
    before = world.dump()
    report = take(world)
    assert (report.reworded, report.created, report.superseded, report.expired) == (2, 0, 0, 0)
    assert {id_of(world, "jane-1", now): now for now in FORMERLY} == {
        ids[then]: now for now, then in FORMERLY.items()
    }
    assert told(world)["jane-1", "gate width: 48"] == "confirmed"
    assert told(world)["jane-1", "warranty until: 2026-01-01"] == "candidate"
    assert take(world).reworded == 0
    world.roll_back(report.run_id)
    assert world.dump() == before


def lead_of(world: World) -> UUID:
    return world.one("SELECT id FROM leads WHERE external_id = 'jane-1'")


# --- contradictions --------------------------------------------------------------------------


def test_contacts_of_one_customer_who_disagree_are_shown(world):
    load(world, JANE, OTHER)
    assert take(world).contradictions == 1
    with world.connection() as connection:
        found = list_notes(connection, contradicted=True)
    assert {each.text for each in found} == {"preferred contact: sms", "preferred contact: email"}
    assert {each.lead for each in found} == {"jane-1", "jane-2"}
    assert all(len(each.others) == 1 for each in found)


def test_keys_are_compared_in_words(world):
    load(world, {"gateWidth": 48, "pets": "cat"}, {"gate_width": 50, "Pets": "cat"})
    assert take(world).contradictions == 1
    with world.connection() as connection:
        found = list_notes(connection, contradicted=True)
    assert {each.text for each in found} == {"gate width: 48", "gate width: 50"}


def test_of_two_that_disagree_only_one_can_be_confirmed(world):
    load(world, JANE, OTHER)
    take(world)
    sms, email = (
        id_of(world, *said)
        for said in (("jane-1", "preferred contact: sms"), ("jane-2", "preferred contact: email"))
    )
    notes.confirm(world.database, sms, by="staff", now=NOW)
    with pytest.raises(UsageError, match="says otherwise"):
        notes.confirm(world.database, email, by="staff", now=NOW)
    assert told(world)["jane-2", "preferred contact: email"] == "candidate"
    notes.reject(world.database, sms, by="staff", now=NOW)
    notes.confirm(world.database, email, by="staff", now=NOW)
    assert told(world)["jane-2", "preferred contact: email"] == "confirmed"


# --- reviewing -------------------------------------------------------------------------------


def test_a_person_puts_words_in_the_place_of_a_note(world):
    load(world, JANE, OTHER)
    take(world)
    old = id_of(world, "jane-1", "driveway width: 42")
    new = notes.supersede(world.database, old[:8], "  Driveway is\n48 inches ", by="staff", now=NOW)
    with world.connection() as connection:
        (note,) = list_notes(connection, status=NoteStatus.CONFIRMED)
        (ended,) = list_notes(connection, status=NoteStatus.SUPERSEDED)
    assert (note.id, note.text, note.extracted_by) == (new, "Driveway is 48 inches", "person:staff")
    assert note.topic == "access.driveway width"
    assert (str(ended.id), ended.superseded_by_id) == (old, new)
    # The lead still says what it said; that does not bring the note back.
    assert take(world).reopened == 0
    assert told(world)["jane-1", "driveway width: 42"] == "superseded"


def test_every_decision_is_written_down_by_ids_alone(world):
    load(world, JANE, OTHER)
    take(world)
    note = id_of(world, "jane-1", "pets: cat")
    notes.confirm(world.database, note, by="staff", now=NOW)
    notes.reject(world.database, note, by="staff", now=NOW)
    rows = world.rows(
        "SELECT action, payload FROM audit_log WHERE log = 'backstory' AND action LIKE 'note%'"
        " ORDER BY received_at, action"
    )
    assert {row[0] for row in rows} == {"note_confirmed", "note_rejected"}
    assert all(row[1]["note"] == note for row in rows)
    assert not any("cat" in str(row[1]) for row in rows)


def test_a_wrong_reference_and_a_wrong_way_are_refused(world):
    load(world, JANE, OTHER)
    take(world)
    note = id_of(world, "jane-1", "pets: cat")
    with pytest.raises(UsageError, match="There is no note"):
        notes.confirm(world.database, "ffffffffff", by="staff", now=NOW)
    with pytest.raises(UsageError, match="Several notes"):
        notes.confirm(world.database, "", by="staff", now=NOW)
    notes.supersede(world.database, note, "two cats", by="staff", now=NOW)
    with pytest.raises(UsageError, match="it cannot become confirmed"):
        notes.confirm(world.database, note, by="staff", now=NOW)
    with pytest.raises(UsageError, match="1 to 500"):
        notes.supersede(world.database, note, " ", by="staff", now=NOW)
