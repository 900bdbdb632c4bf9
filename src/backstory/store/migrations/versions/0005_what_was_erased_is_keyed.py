"""The secret that tombstones are keyed with.

Revision: 0005, after 0003. Tombstones from before are plain hashes that nothing recognises any
more: no release has written any.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tombstone_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("tombstone_keys_pkey")),
    )
    # Closed to agents, as every ledger is: see 0002.
    op.execute("ALTER TABLE tombstone_keys ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.drop_table("tombstone_keys")
