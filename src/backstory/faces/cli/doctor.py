"""Examines an installation: each check is a name, a verdict, a sentence, and what to do."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, text

from backstory.app import App
from backstory.errors import BackstoryError, SchemaMismatch
from backstory.faces.cli.screen import counted, size
from backstory.model import RunStatus
from backstory.runs.run import list_runs, short_id
from backstory.store import embedded
from backstory.store.embeddings import serving_model
from backstory.store.engine import translated
from backstory.store.schema import schema_state

Verdict = Literal["ok", "warn", "fail"]

_LEAST_FREE_BYTES = 1_000_000_000
_LEAST_SETTINGS = {
    # A setting in the unit of pg_settings, the least a bulk load likes, and that in words.
    "max_wal_size": (1024, "1GB"),
    "maintenance_work_mem": (65_536, "64MB"),
    "shared_buffers": (16_384, "128MB"),
}
_MOST_SKEW = timedelta(seconds=5)
_FORGOTTEN_AFTER = timedelta(minutes=5)
_RUNS_SEEN = 200


@dataclass(frozen=True)
class Check:
    """What was found, and what to do about it where something must be done."""

    name: str
    verdict: Verdict
    finding: str
    advice: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the check under its keys."""
        return asdict(self)


def examine(app: App) -> list[Check]:
    """Return all checks, in the order in which their findings should be mended."""
    checks = [*_home(app)]
    if app.embedded and not embedded.status(app.home).initialised:
        made = "The embedded PostgreSQL is made when it is first needed."
        return [*checks, Check("database", "ok", made)]
    try:
        with translated(), app.database.engine.connect() as connection:
            checks += _server(connection)
            checks += _contents(connection, app)
    except BackstoryError as error:
        checks.append(Check("database", "fail", str(error)))
    return checks


# --- this machine ----------------------------------------------------------------------------


