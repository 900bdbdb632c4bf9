"""Row-level security on every table, and the keys of those who may open sessions.

Revision: 0002, after 0001. The policies bind whoever does not own the tables; the role that does
not, and what it may do, is brought by `store.agent_role`: roles belong to the cluster, not to us.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Whose rows a policy shows: the customer that the transaction is bound to, or nobody.
BOUND = "(SELECT nullif(current_setting('backstory.customer_id', true), '')::uuid)"
OWNED = (
    "confirmations",
    "conversations",
    "customer_addresses",
    "job_events",
    "job_items",
    "jobs",
    "leads",
    "memory_notes",
    "messages",
    "tool_calls",
)
# Nobody but the owner sees a row of these.
CLOSED = (
    "api_keys",
    "audit_log",
    "backfill_runs",
    "conflicts",
    "customer_merges",
    "quarantine",
    "run_changes",
    "run_partitions",
    "signing_keys",
    "skips",
    "tombstones",
)
PEOPLE = ("customers", "customer_identities")


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("last_used_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("profile IN ('agent', 'staff')", name=op.f("api_keys_profile_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("api_keys_pkey")),
    )
    op.create_index(op.f("api_keys_digest_idx"), "api_keys", ["digest"], unique=True)
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("signing_keys_pkey")),
    )
    for table in (*OWNED, *CLOSED, *PEOPLE):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    for table in OWNED:
        op.execute(
            f"CREATE POLICY own_customer ON {table} "
            f"USING (customer_id = {BOUND}) WITH CHECK (customer_id = {BOUND})"
        )
    op.execute(f"CREATE POLICY own_customer ON customers USING (id = {BOUND})")
    op.execute(
        f"CREATE POLICY own_customer ON customer_identities FOR SELECT USING (customer_id = {BOUND})"
    )
    # What is said in chat is a claim: under the policies nobody writes what links.
    op.execute(
        "CREATE POLICY only_claims ON customer_identities FOR INSERT "
        f"WITH CHECK (customer_id = {BOUND} AND provenance = 'claimed')"
    )


def downgrade() -> None:
    op.execute("DROP POLICY only_claims ON customer_identities")
    for table in (*OWNED, *PEOPLE):
        op.execute(f"DROP POLICY own_customer ON {table}")
    for table in (*OWNED, *CLOSED, *PEOPLE):
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    op.drop_table("signing_keys")
    op.drop_index(op.f("api_keys_digest_idx"), table_name="api_keys")
    op.drop_table("api_keys")
