"""Stop the embedded PostgreSQL once nobody needs it: locks that tell, a process that watches.

`embedded.py` starts this file as a detached script and borrows its functions. It uses the standard
library alone, so that it stays small while it waits and survives the removal of its virtualenv.

Four files carry flocks, which the kernel frees on any death, of a client or of a server:

    boot.lock     exclusive   whoever creates, starts, stops or removes the server
    lease.lock    shared      every client; free means that no client is left
    server.lock   exclusive   inherited by the postmaster and its children; free means all are dead
    reaper.lock   exclusive   the one process that watches the leases
"""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

if sys.platform != "win32":  # importable everywhere; `embedded.binaries` refuses with advice
    import fcntl

USER = "backstory"
PORT = 5432  # only part of the socket's name: nothing listens on a network
_STATE_LINE = 7  # of postmaster.pid, counted from zero; missing at first
_ACTIVITY = """
SELECT (SELECT count(*) FROM pg_stat_activity
         WHERE backend_type IN ('client backend', 'walsender') AND pid <> pg_backend_pid()),
       (SELECT coalesce(sum(sessions), 0) FROM pg_stat_database WHERE datname <> 'postgres')
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one server keeps its files: one directory, never shared with another home."""

    root: Path

    @property
    def data(self) -> Path:
        """The data directory, owned by the user the server runs as."""
        return self.root / "data"

    @property
    def log(self) -> Path:
        """What the server, and this watcher, had to say."""
        return self.root / "server.log"

    @property
    def password(self) -> Path:
        """The superuser's password, mode 0600."""
        return self.root / "password"

    @property
    def linger(self) -> Path:
        """Seconds the server outlasts its last client: the longest that any client asked for."""
        return self.root / "linger"

    @property
    def socket_record(self) -> Path:
        """The text file that names the directory of the socket."""
        return self.root / "socket-dir"

    @property
    def socket_dir(self) -> Path | None:
        """The directory of the socket, or None before the first start."""
        try:
            return Path(self.socket_record.read_text())
        except FileNotFoundError:
            return None

    @property
    def socket(self) -> Path | None:
        """The socket, which exists while a server listens, or None before the first start."""
        directory = self.socket_dir
        return directory / f".s.PGSQL.{PORT}" if directory else None

    def lock(self, name: str) -> Path:
        """Return the lock file of that name: boot, lease, server or reaper."""
        return self.root / f"{name}.lock"


def take(path: Path, *, shared: bool = False, wait: bool = True) -> int:
    """Lock the file and return its descriptor, whose copies in child processes hold it as well.

    Raises BlockingIOError if `wait` is off and another process is in the way.
    """
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, how)
        except BaseException:  # a Ctrl-C while we wait is one of them
            os.close(descriptor)
            raise
        if is_current(descriptor, path):
            return descriptor
        os.close(descriptor)  # a purge removed the file while we waited: lock its successor


def try_take(path: Path, *, shared: bool = False) -> int | None:
    """Lock the file and return its descriptor, or None if another process is in the way."""
    try:
        return take(path, shared=shared, wait=False)
    except BlockingIOError:
        return None


