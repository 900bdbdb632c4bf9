"""Takes a copy of our schema with pg_dump, and says so when that pg_dump cannot do it."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from psycopg import conninfo
from sqlalchemy import text

from backstory.app import App
from backstory.errors import DatabaseError, UsageError
from backstory.store import embedded
from backstory.store.engine import Database, parse_url, translated


@dataclass(frozen=True)
class Backup:
    """A written copy: of which schema, how many bytes."""

    schema: str
    octets: int


def dump(app: App, to: Path) -> Backup:
    """Write the schema to the file `to`, which must not exist; nothing half-written is left."""
    if to.exists():
        raise UsageError(f"{to} exists already and is not overwritten: choose another name.")
    if not to.parent.is_dir():
        raise UsageError(f"{to.parent} is no directory: make it first, or choose another one.")
    database = app.for_reading()
    program = _program(app, database)
    partial = to.with_name(f"{to.name}.partial")
    try:
        partial.touch(mode=0o600)
        _run(program, database, partial)
        octets = partial.stat().st_size
        partial.replace(to)
    except OSError as bad:
        raise UsageError(f"{to} cannot be written: {bad.strerror or bad}.") from bad
    finally:
        partial.unlink(missing_ok=True)
    return Backup(database.schema, octets)


def _program(app: App, database: Database) -> Path:
    """Return a pg_dump that is new enough for the server; raise with advice if there is none."""
    if app.embedded:
        return embedded.binaries() / "pg_dump"
    found = shutil.which("pg_dump")
    if found is None:
        raise DatabaseError(
            "There is no pg_dump on the PATH: install the PostgreSQL client (apt-get install "
            "postgresql-client, brew install libpq)."
        )
    ours, theirs = _major(found), _server_major(database)
    if ours < theirs:
        raise DatabaseError(
            f"{found} is of PostgreSQL {ours} and cannot dump a server of {theirs}: install the "
            f"client of PostgreSQL {theirs} or newer, and put it first on the PATH."
        )
    return Path(found)


def _major(program: str) -> int:
    said = subprocess.run(  # noqa: S603 - found on the PATH, without arguments of strangers
        [program, "--version"], capture_output=True, text=True, check=False
    ).stdout
    number = re.search(r"(\d+)", said)
    if number is None:
        raise DatabaseError(f"{program} does not tell its version: {said.strip()!r}.")
    return int(number[1])


def _server_major(database: Database) -> int:
    with translated(), database.engine.connect() as connection:
        number = connection.execute(text("SHOW server_version_num")).scalar_one()
    return int(number) // 10_000


def _run(program: Path, database: Database, to: Path) -> None:
    url = parse_url(database.url).set(drivername="postgresql")
    parts = conninfo.conninfo_to_dict(url.render_as_string(hide_password=False))
    password = parts.pop("password", None)
    # On the command line everybody on this machine could read it.
    secret = {"PGPASSWORD": str(password)} if password else {}
    done = subprocess.run(  # noqa: S603 - our own words, quoted by libpq's rules
        [
            str(program),
            "--format=custom",
            f"--schema={database.schema}",
            f"--file={to}",
            f"--dbname={conninfo.make_conninfo('', **parts)}",
        ],
        env=os.environ | secret,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DatabaseError(f"pg_dump failed: {' '.join(done.stderr.split())}")
