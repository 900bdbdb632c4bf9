"""Summaries of conversations: which messages one covers, and the version that made it.

Revision: 0006, after 0005. The text stays in `conversations.summary`.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BOUND = "(SELECT nullif(current_setting('backstory.customer_id', true), '')::uuid)"
MODES = ("backfill", "retry", "embed")


def upgrade() -> None:
    op.create_table(
        "conversation_summaries",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("left_out", sa.BigInteger(), nullable=False),
        sa.Column("first_message_id", sa.Uuid(), nullable=False),
        sa.Column("last_message_id", sa.Uuid(), nullable=False),
        sa.Column("last_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "messages > 0 AND left_out >= 0",
            name=op.f("conversation_summaries_covers_something"),
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id", "customer_id"],
            ["conversations.id", "conversations.customer_id"],
            name=op.f("conversation_summaries_conversation_id_customer_id_fkey"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("conversation_id", name=op.f("conversation_summaries_pkey")),
    )
    for column in ("customer_id", "run_id"):
        name = op.f(f"conversation_summaries_{column}_idx")
        op.create_index(name, "conversation_summaries", [column])
    op.execute("ALTER TABLE conversation_summaries ENABLE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY own_customer ON conversation_summaries USING (customer_id = {BOUND})"
    )
    _let_runs_be((*MODES, "summarize"))


def downgrade() -> None:
    # Without a word of where it comes from a summary could not be kept up to date.
    op.execute(
        "UPDATE conversations SET summary = NULL "
        "WHERE id IN (SELECT conversation_id FROM conversation_summaries)"
    )
    op.drop_table("conversation_summaries")
    op.execute("DELETE FROM backfill_runs WHERE mode = 'summarize'")
    _let_runs_be(MODES)


def _let_runs_be(modes: tuple[str, ...]) -> None:
    words = ", ".join(f"'{mode}'" for mode in modes)
    op.drop_constraint(op.f("backfill_runs_mode_known"), "backfill_runs")
    op.create_check_constraint(
        op.f("backfill_runs_mode_known"), "backfill_runs", f"mode IN ({words})"
    )
