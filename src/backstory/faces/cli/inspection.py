"""Looks at a database without changing it: where it is, what is in it, how it is set."""

from typing import Any

from sqlalchemy import Connection, text

from backstory.app import App
from backstory.store import embedded
from backstory.store.engine import parse_url, translated
from backstory.store.schema import schema_state

_COUNT_BELOW_BYTES = 100_000_000
"""Larger tables are not counted: the planner's estimate is told instead, as such."""

_TABLES = text("""
SELECT c.relname AS name, pg_total_relation_size(c.oid) AS bytes, c.reltuples AS estimate
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = CAST(:schema AS text) AND c.relkind = 'r' AND c.relname <> 'alembic_version'
ORDER BY c.relname
""")
_SERVER = text("""
SELECT current_setting('server_version') AS server_version,
       current_database() AS database, current_user AS role,
       pg_database_size(current_database()) AS database_bytes
""")


def look(app: App) -> dict[str, Any]:
    """Return what `db status` tells; a stopped embedded server is not started for it."""
    known: dict[str, Any] = {"embedded": app.embedded, "home": str(app.home)}
    if app.embedded:
        place = embedded.status(app.home)
        known |= {
            "running": place.running,
            "initialised": place.initialised,
            "data_dir": str(place.data_dir),
            "data_dir_bytes": place.size_bytes,
            "log_file": str(place.log_file),
            "binaries": place.version,
        }
        if not place.running:
            return known
    with translated(), app.database.engine.connect() as connection:
        return known | look_inside(connection, app)


def look_inside(connection: Connection, app: App) -> dict[str, Any]:
    """Return what an open connection can see of server and schema."""
    url = parse_url(app.database.url).set(drivername="postgresql")
    state = schema_state(connection, app.database.schema)
    server = connection.execute(_SERVER).one()._asdict()
    return {
        "url": url.render_as_string(hide_password=True),
        **server,
        "schema": state.schema,
        "revision": state.revision,
        "head": state.head,
        "current": state.current,
        "tables": tables(connection, state.schema),
    }


def tables(connection: Connection, schema: str) -> dict[str, dict[str, Any]]:
    """Return rows and bytes of each table of the schema; `exact` tells counted from estimated."""
    found = {}
    for row in connection.execute(_TABLES, {"schema": schema}).all():
        exact = row.bytes < _COUNT_BELOW_BYTES or row.estimate < 0
        rows = _count(connection, schema, row.name) if exact else int(row.estimate)
        found[row.name] = {"rows": rows, "exact": exact, "bytes": row.bytes}
    return found


def _count(connection: Connection, schema: str, table: str) -> int:
    quote = connection.dialect.identifier_preparer.quote
    query = text(f"SELECT count(*) FROM {quote(schema)}.{quote(table)}")
    counted: int = connection.execute(query).scalar_one()
    return counted
