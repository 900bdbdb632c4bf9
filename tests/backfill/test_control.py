"""A run under way tells how far it is, hears what is wished of it, and goes on where it stopped."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dumps import comparable, differences, logical
from killable import Sizes
from loaded_world import World, lead, record
from sqlalchemy import Connection
from waiting import until

from backstory.backfill import control, finish, journey, manifest, read, work
from backstory.errors import Interrupted, RunError
from backstory.model import RunStatus, RunWish
from backstory.runs.progress import Listener, Progress
from backstory.runs.wish import heed
from backstory.search.text import SearchQuery, search_messages

LEADS = [lead(f"lead-{number}") for number in range(12)]
RECORDS = [record(number, f"lead-{number % 12}") for number in range(96)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the work small, so that there is something between two batches."""
    Sizes(partition_bytes=4000).apply(monkeypatch.setattr)


def once(step: str, done: int, act: Callable[[], object]) -> tuple[Listener, list[Progress]]:
    """Return a listener that acts once when so many records of a step are done; what it heard."""
    heard: list[Progress] = []
    acted: list[Progress] = []

    def listen(progress: Progress) -> None:
        heard.append(progress)
        if progress.step == step and progress.done >= done and not acted:
            acted.append(progress)
            act()

    return listen, heard


def wish(world: World, wanted: RunWish) -> Callable[[], None]:
    return lambda: world.run("UPDATE backfill_runs SET wish = :wish", wish=wanted.value)


def status(world: World) -> str:
    return str(world.one("SELECT status FROM backfill_runs"))


# --- progress --------------------------------------------------------------------------------


def test_progress_counts_committed_records_up_to_the_last(world: World) -> None:
    seen: list[tuple[int, int]] = []

    def listen(progress: Progress) -> None:
        if progress.step == "write":
            assert progress.total == 96
            seen.append((progress.done, world.one("SELECT count(*) FROM messages")))

    journey.start(world.database, world.home, world.options(RECORDS, LEADS), listen)
    assert all(told == written for told, written in seen)
    assert (seen[0], seen[-1]) == ((0, 0), (96, 96))
    assert seen == sorted(seen)
    assert len(seen) > 10


