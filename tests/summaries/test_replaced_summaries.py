"""A run that replaces summaries of others gives them back when it is taken back."""

import itertools
from typing import Any
from uuid import UUID

import pytest
from loaded_world import World, differences, lead, record

from backstory import erasure
from backstory.memory import summaries
from backstory.memory.summary_writers import Extractive, Written
from backstory.store.summaries import of_run

LEADS = [lead("ann", phone="512 555 0101", email="ann@example.com"), lead("bob"), lead("eve")]
LOG = [
    record(1, "ann", payload={"text": "I need a sofa hauled."}),
    record(2, "ann", payload={"text": "A sofa is $80.00."}),
    record(3, "bob", payload={"text": "How much for a piano?"}),
    record(5, "eve", action="quote_sent", payload={"total": 5}),
]


class Told(Extractive):
    """A writer that says its own name, and more."""

    def __init__(self, name: str, more: str = "") -> None:
        self.name, self.more = name, more

    def write(self, said: Any) -> Written:
        del said
        return Written(f"By {self.name}.{self.more}", self.name)


@pytest.fixture
def loaded(world: World) -> World:
    world.load(LOG, LEADS)
    summaries.start(world.database, world.home, Extractive())
    return world


def replace(world: World, name: str, more: str = "") -> str:
    return summaries.start(world.database, world.home, Told(name, more)).run_id


def back(world: World, run: str) -> int:
    return summaries.rollback(world.database, run)


def said_by(world: World) -> dict[str, str | None]:
    return dict(
        world.rows(
            "SELECT l.external_id, s.made_by FROM leads l JOIN conversations c ON c.lead_id = l.id"
            " LEFT JOIN conversation_summaries s ON s.conversation_id = c.id"
        )
    )


def remembered(world: World) -> int:
    return int(
        world.one("SELECT count(*) FROM run_changes WHERE table_name = 'conversation_summaries'")
    )


def test_what_a_run_replaced_is_there_again_to_the_letter(loaded: World) -> None:
    before = loaded.dump()
    run = replace(loaded, "big")
    assert set(said_by(loaded).values()) == {"big"}
    assert loaded.verify(sample=10).ok
    with loaded.connection() as connection:
        assert of_run(connection, UUID(run)) == (0, 3)
    assert back(loaded, run) == 3
    assert differences(before, loaded.dump()) == {}
    assert remembered(loaded) == 0
    (told,) = loaded.rows("SELECT payload FROM audit_log WHERE action = 'rollback_summarize'")
    assert told[0]["restored"] == {"conversation_summaries": 3}
    assert loaded.verify(sample=10).ok


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_runs_are_taken_back_in_any_order(world: World, order: tuple[int, ...]) -> None:
    """What stands is always of the last run that stands, and in the end nothing does."""
    world.load(LOG, LEADS)
    runs = [replace(world, name) for name in "abcd"]
    standing = dict(zip("abcd", runs, strict=True))
    for place in order:
        name = "abcd"[place]
        back(world, standing.pop(name))
        last = max(standing, default=None)
        assert set(said_by(world).values()) == {last}
        texts = {row[0] for row in world.rows("SELECT summary FROM conversations")}
        assert texts == {last and f"By {last}."}
    assert remembered(world) == 0


def test_a_summary_that_is_not_true_any_more_does_not_come_back(loaded: World) -> None:
    run = replace(loaded, "big")
    loaded.run(
        "UPDATE conversation_summaries s SET first_message_id = last_message_id, messages = 1",
        "DELETE FROM messages WHERE audit_id = 'a-1'",
    )
    assert back(loaded, run) == 3
    assert said_by(loaded) == {"ann": None, "bob": "extractive-1", "eve": "extractive-1"}
    assert "summaries_agree" not in {gate.name for gate in loaded.verify().failed}


def test_one_that_lacks_only_what_was_said_since_comes_back(loaded: World) -> None:
    later = loaded.load([record(7, "ann", payload={"text": "Friday, then."})])
    run = replace(loaded, "big")
    assert back(loaded, run) == 3
    assert said_by(loaded)["ann"] == "extractive-1"
    assert summaries.start(loaded.database, loaded.home, Extractive()).written == 1
    # What was replaced here tells of the load, which goes.
    replace(loaded, "big")
    loaded.roll_back(later.run_id)
    assert "Friday" not in str(loaded.rows("SELECT before FROM run_changes"))
    assert loaded.verify().ok


def test_a_load_goes_with_all_that_is_remembered_of_it(world: World) -> None:
    empty = world.dump()
    load = world.load(LOG, LEADS)
    replace(world, "a")
    replace(world, "b")
    world.roll_back(load.run_id)
    assert remembered(world) == 0
    assert differences(empty, world.dump()) == {}


def test_an_erasure_takes_what_was_replaced_and_what_others_told_of_her(loaded: World) -> None:
    replace(loaded, "big", " Ask ann@example.com.")
    run = replace(loaded, "bigger")
    her = loaded.one("SELECT customer_id FROM leads WHERE external_id = 'ann'")
    report = erasure.erase(loaded.database, her, home=loaded.home)
    assert report.proof.clean, report.proof.left
    assert report.removed["run_changes"] == 2
    assert "ann@" not in str(loaded.rows("SELECT before FROM run_changes"))
    assert back(loaded, run) == 2
    # Without its text a summary is none.
    assert said_by(loaded) == {"bob": None, "eve": None}
    assert loaded.verify().ok
