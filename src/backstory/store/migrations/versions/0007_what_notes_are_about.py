"""What a note is about, so that two contacts who say different things of it can be seen.

Revision: 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

MODES = ("backfill", "retry", "embed", "summarize")


def upgrade() -> None:
    op.add_column("memory_notes", sa.Column("topic", sa.Text(), nullable=True))
    op.create_index(op.f("memory_notes_source_lead_id_idx"), "memory_notes", ["source_lead_id"])
    _let_runs_be((*MODES, "notes"))


def downgrade() -> None:
    # Without a topic a note of a lead's state could not be kept up to date.
    op.execute(
        "UPDATE memory_notes SET superseded_by_id = NULL WHERE superseded_by_id IN "
        "(SELECT id FROM memory_notes WHERE topic IS NOT NULL)"
    )
    op.execute("DELETE FROM memory_notes WHERE topic IS NOT NULL")
    op.drop_index(op.f("memory_notes_source_lead_id_idx"), table_name="memory_notes")
    op.drop_column("memory_notes", "topic")
    for table in ("run_partitions", "run_changes"):
        op.execute(
            f"DELETE FROM {table} WHERE run_id IN "
            "(SELECT id FROM backfill_runs WHERE mode = 'notes')"
        )
    op.execute(
        "UPDATE memory_notes SET run_id = NULL WHERE run_id IN "
        "(SELECT id FROM backfill_runs WHERE mode = 'notes')"
    )
    op.execute("DELETE FROM backfill_runs WHERE mode = 'notes'")
    _let_runs_be(MODES)


def _let_runs_be(modes: tuple[str, ...]) -> None:
    words = ", ".join(f"'{mode}'" for mode in modes)
    op.drop_constraint(op.f("backfill_runs_mode_known"), "backfill_runs")
    op.create_check_constraint(
        op.f("backfill_runs_mode_known"), "backfill_runs", f"mode IN ({words})"
    )
