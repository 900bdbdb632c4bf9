-- name: names_of_jobs
-- Some of the jobs that `blocking_jobs` counts, as people know them.
WITH held AS (
    SELECT c.id FROM conversations c
    WHERE c.run_id = CAST(:run_id AS uuid)
       OR c.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
)
SELECT 'job ' || j.job_number || ' ' || j.title AS name
FROM jobs j
WHERE j.customer_id = ANY (CAST(:customers AS uuid[]))
   OR j.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
   OR j.conversation_id IN (SELECT id FROM held)
ORDER BY j.job_number LIMIT CAST(:limit AS bigint);

-- name: names_of_addresses
-- Some of the addresses that `blocking_addresses` counts, by their first line.
SELECT a.line1 AS name
FROM customer_addresses a WHERE a.customer_id = ANY (CAST(:customers AS uuid[]))
ORDER BY a.line1, a.id LIMIT CAST(:limit AS bigint);

-- name: names_of_claims
-- Some of what `blocking_claims` counts.
SELECT i.kind || ' ' || i.value AS name
FROM customer_identities i
WHERE i.customer_id = ANY (CAST(:customers AS uuid[])) AND i.provenance = 'claimed'
ORDER BY i.kind, i.value, i.id LIMIT CAST(:limit AS bigint);

-- name: names_of_messages
-- Some leads of the messages that `blocking_messages` counts for one run, or for none.
SELECT DISTINCT l.external_id AS name
FROM messages m
JOIN conversations c ON c.id = m.conversation_id
JOIN leads l ON l.id = c.lead_id
WHERE m.run_id IS DISTINCT FROM CAST(:run_id AS uuid)
  AND m.run_id IS NOT DISTINCT FROM CAST(:by AS uuid)
  AND (c.run_id = CAST(:run_id AS uuid) OR l.run_id = CAST(:run_id AS uuid))
ORDER BY l.external_id LIMIT CAST(:limit AS bigint);

-- name: names_of_conversations
-- Some leads of the conversations that `blocking_conversations` counts for one run, or for none.
SELECT DISTINCT l.external_id AS name
FROM conversations c JOIN leads l ON l.id = c.lead_id
WHERE c.run_id IS DISTINCT FROM CAST(:run_id AS uuid)
  AND c.run_id IS NOT DISTINCT FROM CAST(:by AS uuid) AND l.run_id = CAST(:run_id AS uuid)
ORDER BY l.external_id LIMIT CAST(:limit AS bigint);

-- name: names_of_notes
-- Some of the notes that `blocking_notes` counts, by what they say.
WITH held AS (
    SELECT c.id FROM conversations c
    WHERE c.run_id = CAST(:run_id AS uuid)
       OR c.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
)
SELECT n.text AS name
FROM memory_notes n
WHERE n.job_id IN (
        SELECT j.id FROM jobs j
        WHERE j.customer_id = ANY (CAST(:customers AS uuid[]))
           OR j.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
           OR j.conversation_id IN (SELECT id FROM held))
   OR EXISTS (SELECT FROM messages m WHERE m.id = ANY (n.source_message_ids)
              AND m.conversation_id IN (SELECT id FROM held)
              AND m.run_id IS DISTINCT FROM CAST(:run_id AS uuid))
   OR (n.status IN ('confirmed', 'rejected')
       AND (n.run_id = CAST(:run_id AS uuid)
            OR n.customer_id = ANY (CAST(:customers AS uuid[]))
            OR n.source_lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
            OR EXISTS (SELECT FROM messages m WHERE m.id = ANY (n.source_message_ids)
                       AND m.run_id = CAST(:run_id AS uuid))))
ORDER BY n.text, n.id LIMIT CAST(:limit AS bigint);