def test_a_run_does_not_go_on_from_working_files_of_another_form(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen, _ = once("write", 16, wish(world, RunWish.PAUSE))
    with pytest.raises(Interrupted):
        journey.start(world.database, world.home, world.options(RECORDS, LEADS), listen)
    monkeypatch.setattr(manifest, "SPILL_FORM", "another")
    with pytest.raises(RunError, match="another version of Backstory"):
        journey.resume(world.database, "last")
    assert status(world) == "paused"


def test_a_run_that_goes_on_tells_of_all_it_has_and_reckons_with_what_it_does_now(
    world: World,
) -> None:
    listen, _ = once("write", 16, wish(world, RunWish.PAUSE))
    with pytest.raises(Interrupted):
        journey.start(world.database, world.home, world.options(RECORDS, LEADS), listen)
    written = world.one("SELECT count(*) FROM messages")
    assert 16 <= written < 96
    listen, heard = once("", 0, lambda: None)
    journey.resume(world.database, "last", listen)
    told = [each for each in heard if each.step == "write"]
    assert {each.total for each in told} == {96}
    # It begins anew with nothing, before it has looked.
    assert [each.done for each in told][:2] == [0, written]
    done = [each.done for each in told[1:]]
    assert done == sorted(done)
    assert done[-1] == 96
    for each in told[1:]:
        assert each.before == written
        assert each.rate * each.seconds == pytest.approx(each.done - written)
    assert told[1].eta_seconds is None


# --- wishes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["read", "write"])
def test_a_wish_is_heard_within_a_second_in_either_pass(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(read, "_TICK_RECORDS", 1)
    monkeypatch.setattr(work, "_HEED_SECONDS", 0.0)
    asked: list[float] = []

    def ask() -> None:
        asked.append(time.monotonic())
        wish(world, RunWish.PAUSE)()

    listen, _ = once(step, 8, ask)
    with pytest.raises(Interrupted, match="pause"):
        journey.start(world.database, world.home, world.options(RECORDS, LEADS), listen)
    # Generous: the machine may be busy. Nothing waits for a whole pass, or for a lease.
    assert time.monotonic() - asked[0] < 5
    assert status(world) == "paused"
    assert world.one("SELECT count(*) FROM run_partitions WHERE status = 'claimed'") == 0
    report = journey.resume(world.database, "last")
    assert (report.messages_created, report.errors) == (96, [])


def at_look(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], *, at: int) -> list[int]:
    """Let linking look at every turn at what is wished, and act at one of them; count them."""
    looks = [0]

    def heeding(connection: Connection, run_id: uuid.UUID) -> Callable[[], None]:
        def look() -> None:
            looks[0] += 1
            if looks[0] == at:
                act()
            heed(connection, run_id)

        return look

    monkeypatch.setattr(journey, "heeding", heeding)
    return looks


@pytest.mark.parametrize("wanted", RunWish)
def test_a_wish_is_heard_wherever_leads_are_linked(
    world: World, monkeypatch: pytest.MonkeyPatch, wanted: RunWish
) -> None:
    leads = [lead(f"lead-{number}", phone="+1 512 555 0100") for number in range(12)]
    looks = at_look(monkeypatch, lambda: None, at=0)
    clean = world.load(RECORDS, leads)
    everywhere = looks[0]
    # At each row of both readings, when keys are followed, decided and written.
    assert everywhere > 2 * len(leads) + 8
    world.roll_back()
    options = world.options(RECORDS, leads)
    for at in range(1, everywhere + 1):
        at_look(monkeypatch, wish(world, wanted), at=at)
        with pytest.raises(Interrupted) as stopped:
            journey.start(world.database, world.home, options)
        assert world.one("SELECT count(*) FROM leads") == 0
        run = str(stopped.value.run_id)
        ended = {RunWish.PAUSE: "paused", RunWish.CANCEL: "canceled"}[wanted]
        assert world.one("SELECT status FROM backfill_runs WHERE id = :id", id=run) == ended
    monkeypatch.undo()
    if wanted is RunWish.PAUSE:
        assert comparable(journey.resume(world.database, run)) == comparable(clean)


def test_a_wish_is_heard_while_a_long_list_is_linked(world: World) -> None:
    leads = [lead(f"lead-{number}", email=f"{number}@example.com") for number in range(20_000)]
    options = world.options(RECORDS, leads)
    with ThreadPoolExecutor() as pool:
        going = pool.submit(journey.start, world.database, world.home, options)
        until(lambda: world.one("SELECT count(*) FROM backfill_runs") == 1)
        stopped = control.stop(world.database, "last", RunWish.PAUSE)
        with pytest.raises(Interrupted, match="pause"):
            going.result()
    assert stopped.status is RunStatus.PAUSED
    assert world.one("SELECT count(*) FROM leads") == 0


@pytest.mark.parametrize("wanted", RunWish)
def test_a_wish_that_comes_while_the_search_index_is_built_is_obeyed_afterwards(
    world: World, monkeypatch: pytest.MonkeyPatch, wanted: RunWish
) -> None:
    built = finish.ensure_search_index

    def build(connection: Connection) -> None:
        built(connection)
        monkeypatch.setattr(finish, "ensure_search_index", built)
        wish(world, wanted)()

    monkeypatch.setattr(finish, "ensure_search_index", build)
    with pytest.raises(Interrupted, match=wanted.value):
        journey.start(world.database, world.home, world.options(RECORDS, LEADS))
    if wanted is RunWish.CANCEL:
        assert status(world) == "canceled"
        assert list((world.home / "runs").iterdir()) == []
    else:
        assert status(world) == "paused"
        report = journey.resume(world.database, "last")
        assert (report.messages_created, report.errors) == (96, [])
    assert world.one("SELECT count(*) FROM messages") == 96
    assert world.verify(sample=12).ok


def test_a_run_may_be_paused_at_every_batch(world: World) -> None:
    clean = world.load(RECORDS, LEADS)
    with world.connection() as connection:
        before = logical(connection)
    world.roll_back()
    options = world.options(RECORDS, LEADS)
    pauses = 0
    report = None
    while report is None:
        done = world.one("SELECT count(*) FROM messages")
        listen, _ = once("write", done + 1, wish(world, RunWish.PAUSE))
        try:
            if pauses:
                report = journey.resume(world.database, "last", listen)
            else:
                report = journey.start(world.database, world.home, options, listen)
        except Interrupted:
            pauses += 1
    assert pauses > 5
    assert comparable(report) == comparable(clean)
    with world.connection() as connection:
        assert differences(before, logical(connection)) == []


def test_what_was_canceled_leaves_no_file_and_cannot_go_on(world: World) -> None:
    listen, _ = once("write", 8, wish(world, RunWish.CANCEL))
    with pytest.raises(Interrupted, match="cancel"):
        journey.start(world.database, world.home, world.options(RECORDS, LEADS), listen)
    assert status(world) == "canceled"
    assert list((world.home / "runs").iterdir()) == []
    assert world.one("SELECT to_regclass('messages_search_idx') IS NOT NULL")
    with pytest.raises(RunError, match="canceled"):
        journey.resume(world.database, "last")
    with pytest.raises(RunError, match="canceled"):
        control.stop(world.database, "last", RunWish.PAUSE)
    # The same backfill, started anew, writes only what is missing.
    there = world.one("SELECT count(*) FROM messages")
    report = world.load(RECORDS, LEADS)
    assert (report.messages_created, report.messages_duplicate) == (96 - there, there)
    assert world.verify(sample=12).ok


def test_a_paused_run_may_be_canceled(world: World) -> None:
    listen, _ = once("write", 8, wish(world, RunWish.PAUSE))
    with pytest.raises(Interrupted):
        journey.start(world.database, world.home, world.options(RECORDS, LEADS), listen)
    assert control.stop(world.database, "last", RunWish.CANCEL).status is RunStatus.CANCELED
    assert list((world.home / "runs").iterdir()) == []


# --- claims that are lost --------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["resume", "cancel"])
def test_a_first_load_that_stands_still_can_be_searched_and_says_when_it_gets_its_index(
    world: World, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(journey, "FIRST_LOAD_RECORDS", 10)
    said = []

    def look() -> None:
        said.extend(world.verify().failed)
        wish(world, RunWish.PAUSE)()

    listen, _ = once("write", 30, look)
    with pytest.raises(Interrupted) as stopped:
        journey.start(world.database, world.home, world.options(RECORDS, LEADS), listen)
    run = str(stopped.value.run_id)[:8]
    (gate,) = said
    assert gate.offenders[0].endswith(f"run {run}, a first load under way, builds it at its end")
    (gate,) = world.verify(sample=12).failed
    assert gate.name == "search_index_sound"
    assert "a first load that is paused, builds it at its end" in gate.offenders[0]
    assert f"`backstory {ending} {run}`" in gate.offenders[0]
    with world.connection() as connection:
        found = search_messages(connection, SearchQuery(text="message 0"))
    assert [hit.lead for hit in found.hits] == ["lead-0"]
    if ending == "resume":
        journey.resume(world.database, run)
    else:
        control.stop(world.database, run, RunWish.CANCEL)
    assert world.verify(sample=12).ok
    world.run("DROP INDEX messages_search_idx")
    (gate,) = world.verify().failed
    assert gate.offenders[0].endswith("the next backfill builds it")
    world.load(RECORDS, LEADS)
    assert world.verify().ok


def test_a_worker_that_lost_its_claim_between_two_batches_goes_on_with_another(
    world: World,
) -> None:
    clean = world.load(RECORDS, LEADS)
    world.roll_back()

    def steal() -> None:
        world.run(
            "UPDATE run_partitions SET fence = fence + 1, status = 'pending', backend_pid = NULL "
            "WHERE stage = 'write' AND status = 'claimed'"
        )

    listen, _ = once("write", 8, steal)
    options = world.options(RECORDS, LEADS)
    report = journey.start(world.database, world.home, options, listen)
    assert comparable(report) == comparable(clean)
    assert world.one("SELECT max(fence) FROM run_partitions WHERE stage = 'write'") >= 3


def test_a_run_that_was_ended_by_another_process_stops(world: World) -> None:
    def end() -> None:
        world.run("UPDATE backfill_runs SET status = 'canceled'")

    listen, _ = once("write", 8, end)
    with pytest.raises(RunError, match="canceled"):
        journey.start(world.database, world.home, world.options(RECORDS, LEADS), listen)
    assert status(world) == "canceled"
    assert world.one("SELECT count(*) FROM messages") < 96


# --- the keyboard ----------------------------------------------------------------------------

INTERRUPTED = """
import sys
from pathlib import Path
from killable import Sizes
from backstory.backfill import journey
from backstory.backfill.options import BackfillOptions
from backstory.errors import Interrupted
from backstory.store.engine import Database

if __name__ == "__main__":
    url, home, audit, leads = sys.argv[1:]
    Sizes(partition_bytes=1000).apply()
    options = BackfillOptions(audit=(audit,), leads=(leads,), workers=2)
    try:
        journey.start(Database.open(url, "backstory"), Path(home), options)
    except Interrupted as stopped:
        sys.exit(f"stopped: {stopped.wish}")
"""


def test_a_keyboard_interrupt_leaves_a_run_of_several_workers_paused(
    world: World, tmp_path: Path
) -> None:
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    world.run(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END $$",
        "CREATE TRIGGER slow AFTER INSERT ON messages EXECUTE FUNCTION slow()",
    )
    options = world.options(RECORDS, LEADS)
    process = subprocess.Popen(
        [sys.executable, script, world.database.url, world.home, *options.audit, *options.leads],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    until(lambda: world.one("SELECT count(*) FROM messages") >= 8)
    # As a terminal does it: to the whole group, the workers too.
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert "stopped: pause" in said
    assert "Traceback" not in said
    assert status(world) == "paused"
    assert 8 <= world.one("SELECT count(*) FROM messages") < 96
    world.run("DROP FUNCTION slow() CASCADE")
    report = journey.resume(world.database, "last")
    assert (report.messages_created, report.errors) == (96, [])
    assert world.verify(sample=12).ok
