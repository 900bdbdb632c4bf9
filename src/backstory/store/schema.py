"""The schema of a business: made, brought up to date and looked at, through Alembic."""

from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.schema import CreateSchema

from backstory.errors import SchemaMismatch, UsageError
from backstory.store import agent_role
from backstory.store.engine import translated

_MIGRATIONS = Path(__file__).with_name("migrations")
_UPGRADE_LOCK = "backstory:upgrade"


@dataclass(frozen=True)
class SchemaState:
    """`revision` is what the database has (None: nothing yet), `head` what this version wants."""

    schema: str
    revision: str | None
    head: str

    @property
    def current(self) -> bool:
        """Whether the database is exactly what this version of Backstory expects."""
        return self.revision == self.head


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def schema_state(connection: Connection, schema: str) -> SchemaState:
    """Read where the schema stands; raise SchemaMismatch if a newer version made it."""
    script = ScriptDirectory.from_config(_config())
    head = script.get_current_head()
    if head is None:
        raise SchemaMismatch(
            f"This installation of Backstory has no migrations in {_MIGRATIONS}: it is not whole. "
            "Install it again with pip; the data is fine."
        )
    context = MigrationContext.configure(connection, opts={"version_table_schema": schema})
    revision = context.get_current_revision()
    known = {step.revision for step in script.walk_revisions()}
    if revision is not None and revision not in known:
        raise SchemaMismatch(
            f"Schema {schema!r} was made by a newer Backstory (revision {revision}): "
            "upgrade this installation with pip, the data is fine."
        )
    return SchemaState(schema=schema, revision=revision, head=head)


def upgrade(engine: Engine, schema: str) -> SchemaState:
    """Bring `schema` to the newest revision, making it if need be; safe to run from many."""
    with translated(), engine.begin() as connection:
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:lock, 0))"),
            {"lock": f"{_UPGRADE_LOCK}:{schema}"},
        )
        if not schema_state(connection, schema).current:
            connection.execute(CreateSchema(schema, if_not_exists=True))
            command.upgrade(_config(connection), "head")
        # What an administrator has to do for it, `backstory ready` and whoever serves agents say.
        agent_role.ensure(connection, schema)
        return schema_state(connection, schema)


def prepare_restore(engine: Engine, schema: str) -> None:
    """Bring what a dump of `schema` needs and does not hold; raise UsageError if it is there.

    The role of agents is brought, as always, by the `upgrade` that follows.
    """
    with translated(), engine.begin() as connection:
        there = text("SELECT to_regnamespace(:schema) IS NOT NULL")
        if connection.execute(there, {"schema": schema}).scalar_one():
            raise UsageError(
                f"Schema {schema!r} is there already and is not overwritten: name another "
                f"database, or move it away (ALTER SCHEMA {schema} RENAME TO …)."
            )
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public"))


def downgrade(engine: Engine, schema: str, revision: str) -> None:
    """Take `schema` back to `revision`; `base` is before the first."""
    with translated(), engine.begin() as connection:
        _ = schema
        command.downgrade(_config(connection), revision)


def check(engine: Engine) -> None:
    """Raise alembic's CommandError if the models and the database differ."""
    with engine.begin() as connection:
        command.check(_config(connection))
