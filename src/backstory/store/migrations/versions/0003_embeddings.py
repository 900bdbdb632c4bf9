"""Embeddings: what messages mean, to one model or several.

Revision: 0003, after 0002. Needs pgvector 0.8 or newer, which PostgreSQL calls `vector`. It is put
into the schema `public`, so that several businesses of one database can use it, and is left there
when this is taken back.
"""

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.dialects import postgresql

from backstory.errors import DatabaseError

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BOUND = "(SELECT nullif(current_setting('backstory.customer_id', true), '')::uuid)"
MODES = ("backfill", "retry")


def upgrade() -> None:
    _bring_pgvector()
    op.create_table(
        "embedding_models",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("dimensions", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("completed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("dimensions > 0", name=op.f("embedding_models_dimensions_count")),
        sa.PrimaryKeyConstraint("name", name=op.f("embedding_models_pkey")),
    )
    op.create_table(
        "embeddings",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("vector", HALFVEC(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id", "customer_id"],
            ["conversations.id", "conversations.customer_id"],
            name=op.f("embeddings_conversation_id_customer_id_fkey"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["messages.id"],
            name=op.f("embeddings_message_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["model"], ["embedding_models.name"], name=op.f("embeddings_model_fkey")
        ),
        sa.PrimaryKeyConstraint("message_id", "model", name=op.f("embeddings_pkey")),
    )
    for columns in (["conversation_id"], ["customer_id", "model"], ["model"], ["run_id"]):
        op.create_index(op.f(f"embeddings_{'_'.join(columns)}_idx"), "embeddings", columns)
    for table in ("embeddings", "embedding_models"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own_customer ON embeddings USING (customer_id = {BOUND})")
    # Which models there are is nobody's secret.
    op.execute("CREATE POLICY anyone ON embedding_models FOR SELECT USING (true)")
    _let_runs_be((*MODES, "embed"))


def downgrade() -> None:
    op.drop_table("embeddings")
    op.drop_table("embedding_models")
    op.execute(
        "DELETE FROM run_partitions WHERE run_id IN "
        "(SELECT id FROM backfill_runs WHERE mode = 'embed')"
    )
    op.execute("DELETE FROM backfill_runs WHERE mode = 'embed'")
    _let_runs_be(MODES)


def _let_runs_be(modes: tuple[str, ...]) -> None:
    words = ", ".join(f"'{mode}'" for mode in modes)
    op.drop_constraint(op.f("backfill_runs_mode_known"), "backfill_runs")
    op.create_check_constraint(
        op.f("backfill_runs_mode_known"), "backfill_runs", f"mode IN ({words})"
    )


def _bring_pgvector() -> None:
    """Have the type at hand, wherever an administrator has put it on the search path."""
    connection = op.get_bind()
    # Businesses of one database may come here together; the extension is all of theirs.
    op.execute("SELECT pg_advisory_xact_lock(hashtextextended('backstory:vector', 0))")
    if connection.execute(sa.text("SELECT to_regtype('halfvec')")).scalar_one() is not None:
        return
    offered = "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'"
    version = connection.execute(sa.text(offered)).scalar_one_or_none()
    if version is None:
        raise DatabaseError(
            "This server has no pgvector, which Backstory needs from this version on: install it "
            "(on Debian and Ubuntu postgresql-18-pgvector, with your version's number), then run "
            "`backstory db upgrade` again. Nothing was changed."
        )
    try:
        op.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
    except sa.exc.ProgrammingError as refused:
        raise DatabaseError(
            "This role may not bring pgvector into the database: have an administrator run "
            "CREATE EXTENSION vector SCHEMA public; there, then run `backstory db upgrade` again. "
            "Nothing was changed."
        ) from refused
