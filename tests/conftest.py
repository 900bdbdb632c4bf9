"""One real PostgreSQL for the whole session; a fresh database or a savepoint for each test."""

import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import make_url

from backstory.config import Settings
from backstory.search.embed_install import is_installed, place
from backstory.store import embedded
from backstory.store.engine import open_engine
from backstory.store.reaper import take, try_take
from backstory.store.schema import upgrade

SCHEMA = "backstory"
_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it
_ENOUGH = 4 * 2**30  # bytes: the server of each process takes some hundred million
_numbers = itertools.count()

# A shell that runs us in the background lets us ignore Ctrl-C, which every process that a test
# starts would inherit: some are there to be interrupted.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server: BACKSTORY_TEST_URL, else our own embedded one."""
    given = os.environ.get("BACKSTORY_TEST_URL")
    if given:
        yield given
        return
    with _home(tmp_path_factory) as home:
        with _beside(home):
            lease = embedded.start(home, linger=2)
        for setting in ("max_wal_size = '256MB'", "synchronous_commit = 'off'"):
            _admin(lease.url, sql.SQL("ALTER SYSTEM SET ") + sql.SQL(setting))
        _admin(lease.url, sql.SQL("SELECT pg_reload_conf()"))
        yield lease.url
        lease.close()
        with _beside(home):
            embedded.stop(home, purge=True)


@contextmanager
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Lend a home in memory, where a database is made in a fraction of the time, or on disk.

    What a killed session left there is no longer locked, and removed by the next one.
    """
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _ENOUGH:
        yield tmp_path_factory.mktemp("server")
        return
    for left in _MEMORY.glob("backstory-tests-*"):
        _sweep(left)
    draft = Path(tempfile.mkdtemp(prefix="backstory-draft-", dir=_MEMORY))
    draft.chmod(0o755)  # the server's user passes through
    lock = take(draft / "lock")
    memory = draft.rename(_MEMORY / f"backstory-tests-{draft.name[-8:]}")
    yield memory / "home"
    shutil.rmtree(memory, ignore_errors=True)  # a server that is ending may still write there
    os.close(lock)


def _sweep(left: Path) -> None:
    """Remove what nobody holds; the other processes of these tests do so at the same moment."""
    with suppress(FileNotFoundError):
        if left.stat().st_uid == os.geteuid() and (lock := try_take(left / "lock")) is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)


@contextmanager
def _beside(home: Path) -> Iterator[None]:
    """Let a server of root's lie beside its home, if that is in memory; others lie inside."""
    with pytest.MonkeyPatch.context() as patch:
        if home.is_relative_to(_MEMORY):
            patch.setattr(embedded, "_ROOTS_BASE", home.parent)
        yield


def _with_database(url: str, name: str) -> str:
    """Return `url` naming another database."""
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _admin(url: str, statement: sql.Composed) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture(scope="session")
def real_model() -> Path:
    """Return the directory of the default model, which `make model` brings; skip without it."""
    home = Settings().home
    if not is_installed(home):
        pytest.skip("The default model is not here: `make model` brings it.")
    return place(home)


@pytest.fixture(scope="session")
def template(server_url: str) -> str:
    """Return the name of a migrated database that tests copy instead of migrating again."""
    name = f"template_{os.getpid()}"
    _admin(server_url, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    engine = open_engine(_with_database(server_url, name), SCHEMA)
    upgrade(engine, SCHEMA)
    engine.dispose()
    return name


@pytest.fixture
def empty_database_url(server_url: str) -> Iterator[str]:
    """Return the address of a database in which nothing of ours exists yet."""
    yield from _fresh(server_url, None)


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    """Return the address of a migrated, empty database of this test's own: commits are real."""
    yield from _fresh(server_url, template)


@pytest.fixture(scope="session")
def copied(server_url: str) -> Callable[[str], Iterator[str]]:
    """Return what lends the address of a copy of a database, nobody being in it, by its name."""
    return lambda name: _fresh(server_url, name)


def _fresh(server_url: str, template: str | None) -> Iterator[str]:
    name = f"test_{os.getpid()}_{next(_numbers)}"
    source = sql.SQL("")
    if template:
        # Of files as they are: a third of the time that writing them to the log takes.
        source = sql.SQL(" TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(template))
    _admin(server_url, sql.SQL("CREATE DATABASE {}{}").format(sql.Identifier(name), source))
    yield _with_database(server_url, name)
    _admin(server_url, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Return an engine on a database of this test's own."""
    engine = open_engine(database_url, SCHEMA)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def shared_engine(server_url: str, template: str) -> Iterator[Engine]:
    """Return an engine on one migrated database that all savepoint tests share."""
    for url in _fresh(server_url, template):
        engine = open_engine(url, SCHEMA)
        yield engine
        engine.dispose()


@pytest.fixture
def connection(shared_engine: Engine) -> Iterator[Connection]:
    """Return a connection whose whole work is rolled back after the test."""
    with shared_engine.connect() as connection:
        transaction = connection.begin()
        yield connection
        transaction.rollback()
