"""Every table of the product, embeddings aside: the schema is one thought.

Revision: 0001, the first.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("audit_id", sa.Text(), nullable=False),
        sa.Column("lead_id", sa.Uuid(), nullable=True),
        sa.Column("lead_external_id", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("payload_hash", sa.LargeBinary(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "received_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_log_pkey")),
    )
    op.create_index(
        "audit_log_audit_id_key",
        "audit_log",
        ["log", "audit_id"],
        unique=True,
        postgresql_where=sa.text("octet_length(audit_id) <= 1024"),
    )
    op.create_index(op.f("audit_log_lead_id_idx"), "audit_log", ["lead_id"], unique=False)
    op.create_index(
        "audit_log_long_audit_id_key",
        "audit_log",
        ["log", sa.literal_column("md5(audit_id)")],
        unique=True,
        postgresql_where=sa.text("octet_length(audit_id) > 1024"),
    )
    op.create_table(
        "backfill_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("wish", sa.Text(), nullable=True),
        sa.Column(
            "options",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("spill_dir", sa.Text(), nullable=False),
        sa.Column("records_read", sa.BigInteger(), nullable=True),
        sa.Column("first_load", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "seconds_by_step",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "findings",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("mode IN ('backfill', 'retry')", name=op.f("backfill_runs_mode_known")),
        sa.CheckConstraint(
            "status IN ('running', 'paused', 'failed', 'canceled', 'done', 'rolled_back')",
            name=op.f("backfill_runs_status_known"),
        ),
        sa.CheckConstraint("wish IN ('pause', 'cancel')", name=op.f("backfill_runs_wish_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("backfill_runs_pkey")),
    )
    op.create_table(
        "conflicts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("audit_id", sa.Text(), nullable=False),
        sa.Column("occurrence", sa.BigInteger(), nullable=False),
        sa.Column("winner_id", sa.Uuid(), nullable=False),
        sa.Column("lead_external_id", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("payload_hash", sa.LargeBinary(), nullable=False),
        sa.Column("record_created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("conflicts_pkey")),
    )
    op.create_index(op.f("conflicts_run_id_idx"), "conflicts", ["run_id"], unique=False)
    op.create_index(op.f("conflicts_winner_id_idx"), "conflicts", ["winner_id"], unique=False)
    op.create_table(
        "customers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("first_name", sa.Text(), nullable=True),
        sa.Column("last_name", sa.Text(), nullable=True),
        sa.Column("company_name", sa.Text(), nullable=True),
        sa.Column("phone_e164", sa.Text(), nullable=True),
        sa.Column("phone_raw", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("preferred_channel", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("timezone", sa.Text(), nullable=True),
        sa.Column(
            "tags", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False
        ),
        sa.Column("do_not_contact", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("merged_into_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "preferred_channel IN ('messenger', 'sms', 'web', 'other')",
            name=op.f("customers_preferred_channel_known"),
        ),
        sa.CheckConstraint("merged_into_id <> id", name=op.f("customers_not_merged_into_itself")),
        sa.ForeignKeyConstraint(
            ["merged_into_id"], ["customers.id"], name=op.f("customers_merged_into_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("customers_pkey")),
    )
    op.create_index(
        op.f("customers_merged_into_id_idx"),
        "customers",
        ["merged_into_id"],
        unique=False,
        postgresql_where=sa.text("merged_into_id IS NOT NULL"),
    )
    op.create_index(op.f("customers_run_id_idx"), "customers", ["run_id"], unique=False)
    op.create_table(
        "quarantine",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("occurrence", sa.BigInteger(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("extractor_version", sa.Text(), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("audit_id", sa.Text(), nullable=True),
        sa.Column("lead_external_id", sa.Text(), nullable=True),
        sa.Column(
            "options",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("status", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("resolved_run_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("stage IN ('parse', 'write')", name=op.f("quarantine_stage_known")),
        sa.CheckConstraint("status IN ('open', 'resolved')", name=op.f("quarantine_status_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("quarantine_pkey")),
    )
    op.create_index(op.f("quarantine_run_id_idx"), "quarantine", ["run_id"], unique=False)
    op.create_index(op.f("quarantine_status_idx"), "quarantine", ["status"], unique=False)
    op.create_table(
        "skips",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("occurrence", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("audit_id", sa.Text(), nullable=True),
        sa.Column("lead_external_id", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "reason IN ('no_lead', 'lead_not_found', 'erased', 'unknown_actor', 'no_text')",
            name=op.f("skips_reason_known"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("skips_pkey")),
    )
    op.create_index(op.f("skips_run_id_idx"), "skips", ["run_id"], unique=False)
    op.create_table(
        "tombstones",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "erased_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("kind IN ('lead', 'customer')", name=op.f("tombstones_kind_known")),
        sa.PrimaryKeyConstraint("digest", name=op.f("tombstones_pkey")),
    )
    op.create_table(
        "customer_addresses",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("line1", sa.Text(), nullable=False),
        sa.Column("line2", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("postal_code", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("raw_text", sa.Text(), nullable=True),
        sa.Column("access_notes", sa.Text(), nullable=True),
        sa.Column("is_primary", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("normalized_key", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "octet_length(normalized_key) <= 1024", name=op.f("customer_addresses_key_bounded")
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.id"], name=op.f("customer_addresses_customer_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("customer_addresses_pkey")),
        sa.UniqueConstraint(
            "customer_id",
            "normalized_key",
            name=op.f("customer_addresses_customer_id_normalized_key_key"),
        ),
        sa.UniqueConstraint(
            "id", "customer_id", name=op.f("customer_addresses_id_customer_id_key")
        ),
    )
    op.create_index(
        "customer_addresses_one_primary_key",
        "customer_addresses",
        ["customer_id"],
        unique=True,
        postgresql_where=sa.text("is_primary"),
    )
    op.create_table(
        "customer_identities",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("provenance", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('messenger', 'phone', 'email')", name=op.f("customer_identities_kind_known")
        ),
        sa.CheckConstraint(
            "provenance IN ('verified', 'claimed', 'shared')",
            name=op.f("customer_identities_provenance_known"),
        ),
        sa.CheckConstraint(
            "octet_length(value) <= 1024", name=op.f("customer_identities_value_bounded")
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.id"], name=op.f("customer_identities_customer_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("customer_identities_pkey")),
    )
    op.create_index(
        op.f("customer_identities_customer_id_idx"),
        "customer_identities",
        ["customer_id"],
        unique=False,
    )
    op.create_index(
        op.f("customer_identities_run_id_idx"), "customer_identities", ["run_id"], unique=False
    )
    op.create_index(
        "customer_identities_verified_key",
        "customer_identities",
        ["kind", "value"],
        unique=True,
        postgresql_where=sa.text("provenance = 'verified'"),
    )
    op.create_table(
        "customer_merges",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("survivor_id", sa.Uuid(), nullable=False),
        sa.Column("absorbed_id", sa.Uuid(), nullable=False),
        sa.Column(
            "reason",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "moved",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "merged_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("undone_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["absorbed_id"], ["customers.id"], name=op.f("customer_merges_absorbed_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["survivor_id"], ["customers.id"], name=op.f("customer_merges_survivor_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("customer_merges_pkey")),
    )
    op.create_index(
        op.f("customer_merges_absorbed_id_idx"), "customer_merges", ["absorbed_id"], unique=False
    )
    op.create_index(op.f("customer_merges_run_id_idx"), "customer_merges", ["run_id"], unique=False)
    op.create_index(
        "customer_merges_standing_key",
        "customer_merges",
        ["absorbed_id"],
        unique=True,
        postgresql_where=sa.text("undone_at IS NULL"),
    )
    op.create_index(
        op.f("customer_merges_survivor_id_idx"), "customer_merges", ["survivor_id"], unique=False
    )
    op.create_table(
        "leads",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("messenger_psid", sa.Text(), nullable=True),
        sa.Column("phone_raw", sa.Text(), nullable=True),
        sa.Column("phone_e164", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column(
            "state_metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "channel IN ('messenger', 'sms', 'web', 'other')", name=op.f("leads_channel_known")
        ),
        sa.CheckConstraint(
            "source IN ('list', 'derived', 'live')", name=op.f("leads_source_known")
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.id"], name=op.f("leads_customer_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("leads_pkey")),
        sa.UniqueConstraint("id", "customer_id", name=op.f("leads_id_customer_id_key")),
    )
    op.create_index(op.f("leads_customer_id_idx"), "leads", ["customer_id"], unique=False)
    op.create_index(
        op.f("leads_email_idx"),
        "leads",
        ["email"],
        unique=False,
        postgresql_where=sa.text("octet_length(email) <= 1024"),
    )
    op.create_index(
        "leads_messenger_idx",
        "leads",
        ["channel", "messenger_psid"],
        unique=False,
        postgresql_where=sa.text("octet_length(messenger_psid) <= 1024"),
    )
    op.create_index(
        op.f("leads_phone_e164_idx"),
        "leads",
        ["phone_e164"],
        unique=False,
        postgresql_where=sa.text("phone_e164 IS NOT NULL"),
    )
    op.create_index(op.f("leads_run_id_idx"), "leads", ["run_id"], unique=False)
    op.create_table(
        "run_changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Uuid(), nullable=False),
        sa.Column(
            "before",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["backfill_runs.id"], name=op.f("run_changes_run_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("run_changes_pkey")),
    )
    op.create_index(op.f("run_changes_run_id_idx"), "run_changes", ["run_id"], unique=False)
    op.create_index(
        op.f("run_changes_table_name_row_id_idx"),
        "run_changes",
        ["table_name", "row_id"],
        unique=False,
    )
    op.create_table(
        "run_partitions",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("backend_pid", sa.BigInteger(), nullable=True),
        sa.Column("backend_start", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("cursor", sa.LargeBinary(), server_default=sa.text("''::bytea"), nullable=False),
        sa.Column(
            "counts",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("stage IN ('read', 'write')", name=op.f("run_partitions_stage_known")),
        sa.CheckConstraint(
            "status IN ('pending', 'claimed', 'done')", name=op.f("run_partitions_status_known")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["backfill_runs.id"],
            name=op.f("run_partitions_run_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "stage", "number", name=op.f("run_partitions_pkey")),
    )
    op.create_table(
        "conversations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("lead_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_message_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_incoming_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("closed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "(status = 'closed') = (closed_at IS NOT NULL)",
            name=op.f("conversations_closed_has_time"),
        ),
        sa.CheckConstraint(
            "channel IN ('messenger', 'sms', 'web', 'other')",
            name=op.f("conversations_channel_known"),
        ),
        sa.CheckConstraint("status IN ('open', 'closed')", name=op.f("conversations_status_known")),
        sa.CheckConstraint("ordinal >= 0", name=op.f("conversations_ordinal_counts_up")),
        sa.ForeignKeyConstraint(
            ["lead_id", "customer_id"],
            ["leads.id", "leads.customer_id"],
            name=op.f("conversations_lead_id_customer_id_fkey"),
            onupdate="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("conversations_pkey")),
        sa.UniqueConstraint("id", "customer_id", name=op.f("conversations_id_customer_id_key")),
        sa.UniqueConstraint("lead_id", "ordinal", name=op.f("conversations_lead_id_ordinal_key")),
    )
    op.create_index(
        op.f("conversations_customer_id_idx"), "conversations", ["customer_id"], unique=False
    )
    op.create_index(
        "conversations_one_open_key",
        "conversations",
        ["lead_id"],
        unique=True,
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_index(op.f("conversations_run_id_idx"), "conversations", ["run_id"], unique=False)
    op.create_table(
        "confirmations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("candidate_id", sa.Text(), nullable=False),
        sa.Column("source_kind", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("fetched_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("confirmed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "octet_length(candidate_id) <= 1024", name=op.f("confirmations_id_bounded")
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("confirmations_conversation_id_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.id"], name=op.f("confirmations_customer_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("confirmations_pkey")),
    )
    op.create_index(
        op.f("confirmations_conversation_id_candidate_id_idx"),
        "confirmations",
        ["conversation_id", "candidate_id"],
        unique=True,
    )
    op.create_index(
        op.f("confirmations_customer_id_idx"), "confirmations", ["customer_id"], unique=False
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_number", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("service_address_id", sa.Uuid(), nullable=True),
        sa.Column("lead_id", sa.Uuid(), nullable=True),
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("service_type", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default=sa.text("'unscheduled'"), nullable=False),
        sa.Column("canceled_by", sa.Text(), nullable=True),
        sa.Column("scheduled_start", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("scheduled_end", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("actual_start", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("actual_end", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("subtotal_cents", sa.BigInteger(), nullable=True),
        sa.Column("total_cents", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), server_default=sa.text("'USD'"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "canceled_by IN ('customer', 'business')", name=op.f("jobs_canceled_by_known")
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("jobs_currency_iso")),
        sa.CheckConstraint(
            "status IN ('unscheduled', 'scheduled', 'in_progress', 'on_hold', 'completed', 'canceled')",
            name=op.f("jobs_status_known"),
        ),
        sa.CheckConstraint("actual_end >= actual_start", name=op.f("jobs_work_in_order")),
        sa.CheckConstraint("scheduled_end >= scheduled_start", name=op.f("jobs_schedule_in_order")),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name=op.f("jobs_conversation_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.id"], name=op.f("jobs_customer_id_fkey")
        ),
        sa.ForeignKeyConstraint(["lead_id"], ["leads.id"], name=op.f("jobs_lead_id_fkey")),
        sa.ForeignKeyConstraint(
            ["service_address_id", "customer_id"],
            ["customer_addresses.id", "customer_addresses.customer_id"],
            name=op.f("jobs_service_address_id_customer_id_fkey"),
            onupdate="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("jobs_pkey")),
        sa.UniqueConstraint("id", "customer_id", name=op.f("jobs_id_customer_id_key")),
        sa.UniqueConstraint("job_number", name=op.f("jobs_job_number_key")),
    )
    op.create_index(op.f("jobs_conversation_id_idx"), "jobs", ["conversation_id"], unique=False)
    op.create_index(op.f("jobs_customer_id_idx"), "jobs", ["customer_id"], unique=False)
    op.create_index(op.f("jobs_lead_id_idx"), "jobs", ["lead_id"], unique=False)
    op.create_table(
        "messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("audit_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("attachment_text", sa.Text(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column(
            "search",
            postgresql.TSVECTOR(),
            sa.Computed(
                "to_tsvector('english'::regconfig, left(content || coalesce(' ' || attachment_text, '') || coalesce(' ' || author, ''), 60000))",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.CheckConstraint("kind IN ('text', 'event')", name=op.f("messages_kind_known")),
        sa.CheckConstraint(
            "role IN ('user', 'assistant', 'system', 'tool')", name=op.f("messages_role_known")
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id", "customer_id"],
            ["conversations.id", "conversations.customer_id"],
            name=op.f("messages_conversation_id_customer_id_fkey"),
            onupdate="CASCADE",
        ),
        sa.ForeignKeyConstraint(["id"], ["audit_log.id"], name=op.f("messages_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("messages_pkey")),
    )
    op.create_index(
        "messages_audit_id_key",
        "messages",
        ["log", "audit_id"],
        unique=True,
        postgresql_where=sa.text("octet_length(audit_id) <= 1024"),
    )
    op.create_index(op.f("messages_created_at_idx"), "messages", ["created_at"], unique=False)
    op.create_index(
        "messages_in_order_idx", "messages", ["conversation_id", "created_at", "seq"], unique=False
    )
    op.create_index(
        "messages_long_audit_id_key",
        "messages",
        ["log", sa.literal_column("md5(audit_id)")],
        unique=True,
        postgresql_where=sa.text("octet_length(audit_id) > 1024"),
    )
    op.create_index(
        "messages_of_customer_idx", "messages", ["customer_id", "created_at"], unique=False
    )
    op.create_index(
        "messages_search_idx", "messages", ["search"], unique=False, postgresql_using="gin"
    )
    op.create_table(
        "tool_calls",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=True),
        sa.Column("lead_id", sa.Uuid(), nullable=True),
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("arguments_hash", sa.LargeBinary(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("answer", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("latency_ms", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "octet_length(idempotency_key) <= 1024", name=op.f("tool_calls_idempotency_key_bounded")
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name=op.f("tool_calls_conversation_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.id"], name=op.f("tool_calls_customer_id_fkey")
        ),
        sa.ForeignKeyConstraint(["lead_id"], ["leads.id"], name=op.f("tool_calls_lead_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("tool_calls_pkey")),
    )
    op.create_index(
        op.f("tool_calls_conversation_id_idx"), "tool_calls", ["conversation_id"], unique=False
    )
    op.create_index(op.f("tool_calls_customer_id_idx"), "tool_calls", ["customer_id"], unique=False)
    op.create_index(
        op.f("tool_calls_lead_id_tool_idempotency_key_idx"),
        "tool_calls",
        ["lead_id", "tool", "idempotency_key"],
        unique=True,
    )
    op.create_table(
        "job_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("occurred_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "recorded_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("from_status", sa.Text(), nullable=True),
        sa.Column("to_status", sa.Text(), nullable=True),
        sa.Column(
            "payload",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "event_type IN ('created', 'estimate_sent', 'scheduled', 'rescheduled', 'confirmed', 'reminder_sent', 'en_route', 'arrived', 'started', 'on_hold', 'resumed', 'completed', 'canceled', 'no_show', 'item_added', 'note_added', 'context_confirmed', 'invoiced', 'payment_received', 'other')",
            name=op.f("job_events_event_type_known"),
        ),
        sa.CheckConstraint(
            "from_status IN ('unscheduled', 'scheduled', 'in_progress', 'on_hold', 'completed', 'canceled')",
            name=op.f("job_events_from_status_known"),
        ),
        sa.CheckConstraint(
            "to_status IN ('unscheduled', 'scheduled', 'in_progress', 'on_hold', 'completed', 'canceled')",
            name=op.f("job_events_to_status_known"),
        ),
        sa.CheckConstraint(
            "octet_length(idempotency_key) <= 1024", name=op.f("job_events_idempotency_key_bounded")
        ),
        sa.ForeignKeyConstraint(
            ["job_id", "customer_id"],
            ["jobs.id", "jobs.customer_id"],
            name=op.f("job_events_job_id_customer_id_fkey"),
            onupdate="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("job_events_pkey")),
    )
    op.create_index(op.f("job_events_customer_id_idx"), "job_events", ["customer_id"], unique=False)
    op.create_index(
        op.f("job_events_job_id_idempotency_key_idx"),
        "job_events",
        ["job_id", "idempotency_key"],
        unique=True,
    )
    op.create_table(
        "job_items",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("quantity", sa.Numeric(precision=12, scale=3), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("unit_price_cents", sa.BigInteger(), nullable=True),
        sa.Column(
            "attributes",
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
        sa.CheckConstraint(
            "kind IN ('item', 'service', 'fee', 'discount')", name=op.f("job_items_kind_known")
        ),
        sa.CheckConstraint(
            "unit IN ('each', 'hour', 'cubic_yard', 'load_fraction', 'lb')",
            name=op.f("job_items_unit_known"),
        ),
        sa.CheckConstraint("quantity > 0", name=op.f("job_items_quantity_positive")),
        sa.ForeignKeyConstraint(
            ["job_id", "customer_id"],
            ["jobs.id", "jobs.customer_id"],
            name=op.f("job_items_job_id_customer_id_fkey"),
            onupdate="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("job_items_pkey")),
        sa.UniqueConstraint("job_id", "position", name=op.f("job_items_job_id_position_key")),
    )
    op.create_index(op.f("job_items_customer_id_idx"), "job_items", ["customer_id"], unique=False)
    op.create_table(
        "memory_notes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("address_id", sa.Uuid(), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="candidate", nullable=False),
        sa.Column("source_message_ids", sa.ARRAY(sa.Uuid()), server_default="{}", nullable=False),
        sa.Column("source_lead_id", sa.Uuid(), nullable=True),
        sa.Column("extracted_by", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Numeric(precision=4, scale=3), nullable=True),
        sa.Column("valid_from", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("valid_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("superseded_by_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('fact', 'preference', 'constraint', 'promise', 'summary')",
            name=op.f("memory_notes_kind_known"),
        ),
        sa.CheckConstraint(
            "status IN ('candidate', 'confirmed', 'rejected', 'superseded', 'expired')",
            name=op.f("memory_notes_status_known"),
        ),
        sa.CheckConstraint(
            "confidence BETWEEN 0 AND 1", name=op.f("memory_notes_confidence_is_a_share")
        ),
        sa.ForeignKeyConstraint(
            ["address_id", "customer_id"],
            ["customer_addresses.id", "customer_addresses.customer_id"],
            name=op.f("memory_notes_address_id_customer_id_fkey"),
            onupdate="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.id"], name=op.f("memory_notes_customer_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["job_id", "customer_id"],
            ["jobs.id", "jobs.customer_id"],
            name=op.f("memory_notes_job_id_customer_id_fkey"),
            onupdate="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["superseded_by_id"],
            ["memory_notes.id"],
            name=op.f("memory_notes_superseded_by_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("memory_notes_pkey")),
    )
    op.create_index(
        op.f("memory_notes_customer_id_idx"), "memory_notes", ["customer_id"], unique=False
    )
    op.create_index(op.f("memory_notes_run_id_idx"), "memory_notes", ["run_id"], unique=False)
    op.create_index(
        op.f("memory_notes_superseded_by_id_idx"),
        "memory_notes",
        ["superseded_by_id"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index(op.f("memory_notes_superseded_by_id_idx"), table_name="memory_notes")
    op.drop_index(op.f("memory_notes_run_id_idx"), table_name="memory_notes")
    op.drop_index(op.f("memory_notes_customer_id_idx"), table_name="memory_notes")
    op.drop_table("memory_notes")
    op.drop_index(op.f("job_items_customer_id_idx"), table_name="job_items")
    op.drop_table("job_items")
    op.drop_index(op.f("job_events_job_id_idempotency_key_idx"), table_name="job_events")
    op.drop_index(op.f("job_events_customer_id_idx"), table_name="job_events")
    op.drop_table("job_events")
    op.drop_index(op.f("tool_calls_lead_id_tool_idempotency_key_idx"), table_name="tool_calls")
    op.drop_index(op.f("tool_calls_customer_id_idx"), table_name="tool_calls")
    op.drop_index(op.f("tool_calls_conversation_id_idx"), table_name="tool_calls")
    op.drop_table("tool_calls")
    op.drop_index("messages_search_idx", table_name="messages", postgresql_using="gin")
    op.drop_index("messages_of_customer_idx", table_name="messages")
    op.drop_index(
        "messages_long_audit_id_key",
        table_name="messages",
        postgresql_where=sa.text("octet_length(audit_id) > 1024"),
    )
    op.drop_index("messages_in_order_idx", table_name="messages")
    op.drop_index(op.f("messages_created_at_idx"), table_name="messages")
    op.drop_index(
        "messages_audit_id_key",
        table_name="messages",
        postgresql_where=sa.text("octet_length(audit_id) <= 1024"),
    )
    op.drop_table("messages")
    op.drop_index(op.f("jobs_lead_id_idx"), table_name="jobs")
    op.drop_index(op.f("jobs_customer_id_idx"), table_name="jobs")
    op.drop_index(op.f("jobs_conversation_id_idx"), table_name="jobs")
    op.drop_table("jobs")
    op.drop_index(op.f("confirmations_customer_id_idx"), table_name="confirmations")
    op.drop_index(
        op.f("confirmations_conversation_id_candidate_id_idx"), table_name="confirmations"
    )
    op.drop_table("confirmations")
    op.drop_index(op.f("conversations_run_id_idx"), table_name="conversations")
    op.drop_index(
        "conversations_one_open_key",
        table_name="conversations",
        postgresql_where=sa.text("status = 'open'"),
    )
    op.drop_index(op.f("conversations_customer_id_idx"), table_name="conversations")
    op.drop_table("conversations")
    op.drop_table("run_partitions")
    op.drop_index(op.f("run_changes_table_name_row_id_idx"), table_name="run_changes")
    op.drop_index(op.f("run_changes_run_id_idx"), table_name="run_changes")
    op.drop_table("run_changes")
    op.drop_index(op.f("leads_run_id_idx"), table_name="leads")
    op.drop_index(
        op.f("leads_phone_e164_idx"),
        table_name="leads",
        postgresql_where=sa.text("phone_e164 IS NOT NULL"),
    )
    op.drop_index(
        "leads_messenger_idx",
        table_name="leads",
        postgresql_where=sa.text("octet_length(messenger_psid) <= 1024"),
    )
    op.drop_index(
        op.f("leads_email_idx"),
        table_name="leads",
        postgresql_where=sa.text("octet_length(email) <= 1024"),
    )
    op.drop_index(op.f("leads_customer_id_idx"), table_name="leads")
    op.drop_table("leads")
    op.drop_index(op.f("customer_merges_survivor_id_idx"), table_name="customer_merges")
    op.drop_index(
        "customer_merges_standing_key",
        table_name="customer_merges",
        postgresql_where=sa.text("undone_at IS NULL"),
    )
    op.drop_index(op.f("customer_merges_run_id_idx"), table_name="customer_merges")
    op.drop_index(op.f("customer_merges_absorbed_id_idx"), table_name="customer_merges")
    op.drop_table("customer_merges")
    op.drop_index(
        "customer_identities_verified_key",
        table_name="customer_identities",
        postgresql_where=sa.text("provenance = 'verified'"),
    )
    op.drop_index(op.f("customer_identities_run_id_idx"), table_name="customer_identities")
    op.drop_index(op.f("customer_identities_customer_id_idx"), table_name="customer_identities")
    op.drop_table("customer_identities")
    op.drop_index(
        "customer_addresses_one_primary_key",
        table_name="customer_addresses",
        postgresql_where=sa.text("is_primary"),
    )
    op.drop_table("customer_addresses")
    op.drop_table("tombstones")
    op.drop_index(op.f("skips_run_id_idx"), table_name="skips")
    op.drop_table("skips")
    op.drop_index(op.f("quarantine_status_idx"), table_name="quarantine")
    op.drop_index(op.f("quarantine_run_id_idx"), table_name="quarantine")
    op.drop_table("quarantine")
    op.drop_index(op.f("customers_run_id_idx"), table_name="customers")
    op.drop_index(
        op.f("customers_merged_into_id_idx"),
        table_name="customers",
        postgresql_where=sa.text("merged_into_id IS NOT NULL"),
    )
    op.drop_table("customers")
    op.drop_index(op.f("conflicts_winner_id_idx"), table_name="conflicts")
    op.drop_index(op.f("conflicts_run_id_idx"), table_name="conflicts")
    op.drop_table("conflicts")
    op.drop_table("backfill_runs")
    op.drop_index(
        "audit_log_long_audit_id_key",
        table_name="audit_log",
        postgresql_where=sa.text("octet_length(audit_id) > 1024"),
    )
    op.drop_index(op.f("audit_log_lead_id_idx"), table_name="audit_log")
    op.drop_index(
        "audit_log_audit_id_key",
        table_name="audit_log",
        postgresql_where=sa.text("octet_length(audit_id) <= 1024"),
    )
    op.drop_table("audit_log")
