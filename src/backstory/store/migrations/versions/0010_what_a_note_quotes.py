"""What a proposed note quotes, so that a person can see what the model had before it.

Revision: 0010, after 0009.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("memory_notes", sa.Column("quotation", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("memory_notes", "quotation")