def _home(app: App) -> Iterator[Check]:
    home = next(path for path in (app.home, *app.home.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=home):
            yield Check("home", "ok", f"{app.home} can be written.")
    except OSError as bad:
        yield Check(
            "home",
            "fail",
            f"{app.home} cannot be written ({bad.strerror}).",
            "Choose another --home, or set BACKSTORY_HOME.",
        )
    free = shutil.disk_usage(home).free
    if free < _LEAST_FREE_BYTES:
        yield Check(
            "disk",
            "warn",
            f"Only {size(free)} are free there.",
            "A run needs about its log's size.",
        )
    else:
        yield Check("disk", "ok", f"{size(free)} are free there.")


# --- the server ------------------------------------------------------------------------------

_SETTINGS = text("""
SELECT name, setting FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'autovacuum', 'server_encoding', 'max_connections',
               'max_wal_size', 'maintenance_work_mem', 'shared_buffers', 'server_version')
""")
_STATE = text("""
SELECT pg_is_in_recovery() AS replica, clock_timestamp() AS now,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS clients
""")
_EXTENSIONS = text("""
SELECT name, default_version FROM pg_available_extensions
WHERE name IN ('vector', 'pg_trgm') ORDER BY name
""")


def _server(connection: Connection) -> Iterator[Check]:
    state = connection.execute(_STATE).one()
    settings = {row.name: row.setting for row in connection.execute(_SETTINGS)}
    yield Check("database", "ok", f"PostgreSQL {settings['server_version']} answers.")
    if state.replica:
        yield Check("primary", "fail", "This is a read-only replica.", "Use the primary's URL.")
    yield from _settings(settings)
    yield _connections(state.clients, int(settings["max_connections"]))
    yield _clock(state.now)
    available = {row.name: row.default_version for row in connection.execute(_EXTENSIONS)}
    yield _extensions(available)


def _settings(settings: dict[str, str]) -> Iterator[Check]:
    before = True
    for name in ("fsync", "full_page_writes", "autovacuum"):
        if settings[name] != "on":
            before = False
            verdict: Verdict = "warn" if name == "autovacuum" else "fail"
            yield Check("settings", verdict, f"{name} is off.", f"ALTER SYSTEM SET {name} = on")
    if settings["server_encoding"] != "UTF8":
        before = False
        yield Check(
            "settings",
            "fail",
            f"The database's encoding is {settings['server_encoding']}.",
            "Make another with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0.",
        )
    for name, (least, words) in _LEAST_SETTINGS.items():
        if int(settings[name]) < least:
            before = False
            yield Check(
                "settings",
                "warn",
                f"{name} is small: loads and the search index take longer.",
                f"ALTER SYSTEM SET {name} = '{words}'",
            )
    if before:
        yield Check("settings", "ok", "Nothing in the server's settings is in the way.")


def _connections(used: int, most: int) -> Check:
    finding = f"{used} of {most} connections are in use."
    if used > 0.9 * most:
        return Check("connections", "warn", finding, "Close some, or raise max_connections.")
    return Check("connections", "ok", finding)


def _clock(theirs: datetime) -> Check:
    skew = abs(datetime.now(UTC) - theirs)
    if skew > _MOST_SKEW:
        finding = f"The server's clock and ours are {skew.total_seconds():.0f} s apart."
        return Check("clock", "warn", finding, "Let both follow NTP.")
    return Check("clock", "ok", "The server's clock and ours agree.")


def _extensions(available: dict[str, str]) -> Check:
    if "vector" not in available:
        return Check(
            "extensions",
            "warn",
            "pgvector is not available on this server; nothing needs it yet.",
            "Install it before searching by meaning (package postgresql-NN-pgvector).",
        )
    names = ", ".join(f"{name} {version}" for name, version in available.items())
    return Check("extensions", "ok", f"Available: {names}.")


# --- our schema ------------------------------------------------------------------------------

_INDEXES = text("""
SELECT c.relname AS name, i.indisvalid AS valid
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = CAST(:schema AS text)
""")
_RIGHTS = text("""
SELECT has_schema_privilege(CAST(:schema AS text), 'CREATE')
   AND NOT EXISTS (
        SELECT 1 FROM pg_tables
        WHERE schemaname = CAST(:schema AS text)
          AND NOT has_table_privilege(format('%I.%I', schemaname, tablename),
                                      'SELECT, INSERT, UPDATE, DELETE')) AS enough
""")


def _contents(connection: Connection, app: App) -> Iterator[Check]:
    schema = app.database.schema
    try:
        state = schema_state(connection, schema)
    except SchemaMismatch as newer:
        yield Check("schema", "fail", str(newer))
        return
    if state.revision is None:
        yield Check(
            "schema", "ok", f"There is no schema {schema!r} yet; the first backfill makes it."
        )
        return
    if not state.current:
        finding = f"Schema {schema!r} is of revision {state.revision}, not {state.head}."
        yield Check("schema", "fail", finding, "Run `backstory db upgrade`.")
        return
    yield Check("schema", "ok", f"Schema {schema!r} is up to date ({state.head}).")
    yield _rights(connection, schema)
    yield _indexes(connection, schema)
    yield from _meaning(connection, app)
    yield from _runs(connection, app.home)


def _meaning(connection: Connection, app: App) -> Iterator[Check]:
    """Say whether the model by which messages are embedded can be asked; nothing without one."""
    serving = serving_model(connection)
    if serving is None:
        return
    if app.embedders.named(serving.name) is None:
        yield Check(
            "meaning",
            "warn",
            f"Messages are embedded by {serving.name}, which is not to be had: recall goes by "
            "words.",
            "Run `backstory model install`, or name its directory or service in "
            "BACKSTORY_EMBEDDING_MODEL and _URL.",
        )
    else:
        yield Check("meaning", "ok", f"{serving.name} serves.")


def _rights(connection: Connection, schema: str) -> Check:
    if connection.execute(_RIGHTS, {"schema": schema}).scalar_one():
        return Check("rights", "ok", "We may read and write there.")
    return Check(
        "rights",
        "fail",
        f"We may not write to all of schema {schema!r}.",
        "Connect as the role that made it.",
    )


def _indexes(connection: Connection, schema: str) -> Check:
    found = {r.name: r.valid for r in connection.execute(_INDEXES, {"schema": schema})}
    broken = [name for name, valid in found.items() if not valid]
    if broken:
        finding = f"These indexes are not valid: {', '.join(broken)}."
        return Check("indexes", "fail", finding, "REINDEX INDEX CONCURRENTLY each of them.")
    if "messages_search_idx" not in found:
        finding = "The search index is not there: a first load dropped it and has not ended."
        return Check("indexes", "fail", finding, "Continue it with `backstory resume last`.")
    return Check("indexes", "ok", f"All {len(found)} indexes are valid, the search index too.")


def _runs(connection: Connection, home: Path) -> Iterator[Check]:
    runs = list_runs(connection, limit=_RUNS_SEEN)
    now = datetime.now(UTC)
    open_runs = [
        run
        for run in runs
        if run.status in {RunStatus.PAUSED, RunStatus.FAILED}
        or (run.status is RunStatus.RUNNING and now - run.updated_at > _FORGOTTEN_AFTER)
    ]
    if open_runs:
        names = ", ".join(f"{short_id(run.id)} ({run.status})" for run in open_runs[:5])
        yield Check(
            "runs",
            "warn",
            f"{counted(len(open_runs), 'run')} began and did not end: {names}.",
            "`backstory resume RUN` continues one, `backstory cancel RUN` ends it.",
        )
    else:
        yield Check("runs", "ok", "Every run has ended.")
    needed = {str(run.id) for run in runs if run.status not in _ENDED}
    yield _leftovers(home, needed, complete=len(runs) < _RUNS_SEEN)


_ENDED = frozenset({RunStatus.DONE, RunStatus.CANCELED, RunStatus.ROLLED_BACK})


def _leftovers(home: Path, needed: set[str], *, complete: bool) -> Check:
    folder = home / "runs"
    left = [path for path in _listed(folder) if path.name not in needed and _old(path)]
    if not left or not complete:
        return Check("leftovers", "ok", "No working files of ended runs are left.")
    octets = sum(path.stat().st_size for each in left for path in each.rglob("*"))
    return Check(
        "leftovers",
        "warn",
        f"{counted(len(left), 'directory', 'directories')} in {folder} belong to no open run of "
        f"this schema ({size(octets)}).",
        "Unless another database or schema uses this home, remove them.",
    )


def _listed(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return []


def _old(path: Path) -> bool:
    age = datetime.now(UTC).timestamp() - path.stat().st_mtime
    return age > _FORGOTTEN_AFTER.total_seconds()
