-- name: tune_for_load
-- Batches commit without waiting for the disk (their ledger row goes with them), and look rows up by key.
SELECT set_config('synchronous_commit', 'off', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true), set_config('jit', 'off', true);

-- name: lock_leads
-- Writers of the same leads take turns, in one order, so that none of them deadlocks.
SELECT pg_advisory_xact_lock(hashtext(current_schema()), slot)
FROM unnest(CAST(:slots AS integer[])) AS slot;

-- name: lead_facts
-- What a batch needs to know of its leads, and of their first conversations.
SELECT uuid_send(l.id) AS key, uuid_send(l.customer_id) AS customer_id, l.channel,
       coalesce(l.messenger_psid, l.phone_e164, l.phone_raw) AS contact, l.stage,
       l.created_at, c.id IS NOT NULL AS has_conversation, c.last_message_at, c.last_incoming_at
FROM unnest(CAST(:keys AS uuid[])) AS k (id)
JOIN leads l ON l.id = k.id
LEFT JOIN conversations c ON c.lead_id = l.id AND c.ordinal = 0;

-- name: unknown_records
-- Of a batch's records, those the log does not hold, and those it holds with other content.
SELECT i.n - 1 AS place, a.id IS NOT NULL AS differs
FROM unnest(CAST(:ids AS uuid[]), CAST(:hashes AS uuid[])) WITH ORDINALITY AS i (id, hash, n)
LEFT JOIN audit_log a ON a.id = i.id
WHERE a.id IS NULL OR a.payload_hash <> uuid_send(i.hash);

-- name: touch_conversations
-- Move conversations that got more messages on, never backwards, keeping what they were before.
WITH incoming AS (
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:last AS timestamptz[]),
                         CAST(:heard AS timestamptz[])) AS i (id, last, heard)
), moving AS (
    SELECT c.id, greatest(c.last_message_at, i.last) AS last,
           greatest(c.last_incoming_at, i.heard) AS heard, c.run_id,
           jsonb_build_object('last_message_at', c.last_message_at,
                              'last_incoming_at', c.last_incoming_at) AS before
    FROM incoming i JOIN conversations c ON c.id = i.id
    WHERE c.last_message_at IS DISTINCT FROM greatest(c.last_message_at, i.last)
       OR c.last_incoming_at IS DISTINCT FROM greatest(c.last_incoming_at, i.heard)
), kept AS (
    INSERT INTO run_changes (run_id, table_name, row_id, before)
    SELECT CAST(:run_id AS uuid), 'conversations', m.id, m.before FROM moving m
    WHERE m.run_id IS DISTINCT FROM CAST(:run_id AS uuid)
      AND NOT EXISTS (SELECT 1 FROM run_changes r
                      WHERE r.run_id = CAST(:run_id AS uuid)
                        AND r.table_name = 'conversations' AND r.row_id = m.id
                        AND jsonb_exists(r.before, 'last_message_at'))
)
UPDATE conversations c SET last_message_at = m.last, last_incoming_at = m.heard
FROM moving m WHERE c.id = m.id;

-- name: reopen_quarantine
-- A record that fails again after a retry took it is open again; which retry that was is kept, unless
-- it is this very run: then it took nothing.
WITH again AS (
    SELECT id, status, resolved_run_id FROM quarantine
    WHERE id = ANY (CAST(:ids AS uuid[])) AND status = 'resolved'
), kept AS (
    INSERT INTO run_changes (run_id, table_name, row_id, before)
    SELECT CAST(:run_id AS uuid), 'quarantine', id,
           jsonb_build_object('status', status, 'resolved_run_id', resolved_run_id)
    FROM again
    WHERE resolved_run_id IS DISTINCT FROM CAST(:run_id AS uuid) AND CAST(:run_id AS uuid) IS NOT NULL
), forgotten AS (
    DELETE FROM run_changes x USING again a
    WHERE a.resolved_run_id = CAST(:run_id AS uuid) AND x.run_id = a.resolved_run_id
      AND x.table_name = 'quarantine' AND x.row_id = a.id
)
UPDATE quarantine SET status = 'open', resolved_run_id = NULL
WHERE id IN (SELECT id FROM again);

-- name: leads_without_conversation
-- Leads whose first conversation is not there yet, a page at a time.
SELECT l.id, l.external_id, l.customer_id, l.channel, l.stage, l.created_at,
       coalesce(l.messenger_psid, l.phone_e164, l.phone_raw) AS contact
FROM leads l
WHERE NOT EXISTS (SELECT 1 FROM conversations c WHERE c.lead_id = l.id AND c.ordinal = 0)
  AND (CAST(:after AS uuid) IS NULL OR l.id > CAST(:after AS uuid))
