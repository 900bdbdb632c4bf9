"""What an agent writes hangs on nothing but its own customer's rows.

Revision: 0009, after 0008. A policy is asked before unique and foreign keys are: so the row of
another customer, to whatever it points, is refused like one that never was.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

BOUND = "(SELECT nullif(current_setting('backstory.customer_id', true), '')::uuid)"
# By table: the columns that point to other rows of the customer, and where these are.
PARENTS = {
    "confirmations": {"conversation_id": "conversations"},
    "job_events": {"job_id": "jobs"},
    "job_items": {"job_id": "jobs"},
    "jobs": {
        "lead_id": "leads",
        "conversation_id": "conversations",
        "service_address_id": "customer_addresses",
    },
}


def upgrade() -> None:
    for table, parents in PARENTS.items():
        # Read under the policies of the parents, so another customer's are not there.
        own = [
            f"({table}.{column} IS NULL OR EXISTS "
            f"(SELECT FROM {parent} p WHERE p.id = {table}.{column}))"
            for column, parent in parents.items()
        ]
        check = " AND ".join([f"customer_id = {BOUND}", *own])
        op.execute(f"ALTER POLICY own_customer ON {table} WITH CHECK ({check})")


def downgrade() -> None:
    for table in PARENTS:
        op.execute(f"ALTER POLICY own_customer ON {table} WITH CHECK (customer_id = {BOUND})")