def is_current(descriptor: int, path: Path) -> bool:
    """Whether the path still names the opened file; a purge replaces it by another."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def boot_lock(place: Place, pause: Callable[[], None]) -> Iterator[int]:
    """Hold the boot lock and yield its descriptor; `pause` is called between attempts."""
    while (descriptor := try_take(place.lock("boot"))) is None:
        pause()
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def server_state(place: Place) -> str:
    """Return the word of a live postmaster on itself: starting, ready, stopping; "" without one."""
    if postmaster_pid(place) is None:
        return ""
    lines = (place.data / "postmaster.pid").read_text().splitlines()
    return lines[_STATE_LINE].strip() if len(lines) > _STATE_LINE else "starting"


def postmaster_pid(place: Place) -> int | None:
    """Return the pid in postmaster.pid if that process is a live server of this data directory.

    A pid alone proves nothing: it may have been reused, or belong to a zombie.
    """
    try:
        pid = int((place.data / "postmaster.pid").read_text().split("\n", 1)[0])
        command = _command_of(pid)
    except (OSError, ValueError):
        return None
    return pid if b"postgres" in command and os.fsencode(place.data) in command else None


def _command_of(pid: int) -> bytes:
    """Return the command line of a process, empty for a zombie."""
    if sys.platform != "linux":
        ps = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
        return subprocess.run(ps, capture_output=True, check=False).stdout  # noqa: S603 - ours
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def is_private(directory: Path, owner: int) -> bool:
    """Whether the path is a directory, no link, that only the owner can enter.

    In /tmp anybody may have made it, with a server inside that lets us in and listens.
    """
    try:
        found = directory.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_mode & 0o077 == 0 and found.st_uid == owner


def has_socket(place: Place) -> bool:
    """Whether there is a socket to connect to, where nobody else could have put it."""
    socket = place.socket
    if socket is None or not place.data.exists():
        return False
    return is_private(socket.parent, place.data.stat().st_uid) and socket.exists()


def alive(place: Place) -> bool:
    """Whether any process of the server lives, answering or not; call it under the boot lock."""
    descriptor = try_take(place.lock("server"), shared=True)
    if descriptor is None:
        return True
    os.close(descriptor)
    return postmaster_pid(place) is not None  # started by hand, without our lock


def shut_down(place: Place, *, immediately: bool = False) -> None:
    """Stop the server and wait until its last process is gone; call it under the boot lock.

    The signals are those of `pg_ctl stop`: fast rolls back what runs and writes a checkpoint,
    immediate leaves a recovery behind. They are sent from here because pg_ctl would trust the pid,
    and because the wheel may be gone by now. Raises TimeoutError if processes remain.
    """
    pid = postmaster_pid(place)
    patience = 60.0  # without a postmaster, its orphans notice that at their next wait
    if pid is not None:
        os.kill(pid, signal.SIGQUIT if immediately else signal.SIGINT)
        patience = 600.0  # the checkpoint of a large backfill
    deadline = time.monotonic() + patience
    while alive(place):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes of the server still run after {patience:.0f} s")
        time.sleep(0.02)


def activity(place: Place, psql: str) -> tuple[int, int] | None:
    """Return (connected clients, sessions so far), or None if the server cannot say.

    The second number reveals clients that came and went between two looks.
    """
    if not has_socket(place):
        return (0, 0)  # without a socket nobody can come any more
    where = f"host='{place.socket_dir}' port={PORT} user={USER} dbname=postgres connect_timeout=5"
    if not Path(psql).exists():
        return (0, 0)  # the wheel is gone: nobody can start the server again, the leases decide
    try:
        asked = subprocess.run(  # noqa: S603 - the wheel's psql, our own words
            [psql, "-XAtqw", "-F", " ", "-c", _ACTIVITY, "-d", where],
            env={"PGPASSWORD": place.password.read_text(), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            cwd="/",
            timeout=30,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    clients, sessions = asked.stdout.split()
    return int(clients), int(sessions)


def watch(place: Place, psql: str, mine: int) -> None:
    """Stop the server when the last lease is gone, nobody is connected and the linger has passed.

    `mine` is the descriptor of reaper.lock. It is closed while the boot lock is held, so that a
    starting client never counts on a watcher that has already made up its mind to leave.
    """
    seen: tuple[int, int] | None = None
    idle_since = time.monotonic()
    pause = 0.1
    while True:
        if _outlast_leases(place):
            idle_since = time.monotonic()
        time.sleep(pause)
        with boot_lock(place, lambda: time.sleep(0.05)):
            if not is_current(mine, place.lock("reaper")) or not alive(place):
                os.close(mine)
                return
            linger = float(place.linger.read_text())
            pause = min(max(linger / 8, 0.1), 10.0)
            if _leased(place):
                continue
            now = activity(place, psql)
            if now is None or now[0] > 0 or now != seen:
                seen, idle_since = now, time.monotonic()
            elif time.monotonic() - idle_since >= linger:
                shut_down(place)
                os.close(mine)
                return


def _leased(place: Place) -> bool:
    """Whether a client holds a lease right now."""
    descriptor = try_take(place.lock("lease"))
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def _outlast_leases(place: Place) -> bool:
    """Sleep in the kernel until no lease is held; say whether there was one."""
    if not _leased(place):
        return False
    os.close(take(place.lock("lease")))
    return True


if __name__ == "__main__":
    try:
        watch(Place(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
    except FileNotFoundError:
        if Path(sys.argv[1]).exists():  # otherwise the place was purged: nothing left to watch
            raise
