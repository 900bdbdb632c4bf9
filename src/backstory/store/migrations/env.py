"""Alembic's entry: the connection is handed in, its search_path names the business's schema."""

from alembic import context
from sqlalchemy import text

from backstory.store.tables import Base

connection = context.config.attributes["connection"]
schema = connection.execute(text("SELECT current_schema()")).scalar_one()
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    version_table_schema=schema,
    compare_server_default=True,
    include_name=lambda name, kind, _parents: kind != "table" or name in Base.metadata.tables,
)
with context.begin_transaction():
    context.run_migrations()