ORDER BY l.id
LIMIT CAST(:limit AS bigint);

-- name: lead_keys
-- The key of every lead we know.
SELECT uuid_send(id) AS key FROM leads;

-- name: is_first_load
-- Whether nothing was ever written here, so that building the search index afterwards is quicker.
SELECT NOT EXISTS (SELECT 1 FROM messages) AND NOT EXISTS (SELECT 1 FROM audit_log) AS first_load;

-- name: rows_of_run
-- What a run has left in the tables: the other side of the ledger.
SELECT (SELECT count(*) FROM audit_log WHERE run_id = CAST(:run_id AS uuid)
           AND log <> 'backstory') AS audit_log,
       (SELECT count(*) FROM messages WHERE run_id = CAST(:run_id AS uuid)) AS messages,
       (SELECT count(*) FROM conversations WHERE run_id = CAST(:run_id AS uuid)) AS conversations,
       (SELECT count(*) FROM customers WHERE run_id = CAST(:run_id AS uuid)) AS customers,
       (SELECT count(*) FROM leads WHERE run_id = CAST(:run_id AS uuid)) AS leads,
       (SELECT count(*) FROM skips WHERE run_id = CAST(:run_id AS uuid)) AS skips,
       (SELECT count(*) FROM quarantine WHERE run_id = CAST(:run_id AS uuid)) AS quarantine,
       (SELECT count(*) FROM conflicts WHERE run_id = CAST(:run_id AS uuid)) AS conflicts;

-- name: add_own_audit
-- Write down in the log `backstory` what Backstory itself did.
INSERT INTO audit_log (id, log, audit_id, actor, action, payload, payload_hash, seq, created_at, run_id)
VALUES (CAST(:id AS uuid), 'backstory', CAST(:audit_id AS text), 'system', CAST(:action AS text),
        CAST(:payload AS jsonb), CAST(:hash AS bytea), 0, clock_timestamp(), CAST(:run_id AS uuid))
ON CONFLICT DO NOTHING;

-- name: drop_search_index
-- Before a first load: built afterwards, the index costs a fraction.
DROP INDEX IF EXISTS messages_search_idx;

-- name: lock_search_index
-- Runs drop and build the search index one after another: two that build it at once collide.
SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' search index', 2));

-- name: ensure_search_index
-- Build the search index where a first load, or one that was broken off, has left none.
CREATE INDEX IF NOT EXISTS messages_search_idx ON messages USING gin (search);

-- name: clean_search_index
-- Sort what a run has put on the search index's pending list into it: searches read that list whole.
SELECT gin_clean_pending_list(CAST(c.oid AS regclass))
FROM pg_class c
WHERE c.relname = 'messages_search_idx' AND c.relnamespace = CAST(current_schema() AS regnamespace);

-- name: tune_for_index
-- Building an index gets memory and a second process for this transaction.
SELECT set_config('maintenance_work_mem', '256MB', true),
       set_config('max_parallel_maintenance_workers', '2', true);

-- name: analyze_loaded
-- Tell the planner of what was loaded, without waiting for autovacuum to notice.
ANALYZE audit_log, messages, conversations, leads, customers, customer_identities;

-- name: count_leads_without_conversation
-- How many leads have no first conversation yet.
SELECT count(*) FROM leads l
WHERE NOT EXISTS (SELECT 1 FROM conversations c WHERE c.lead_id = l.id AND c.ordinal = 0);

-- name: state_of_log
-- Sum up the records of a log that have their message, as far as they were received until then.
SELECT count(*) AS records,
       coalesce(bit_xor(hashtextextended(a.id::text || encode(a.payload_hash, 'hex'), 0)), 0) AS hash,
       coalesce(CAST(:until AS timestamptz), transaction_timestamp()) AS until
FROM audit_log a JOIN messages m ON m.id = a.id
WHERE a.log = CAST(:log AS text)
  AND a.received_at <= coalesce(CAST(:until AS timestamptz), transaction_timestamp());

-- name: runs_of_content
-- Find the runs that read the same content of a log to its end and still stand, newest first.
SELECT r.id, r.findings -> 'state_of_log' AS state
FROM backfill_runs r
WHERE r.log = CAST(:log AS text) AND r.status = 'done' AND r.mode = 'backfill'
  AND r.findings ->> 'content' = CAST(:content AS text)
  AND r.findings ? 'state_of_log' AND r.id <> CAST(:run_id AS uuid)
ORDER BY r.created_at DESC LIMIT 3;

-- name: add_done_partition
-- Write down a stage that needed no work, with the counts that it would have come to.
INSERT INTO run_partitions (run_id, stage, number, status, counts)
VALUES (CAST(:run_id AS uuid), CAST(:stage AS text), 0, 'done', CAST(:counts AS jsonb));
