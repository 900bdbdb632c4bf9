"""A language model proposes notes over real HTTP; what it cannot quote is refused."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from noted_world import NOW, World, id_of, record
from scripted_model import Script, scripted_model
from sqlalchemy import Engine

from backstory.errors import ModelError, UsageError
from backstory.memory import notes
from backstory.memory.chat import Chat, ChatSettings
from backstory.memory.proposing import INSTRUCTION, Proposals, propose
from backstory.store.engine import Database


@pytest.fixture
def world(engine: Engine, database_url: str, tmp_path) -> World:
    world = World(Database(database_url, "backstory", engine), tmp_path)
    world.load(
        [
            record(1, payload={"text": "Please ring the bell twice, my\n mother is deaf"}),
            record(2, payload={"text": "Of course, we will ring the bell twice"}),
            record(3, payload={"text": "ok"}),
        ]
    )
    return world


@pytest.fixture
def script() -> Iterator[Script]:
    with scripted_model() as server:
        yield server


GOOD = {
    "message": 1,
    "quote": "my mother is deaf",
    "kind": "constraint",
    "note": "Ring the bell twice: the customer's mother is deaf.",
}


def ask(world: World, script: Script, *entries: Any) -> Proposals:
    script.says = json.dumps(entries)
    return _ask(world, script)


def _ask(world: World, script: Script) -> Proposals:
    settings = ChatSettings(script.url, "a-model")
    customer: UUID = world.one("SELECT id FROM customers")
    return propose(world.database, world.home, Chat(settings), customer)


def test_a_proposal_that_quotes_its_message_becomes_a_candidate(world, script):
    told = ask(world, script, GOOD)
    assert (told.proposed, told.created, told.refused) == (1, 1, ())
    (note,) = world.rows(
        "SELECT n.*, m.audit_id FROM memory_notes n"
        " JOIN messages m ON m.id = n.source_message_ids[1]"
    )
    assert (note.status, note.kind, note.text) == ("candidate", "constraint", GOOD["note"])
    assert (note.audit_id, note.extracted_by) == ("a-1", "a-model@127.0.0.1/1")
    assert note.quotation == "my mother is deaf"
    assert str(note.run_id) == told.run_id
    assert world.verify().ok
    (asked,) = script.asked
    instruction, talk = (each["content"] for each in asked["messages"])
    assert instruction == INSTRUCTION
    assert talk.splitlines() == [
        "1 customer: Please ring the bell twice, my mother is deaf",
        "2 business: Of course, we will ring the bell twice",
        "3 customer: ok",
    ]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (GOOD | {"quote": "my mother is blind"}, "not in the message"),
        (GOOD | {"quote": "MY MOTHER is deaf"}, "not in the message"),
        (GOOD | {"quote": "deaf"}, "fewer than 8"),
        (GOOD | {"quote": None}, "fewer than 8"),
        (GOOD | {"message": 2, "quote": "ring the bell twice"}, "did not say"),
        (GOOD | {"message": 3}, "not in the message"),
        (GOOD | {"message": 4}, "names no message"),
        (GOOD | {"message": True}, "names no message"),
        (GOOD | {"kind": "summary"}, "its kind"),
        (GOOD | {"note": " "}, "says nothing"),
        (GOOD | {"note": "The customer is owed a refund of 500 dollars."}, "says a number"),
        ("words", "says nothing"),
    ],
)
def test_a_proposal_that_cannot_be_looked_up_is_refused(world, script, entry, reason):
    told = ask(world, script, entry, GOOD)
    assert (told.proposed, told.created) == (2, 1)
    (refusal,) = told.refused
    assert reason in refusal.reason


def test_a_note_says_no_number_that_its_quotation_does_not_hold(world, script):
    world.load([record(5, payload={"text": "I paid $1,200.00 for 15 doors on 2026-05-01"})])
    quoted = {"message": 4, "kind": "fact", "quote": "I paid $1,200.00 for 15 doors on 2026-05-01"}
    held = ["Paid 1200 dollars on 1 May 2026.", "Bought 15 doors.", "Paid for doors."]
    others = ["Paid 200 dollars.", "Bought 6 doors.", "Paid 1,200.50 dollars."]
    told = ask(world, script, *(quoted | {"note": note} for note in [*held, *others]))
    assert told.created == len(held)
    assert [each.note for each in told.refused] == others


def test_the_same_proposal_again_is_no_second_note_and_no_decision_is_undone(world, script):
    ask(world, script, GOOD)
    notes.reject(world.database, id_of(world, "lead-1", GOOD["note"]), by="staff", now=NOW)
    before = world.dump()
    assert ask(world, script, GOOD).created == 0
    assert world.dump() == before


def test_a_run_of_proposals_can_be_taken_back(world, script):
    before = world.dump()
    told = ask(world, script, GOOD)
    assert world.roll_back(told.run_id).removed == {"memory_notes": 1}
    assert world.dump() == before


@pytest.mark.parametrize("says", ["I am sorry", "{}", "[{]", "]["])
def test_an_answer_that_is_no_list_fails_the_run_and_writes_no_note(world, script, says):
    script.says = says
    with pytest.raises(ModelError, match="JSON array"):
        _ask(world, script)
    assert world.one("SELECT status FROM backfill_runs WHERE mode = 'notes'") == "failed"
    assert world.one("SELECT count(*) FROM memory_notes") == 0


def test_words_around_the_list_do_no_harm(world, script):
    script.says = f"Here it is:\n```json\n{json.dumps([GOOD])}\n```"
    assert _ask(world, script).created == 1


def test_nobody_is_asked_about_a_customer_who_said_nothing(world, script):
    settings = ChatSettings(script.url, "a-model")
    with pytest.raises(UsageError, match="said nothing"):
        propose(world.database, world.home, Chat(settings), UUID(int=0))
    assert script.asked == []


# --- answers that no model should give -------------------------------------------------------


def test_an_answer_of_odd_shapes_is_refused_entry_by_entry(world, script):
    odd = [GOOD | {"kind": []}, GOOD | {"kind": {}}, GOOD | {"message": True}, GOOD | {"quote": []}]
    told = ask(world, script, *odd, None, 7, [], "text")
    assert (told.proposed, told.created, len(told.refused)) == (8, 0, 8)
    assert world.one("SELECT status FROM backfill_runs WHERE mode = 'notes'") == "done"


def test_brackets_in_the_prose_around_an_answer_are_not_the_answer(world, script):
    script.says = f"Sure [see below]: {json.dumps([GOOD])} [end]"
    assert _ask(world, script).created == 1


@pytest.mark.parametrize("said", ["[{" * 30_000, "my mother is deaf", "[{]"])
def test_what_a_model_says_instead_of_an_answer_is_not_kept(world, script, said):
    script.says = said
    with pytest.raises(ModelError, match="JSON array"):
        _ask(world, script)
    kept = world.one("SELECT error FROM backfill_runs WHERE mode = 'notes'")
    assert kept == "The model did not answer with a JSON array."


def test_a_quotation_may_be_of_the_words_as_they_were_shown(world, script):
    world.load([record(5, payload={"text": 'the sign says "no\u200b trucks" there'})])
    quoted = {"message": 4, "kind": "constraint", "note": "No trucks."}
    told = ask(
        world,
        script,
        quoted | {"quote": "says 'no trucks' there"},
        quoted | {"quote": 'says "no\u200b trucks" there', "note": "Not for trucks."},
        quoted | {"quote": "says no trucks there", "note": "Trucks may not."},
    )
    assert (told.created, len(told.refused)) == (2, 1)


def test_what_opens_a_door_is_no_note_whoever_proposes_it(world, script):
    world.load([record(5, payload={"text": "the gate code is 4471, my zip code is 78704"})])
    code = {"message": 4, "kind": "fact", "quote": "the gate code is 4471", "note": "The way in."}
    plain = {"message": 4, "kind": "fact", "quote": "my zip code is 78704", "note": "In 78704."}
    told = ask(world, script, code, plain)
    assert told.created == 1
    assert [each.reason for each in told.refused] == ["it may open a door"]


def test_an_answer_without_end_is_none(world, script):
    script.says = "x" * 100_001
    with pytest.raises(ModelError, match="far too many"):
        _ask(world, script)
