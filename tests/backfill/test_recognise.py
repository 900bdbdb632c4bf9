"""A log that was loaded whole is known again and not read twice; any doubt has it read anew."""

from dataclasses import replace

import pytest
from dumps import comparable
from loaded_world import World, lead, record, talk

from backstory.backfill import journey, recognise
from backstory.backfill.options import BackfillOptions
from backstory.backfill.plan import plan
from backstory.errors import Interrupted
from backstory.live.record import record_event
from backstory.runs.run import get_run

LEADS = [lead("lead-1", phone="512 555 0101"), lead("lead-2")]
# Duplicates, blanks and strangers included: none of these turns out otherwise another day.
RECORDS = [
    *talk("lead-1", range(10)),
    *talk("lead-2", range(10, 20)),
    record(1),
    record(30, actor="robot"),
    record(31, payload={}),
]


@pytest.fixture
def asked(world: World) -> BackfillOptions:
    """A log that was loaded once, and the way to ask for it again."""
    options = world.options(RECORDS, LEADS)
    journey.start(world.database, world.home, options)
    return options


def known_from(world: World) -> str | None:
    """Return the run that the newest one was filled in from."""
    with world.connection() as connection:
        return get_run(connection, "last").findings.get(recognise.KNOWN_FROM)


def test_the_same_log_again_says_what_reading_it_would_and_changes_no_row(
    world: World, asked: BackfillOptions
) -> None:
    read = plan(world.database, world.home, asked)
    before = world.dump()
    again = journey.start(world.database, world.home, asked)
    assert known_from(world)
    assert comparable(again) == comparable(read)
    assert again.messages_duplicate == 21
    assert again.skipped_by_reason == {"unknown_actor": 1, "no_text": 1}
    assert world.dump() == before
    assert world.verify().ok


def test_a_third_time_is_known_from_the_first(world: World, asked: BackfillOptions) -> None:
    for _ in range(2):
        again = journey.start(world.database, world.home, asked)
    assert known_from(world)
    assert again.messages_duplicate == 21


def test_the_name_of_the_file_and_the_workers_do_not_matter(world: World) -> None:
    world.load(RECORDS, LEADS)
    world.load(RECORDS, LEADS, workers=2)
    assert known_from(world)


def test_another_byte_is_read(world: World, asked: BackfillOptions) -> None:
    more = world.load([*RECORDS, record(40)], LEADS)
    assert not known_from(world)
    assert more.messages_created == 1
    del asked


def test_another_way_to_read_is_read(world: World, asked: BackfillOptions) -> None:
    other = journey.start(world.database, world.home, replace(asked, unknown_actor="system"))
    assert not known_from(world)
    assert other.messages_created == 1


@pytest.mark.parametrize(
    ("damage", "created"),
    [
        (
            (
                "DELETE FROM messages WHERE audit_id = 'a-3';"
                "DELETE FROM audit_log WHERE audit_id = 'a-3'"
            ),
            1,
        ),
        ("UPDATE audit_log SET payload_hash = '\\x00' WHERE audit_id = 'a-3'", 0),
    ],
)
def test_a_row_that_is_gone_or_another_means_that_the_log_is_read(
    world: World, asked: BackfillOptions, damage: str, created: int
) -> None:
    world.run(*damage.split(";"))
    mended = journey.start(world.database, world.home, asked)
    assert not known_from(world)
    assert mended.messages_created == created
    assert mended.messages_conflicting == 1 - created


def test_what_was_left_open_is_looked_at_again(world: World) -> None:
    """A lead that no list held may be on this one; a conflict may be the first of its id now."""
    stranger = [*RECORDS, record(50, "lead-3")]
    assert world.load(stranger, LEADS).skipped_by_reason["lead_not_found"] == 1
    later = world.load(stranger, [*LEADS, lead("lead-3")])
    assert not known_from(world)
    assert later.messages_created == 1


def test_a_rolled_back_load_is_loaded_anew(world: World, asked: BackfillOptions) -> None:
    world.roll_back()
    again = journey.start(world.database, world.home, asked)
    assert not known_from(world)
    assert again.messages_created == 20


def test_events_that_came_since_do_not_hinder(world: World, asked: BackfillOptions) -> None:
    record_event(world.database, record(60))
    journey.start(world.database, world.home, asked)
    assert known_from(world)


def test_a_run_that_was_filled_in_and_killed_goes_on_to_its_report(
    world: World, asked: BackfillOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(journey, "finish", die)
        with pytest.raises(Interrupted):
            journey.start(world.database, world.home, asked)
    assert journey.resume(world.database, "last").messages_duplicate == 21
    assert world.verify().ok
