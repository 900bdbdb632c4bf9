"""A short line beside an event's JSON, by which it is read and found; runs that render lines.

Revision: 0008, after 0007. What is searched is computed from the line as well, so the column is
made anew, with its index: of a large table that takes a while. Events that are there have no line
until `backstory render` makes one.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MODES = ("backfill", "retry", "embed", "summarize", "notes")
BEFORE = "content || coalesce(' ' || attachment_text, '') || coalesce(' ' || author, '')"
AFTER = (
    "content || coalesce(' ' || line, '') || coalesce(' ' || attachment_text, '')"
    " || coalesce(' ' || author, '')"
)


def upgrade() -> None:
    op.create_table(
        "line_rules",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "rules",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("line_rules_pkey")),
    )
    # Agents have nothing to do with it.
    op.execute("ALTER TABLE line_rules ENABLE ROW LEVEL SECURITY")
    op.add_column("messages", sa.Column("line", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("line_rules", sa.Text(), nullable=True))
    # Where this was taken back before.
    op.execute(
        "INSERT INTO line_rules (name, rules, created_at) SELECT substr(audit_id, 12), payload, "
        "created_at FROM audit_log WHERE log = 'backstory' AND action = 'line_rules'"
    )
    op.execute("DELETE FROM audit_log WHERE log = 'backstory' AND action = 'line_rules'")
    op.execute(
        "UPDATE messages SET line = metadata ->> 'line', line_rules = metadata ->> 'lineRules', "
        "metadata = metadata - '{line,lineRules}'::text[] "
        "WHERE jsonb_exists(metadata, 'lineRules')"
    )
    _compute_search_from(AFTER)
    _let_runs_be((*MODES, "render"))


def downgrade() -> None:
    """Keep lines beside what else is told of their messages, and the rules in our own log."""
    op.execute(
        "INSERT INTO audit_log "
        "(id, log, audit_id, actor, action, payload, payload_hash, seq, created_at) "
        "SELECT md5('line_rules:' || name)::uuid, 'backstory', 'line_rules:' || name, 'system', "
        "'line_rules', rules, decode(md5(rules::text), 'hex'), 0, created_at FROM line_rules"
    )
    op.drop_table("line_rules")
    op.execute(
        "UPDATE messages SET metadata = metadata "
        "|| jsonb_build_object('line', line, 'lineRules', line_rules) "
        "WHERE line_rules IS NOT NULL"
    )
    _compute_search_from(BEFORE)
    op.drop_column("messages", "line_rules")
    op.drop_column("messages", "line")
    for table in ("run_partitions", "run_changes"):
        op.execute(
            f"DELETE FROM {table} WHERE run_id IN "
            "(SELECT id FROM backfill_runs WHERE mode = 'render')"
        )
    op.execute("DELETE FROM backfill_runs WHERE mode = 'render'")
    _let_runs_be(MODES)


def _compute_search_from(words: str) -> None:
    op.drop_column("messages", "search")
    op.add_column(
        "messages",
        sa.Column(
            "search",
            postgresql.TSVECTOR(),
            sa.Computed(f"to_tsvector('english'::regconfig, left({words}, 60000))", persisted=True),
            nullable=False,
        ),
    )
    op.create_index(
        "messages_search_idx", "messages", ["search"], unique=False, postgresql_using="gin"
    )


def _let_runs_be(modes: tuple[str, ...]) -> None:
    words = ", ".join(f"'{mode}'" for mode in modes)
    op.drop_constraint(op.f("backfill_runs_mode_known"), "backfill_runs")
    op.create_check_constraint(
        op.f("backfill_runs_mode_known"), "backfill_runs", f"mode IN ({words})"
    )
