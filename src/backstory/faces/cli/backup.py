"""Takes a copy of our schema with pg_dump and brings it back, or says why that cannot be done."""

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
from backstory.store.schema import prepare_restore


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
    program = _program(app, database, "pg_dump")
    partial = to.with_name(f"{to.name}.partial")
    try:
        partial.touch(mode=0o600)
        words = ("--format=custom", f"--schema={database.schema}", f"--file={partial}")
        _run(program, database, words)
        octets = partial.stat().st_size
        partial.replace(to)
    except OSError as bad:
        raise UsageError(f"{to} cannot be written: {bad.strerror or bad}.") from bad
    finally:
        partial.unlink(missing_ok=True)
    return Backup(database.schema, octets)


def restore(app: App, file: Path) -> None:
    """Bring back what `dump` wrote, whole or not at all, and bring it up to date.

    Beside the schema it brings what a dump does not hold: pgvector, and the role of agents.
    """
    database = app.database
    program = _program(app, database, "pg_restore")
    held = _schema_in(program, file)
    if held != database.schema:
        raise UsageError(f"{file} holds the schema {held}, not {database.schema}: --schema {held}.")
    prepare_restore(database.engine, database.schema)
    whole = ("--exit-on-error", "--single-transaction")
    _run(program, database, ("--no-owner", "--no-privileges", *whole, str(file)))
    app.for_writing()


def _schema_in(program: Path, file: Path) -> str:
    done = subprocess.run(  # noqa: S603 - a program of PostgreSQL's, and a file to read
        [str(program), "--list", str(file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"^\d+; \d+ \d+ SCHEMA - (\w+) ", done.stdout, re.MULTILINE)
    if found is None:
        why = " ".join(done.stderr.split()) or "it holds no schema"
        raise UsageError(f"{file} is no file that `backstory db backup` wrote: {why}.")
    return found[1]


def _program(app: App, database: Database, name: str) -> Path:
    """Return a program that is new enough for the server; raise with advice if there is none."""
    if app.embedded:
        return embedded.binaries() / name
    found = shutil.which(name)
    if found is None:
        raise DatabaseError(
            f"There is no {name} on the PATH: install the PostgreSQL client (apt-get install "
            "postgresql-client, brew install libpq)."
        )
    ours, theirs = _major(found), _server_major(database)
    if ours < theirs:
        raise DatabaseError(
            f"{found} is of PostgreSQL {ours} and cannot work on a server of {theirs}: install the "
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


def _run(program: Path, database: Database, words: tuple[str, ...]) -> None:
    url = parse_url(database.url).set(drivername="postgresql")
    parts = conninfo.conninfo_to_dict(url.render_as_string(hide_password=False))
    password = parts.pop("password", None)
    # On the command line everybody on this machine could read it.
    secret = {"PGPASSWORD": str(password)} if password else {}
    done = subprocess.run(  # noqa: S603 - our own words, quoted by libpq's rules
        [
            str(program),
            f"--dbname={conninfo.make_conninfo('', **parts)}",
            *words,
        ],
        env=os.environ | secret,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DatabaseError(f"{program.name} failed: {' '.join(done.stderr.split())}")
