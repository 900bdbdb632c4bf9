-- name: agent_role
-- Tell whether the role of agents is there, may be taken on, and has more power than it should: what it
-- owns it could free of its policies.
SELECT r.oid IS NOT NULL AS exists,
       coalesce(r.rolsuper OR r.rolbypassrls OR r.rolcanlogin, false) AS powerful,
       r.oid IS NOT NULL AND pg_has_role(current_user, r.oid, 'SET') AS settable,
       EXISTS (SELECT FROM pg_class c
               WHERE c.relowner = r.oid AND c.relnamespace = CAST(current_schema() AS regnamespace))
       OR EXISTS (SELECT FROM pg_namespace n
                  WHERE n.nspowner = r.oid AND n.nspname = current_schema()) AS owns
FROM (SELECT CAST(:role AS name) AS wanted) w LEFT JOIN pg_roles r ON r.rolname = w.wanted;

-- name: agent_rights_missing
-- List the rights that the role of agents lacks, of those it should have.
SELECT w.table_name, w.wanted AS right
FROM unnest(CAST(:tables AS text[]), CAST(:rights AS text[]), CAST(:columns AS text[]))
     AS w (table_name, wanted, column_name)
WHERE NOT CASE
        WHEN w.column_name IS NULL
        THEN has_table_privilege(CAST(:role AS name), to_regclass(quote_ident(w.table_name)), w.wanted)
        ELSE has_column_privilege(
            CAST(:role AS name), to_regclass(quote_ident(w.table_name)), w.column_name, w.wanted)
    END;

-- name: agent_rights_beyond
-- List the rights to write whole tables that the role of agents has and should not have.
SELECT c.relname AS table_name, r.wanted AS right
FROM pg_class c
CROSS JOIN unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS r (wanted)
WHERE c.relnamespace = CAST(current_schema() AS regnamespace) AND c.relkind IN ('r', 'p')
  AND has_table_privilege(CAST(:role AS name), c.oid, r.wanted)
  AND NOT EXISTS (
      SELECT FROM unnest(CAST(:tables AS text[]), CAST(:rights AS text[])) AS w (table_name, wanted)
      WHERE w.table_name = c.relname AND w.wanted = r.wanted);

-- name: hold_lead
-- Keep a lead with the customer whose it is until this transaction ends; nothing if it moves just now.
SELECT c.id AS customer_id, l.channel
FROM leads l JOIN customers c ON c.id = l.customer_id
WHERE l.id = CAST(:lead_id AS uuid)
FOR NO KEY UPDATE OF c FOR KEY SHARE OF l;

-- name: bind_lead
-- Find whose a lead is and its open conversation, else its newest, and become the role of agents, bound to its customer.
SELECT l.customer_id,
       (SELECT v.id FROM conversations v WHERE v.lead_id = CAST(:lead_id AS uuid)
        ORDER BY v.status = 'open' DESC, v.ordinal DESC LIMIT 1) AS conversation_id,
       set_config('backstory.customer_id', coalesce(CAST(l.customer_id AS text), ''), true) AS bound_to,
       set_config('role', CAST(:role AS text), true) AS role
FROM (SELECT CAST(:lead_id AS uuid) AS id) asked LEFT JOIN leads l ON l.id = asked.id;

-- name: bind_customer
-- Become the role of agents, bound to one customer, until this transaction ends.
SELECT set_config('backstory.customer_id', CAST(CAST(:customer_id AS uuid) AS text), true),
       set_config('role', CAST(:role AS text), true);

-- name: unbind_customer
-- Become the owner again within this transaction.
SELECT set_config('role', 'none', true), set_config('backstory.customer_id', '', true);

-- name: lock_idempotency_key
-- Let calls under the same key of the same lead come one after another.
SELECT pg_advisory_xact_lock(hashtextextended(
    'backstory:call:' || current_schema() || ':' || CAST(:lead_id AS text) || ':'
    || CAST(:tool AS text) || ':' || CAST(:idempotency_key AS text), 0));

-- name: call_under_key
-- Find what was answered under an idempotency key.
SELECT t.id, t.arguments_hash, t.outcome, t.answer FROM tool_calls t
WHERE t.lead_id = CAST(:lead_id AS uuid) AND t.tool = CAST(:tool AS text)
  AND t.idempotency_key = CAST(:idempotency_key AS text);

-- name: record_call
-- Write down a tool's call, in its ledger and in the log of our own deeds.
WITH lead AS (
    SELECT l.id, l.external_id, l.customer_id FROM leads l WHERE l.id = CAST(:lead_id AS uuid)
), told AS (
    INSERT INTO audit_log (
        id, log, audit_id, lead_id, lead_external_id, actor, action, payload, payload_hash, seq,
        created_at)
    SELECT CAST(:record_id AS uuid), CAST(:log AS text), CAST(:audit_id AS text),
           (SELECT id FROM lead), (SELECT external_id FROM lead), CAST(:actor AS text),
           CAST(:action AS text), CAST(:payload AS jsonb), CAST(:payload_hash AS bytea), 0,
           CAST(:created_at AS timestamptz)
)
INSERT INTO tool_calls (
    id, customer_id, lead_id, conversation_id, tool, actor, arguments_hash, idempotency_key,
    outcome, answer, latency_ms, created_at)
SELECT CAST(:id AS uuid), (SELECT customer_id FROM lead), (SELECT id FROM lead),
       (SELECT v.id FROM conversations v WHERE v.lead_id = CAST(:lead_id AS uuid)
        ORDER BY v.status = 'open' DESC, v.ordinal DESC LIMIT 1),
       CAST(:tool AS text), CAST(:actor AS text), CAST(:arguments_hash AS bytea),
       CAST(:idempotency_key AS text), CAST(:outcome AS text), CAST(:answer AS jsonb),
       CAST(:latency_ms AS bigint), CAST(:created_at AS timestamptz);

-- name: lead_of_session
-- Find the lead that a session is to be opened for, by the business's id or by ours.
SELECT l.id, l.external_id FROM leads l
WHERE l.id = ANY (CAST(:ids AS uuid[])) ORDER BY l.id = (CAST(:ids AS uuid[]))[1] DESC LIMIT 1;
