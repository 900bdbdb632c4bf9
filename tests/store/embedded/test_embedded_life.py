"""The embedded server starts once, keeps its promises to its clients, and ends after them."""

import contextlib
import os
import stat
import time
from pathlib import Path

import psycopg
import pytest
from embedded_world import (
    CLIENT,
    OURSELVES,
    User,
    ask,
    listens,
    place_of,
    seconds_until,
    watchers,
)
from sqlalchemy import create_engine, text

from backstory.store import embedded


def test_six_first_starts_at_once_share_one_server(user: User, home: Path) -> None:
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(user.popen(CLIENT, home, 1)) for _ in range(6)]
        urls = [p.stdout.readline().strip() for p in processes if p.stdout]
        assert len({*urls}) == 1
        assert urls[0].startswith("postgresql://")
        answers = {ask(url, "SELECT system_identifier FROM pg_control_system()") for url in urls}
        assert len(answers) == 1
        for process in processes:
            out, _ = process.communicate()
            assert out == ""
            assert process.returncode == 0


def test_start_stop_start_keeps_the_data(ours: Path) -> None:
    with embedded.start(ours, linger=1) as lease:
        ask(lease.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        assert embedded.status(ours).running
    assert embedded.stop(ours) is True
    stopped = embedded.status(ours)
    assert (stopped.running, stopped.initialised, stopped.url) == (False, True, None)
    assert embedded.stop(ours) is False
    with embedded.start(ours, linger=1) as lease:
        assert ask(lease.url, "SELECT answer FROM kept") == 42
        found = embedded.status(ours)
        assert found.url == lease.url
        assert found.version.startswith("18.")
        assert found.size_bytes is not None
        assert found.size_bytes > 20_000_000
        assert found.log_file.exists()


def test_a_second_start_says_nothing_and_uses_the_running_server(home: Path) -> None:
    said: list[str] = []
    with embedded.start(home, linger=1, on_progress=said.append) as first:
        assert any("once" in sentence for sentence in said)
        said.clear()
        with embedded.start(home, linger=1, on_progress=said.append) as second:
            assert second.url == first.url
        assert said == []
        assert ask(first.url, "SELECT 1") == 1


def test_the_address_serves_sqlalchemy_whatever_port_the_environment_names(
    ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    with embedded.start(ours, linger=1) as lease:
        engine = create_engine(lease.url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.connect() as connection:
            answer = connection.execute(text("SELECT current_database() || ' ' || current_user"))
            assert answer.scalar_one() == "backstory backstory"
        engine.dispose()


def test_the_settings_are_safe_and_ours(ours: Path) -> None:
    expected = {
        "fsync": "on",
        "full_page_writes": "on",
        "listen_addresses": "",
        "timezone": "UTC",
        "work_mem": "32MB",
        "max_wal_size": "4GB",
        "server_encoding": "UTF8",
        "password_encryption": "scram-sha-256",
    }
    with embedded.start(ours, linger=1) as lease:
        assert {name: ask(lease.url, f"SHOW {name}") for name in expected} == expected
        auth = "SELECT string_agg(DISTINCT auth_method, ' ') FROM pg_hba_file_rules"
        assert ask(lease.url, auth) == "scram-sha-256"
        collation = "SELECT datlocale FROM pg_database WHERE datname = current_database()"
        assert ask(lease.url, collation) == "C.UTF-8"


def test_a_statement_that_fails_leaves_its_customer_out_of_the_log(ours: Path) -> None:
    with embedded.start(ours, linger=1) as lease:
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            ask(lease.url, "SELECT 'Maria Kowalski'::int")
        assert "Kowalski" not in place_of(ours).log.read_text()


def test_an_older_pgvector_inside_is_brought_up_to_the_binaries(ours: Path) -> None:
    version = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
    with embedded.start(ours, linger=1) as lease:
        ask(lease.url, "CREATE EXTENSION vector")
        newest = ask(lease.url, version)
        ask(lease.url, "UPDATE pg_extension SET extversion = '0.8.5' WHERE extname = 'vector'")
        embedded.stop(ours)
    with embedded.start(ours, linger=1) as lease:
        assert ask(lease.url, version) == newest
        assert newest != "0.8.5"


def test_a_killed_client_frees_its_lease_and_the_server_stops_after_the_linger(
    user: User, used: Path
) -> None:
    with user.client(used, linger=0.8) as (url, process):
        place = Path(ask(url, "SHOW data_directory")).parent
        assert len(watchers(place)) == 1
        time.sleep(1.6)
        assert listens(url), "a lease must outlast the linger"
        process.kill()
        process.wait()
        assert seconds_until(lambda: not listens(url)) > 0.6
    seconds_until(lambda: not watchers(place))
    assert (place / "data" / "postmaster.pid").exists() is False, "it was stopped in good order"


def test_the_address_of_a_finished_process_stays_good_while_it_is_used(ours: Path) -> None:
    with OURSELVES.client(ours, linger=1) as (url, process):
        process.communicate()
    for _ in range(3):  # visits that are over before anybody looks
        time.sleep(0.6)
        assert ask(url, "SELECT 1") == 1
    with psycopg.connect(url) as connection:  # and a session that does nothing
        time.sleep(1.8)
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert seconds_until(lambda: not listens(url)) > 0.8


def test_the_longest_linger_counts(ours: Path) -> None:
    embedded.start(ours, linger=2).close()
    lease = embedded.start(ours, linger=0.1)
    lease.close()
    time.sleep(1.2)
    assert listens(lease.url)
    seconds_until(lambda: not listens(lease.url))


def test_a_killed_watcher_is_replaced_by_the_next_start(ours: Path) -> None:
    with embedded.start(ours, linger=0.5) as lease:
        place = place_of(ours).root
        (first,) = watchers(place)
        first.kill()
        seconds_until(lambda: watchers(place) == [])
        with embedded.start(ours, linger=0.5):
            (second,) = watchers(place)
            assert second.pid != first.pid
    seconds_until(lambda: not listens(lease.url))


def test_a_purge_removes_everything_but_the_home(user: User, home: Path) -> None:
    home.mkdir()
    os.chown(home, user.uid, -1)
    home.chmod(0o755)
    (home / "theirs").write_text("not ours")
    with user.client(home) as (_, process):
        found = user.status(home)
        process.communicate()
    places = [Path(found["data_dir"]).parent, Path(found["socket_dir"])]
    assert all(path.exists() for path in places)
    assert user.purge(home) is True
    assert not any(path.exists() for path in places)
    assert [path.name for path in home.iterdir()] == ["theirs"]
    assert stat.S_IMODE(home.stat().st_mode) == 0o755
    assert user.purge(home) is False


def test_a_start_after_a_purge_is_a_first_start(home: Path) -> None:
    with embedded.start(home, linger=1) as lease:
        ask(lease.url, "CREATE TABLE gone (n int)")
        embedded.stop(home, purge=True)
    assert embedded.status(home).initialised is False
    with embedded.start(home, linger=1) as lease:
        assert ask(lease.url, "SELECT to_regclass('gone')") is None
