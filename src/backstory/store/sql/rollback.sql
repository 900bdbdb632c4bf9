-- name: customers_leaving
-- Customers a run created at whom no lead will be when its leads are gone and its moves undone, and that
-- no merge of another run names, nor one of no run by which leads came that stay. A lead that it moved
-- goes back to where it was first, and stays if a later run moved it too or nobody is there any more.
WITH RECURSIVE up AS (
    SELECT m.id AS merge_id, c.id, c.merged_into_id
    FROM customer_merges m JOIN customers c ON c.id = m.survivor_id
    WHERE m.run_id = CAST(:run_id AS uuid) AND m.undone_at IS NULL
    UNION
    SELECT up.merge_id, c.id, c.merged_into_id FROM up JOIN customers c ON c.id = up.merged_into_id
), parted AS (
    SELECT DISTINCT ON (l.id) l.id, m.absorbed_id AS customer_id
    FROM customer_merges m
    CROSS JOIN LATERAL jsonb_array_elements_text(m.moved -> 'leads') AS lead (id)
    JOIN leads l ON l.id = CAST(lead.id AS uuid)
    JOIN up ON up.merge_id = m.id AND up.id = l.customer_id
    WHERE m.run_id = CAST(:run_id AS uuid) AND m.undone_at IS NULL
    ORDER BY l.id, m.merged_at, m.id DESC
), changed AS (
    SELECT DISTINCT ON (x.row_id)
        x.id AS change_id, x.row_id AS id, CAST(x.before ->> 'customer_id' AS uuid) AS customer_id
    FROM run_changes x
    WHERE x.run_id = CAST(:run_id AS uuid) AND x.table_name = 'leads'
      AND jsonb_exists(x.before, 'customer_id')
    ORDER BY x.row_id, x.id
), returned AS (
    SELECT x.id, x.customer_id
    FROM changed x JOIN customers c ON c.id = x.customer_id
    WHERE (c.merged_into_id IS NULL OR EXISTS (
            SELECT FROM customer_merges m WHERE m.absorbed_id = c.id
                AND m.run_id = CAST(:run_id AS uuid) AND m.undone_at IS NULL))
      AND NOT EXISTS (
            SELECT FROM run_changes l WHERE l.table_name = 'leads' AND l.row_id = x.id
                AND l.id > x.change_id AND l.run_id <> CAST(:run_id AS uuid)
                AND jsonb_exists(l.before, 'customer_id'))
), back AS (
    SELECT id, coalesce(r.customer_id, p.customer_id) AS customer_id
    FROM parted p FULL JOIN returned r USING (id)
), placed AS (
    SELECT l.id, l.run_id, b.customer_id FROM back b JOIN leads l ON l.id = b.id
    UNION ALL
    SELECT l.id, l.run_id, l.customer_id
    FROM customers c JOIN leads l ON l.customer_id = c.id
    WHERE c.run_id = CAST(:run_id AS uuid) AND l.id NOT IN (SELECT id FROM back)
), staying AS MATERIALIZED (
    SELECT p.customer_id FROM placed p
    WHERE p.run_id IS DISTINCT FROM CAST(:run_id AS uuid) OR EXISTS (
        SELECT FROM run_changes x WHERE x.table_name = 'leads' AND x.row_id = p.id
            AND x.run_id <> CAST(:run_id AS uuid))
), holding AS MATERIALIZED (
    SELECT m.survivor_id, m.absorbed_id FROM customer_merges m
    WHERE m.run_id <> CAST(:run_id AS uuid)
       OR (m.run_id IS NULL AND m.undone_at IS NULL AND EXISTS (
           SELECT FROM jsonb_array_elements_text(m.moved -> 'leads') AS lead (id)
           JOIN leads l ON l.id = CAST(lead.id AS uuid)
           WHERE l.run_id IS DISTINCT FROM CAST(:run_id AS uuid) OR EXISTS (
               SELECT FROM run_changes x WHERE x.table_name = 'leads' AND x.row_id = l.id
                   AND x.run_id <> CAST(:run_id AS uuid))))
)
SELECT uuid_send(c.id) AS key
FROM customers c
WHERE c.run_id = CAST(:run_id AS uuid)
  AND NOT EXISTS (SELECT FROM staying s WHERE s.customer_id = c.id)
  AND NOT EXISTS (SELECT FROM holding h WHERE h.survivor_id = c.id)
  AND NOT EXISTS (SELECT FROM holding h WHERE h.absorbed_id = c.id);

-- name: rows_leaving
-- How many rows of each table a rollback of a run takes away, beside what blocks it.
WITH held AS (
    SELECT c.id FROM conversations c
    WHERE c.run_id = CAST(:run_id AS uuid)
       OR c.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
), going_jobs AS (
    SELECT j.id FROM jobs j
    WHERE j.customer_id = ANY (CAST(:customers AS uuid[]))
       OR j.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
       OR j.conversation_id IN (SELECT id FROM held)
)
SELECT (SELECT count(*) FROM messages WHERE run_id = CAST(:run_id AS uuid)) AS messages,
       (SELECT count(*) FROM audit_log WHERE run_id = CAST(:run_id AS uuid)
            AND log <> 'backstory') AS audit_log,
       (SELECT count(*) FROM conversations WHERE run_id = CAST(:run_id AS uuid)) AS conversations,
       (SELECT count(*) FROM leads l WHERE l.run_id = CAST(:run_id AS uuid) AND NOT EXISTS (
            SELECT FROM run_changes x WHERE x.table_name = 'leads' AND x.row_id = l.id
                AND x.run_id <> l.run_id)) AS leads,
       cardinality(CAST(:customers AS uuid[])) AS customers,
       (SELECT count(*) FROM customer_merges WHERE run_id = CAST(:run_id AS uuid))
            AS customer_merges,
       (SELECT count(*) FROM skips WHERE run_id = CAST(:run_id AS uuid)) AS skips,
       (SELECT count(*) FROM quarantine WHERE run_id = CAST(:run_id AS uuid)) AS quarantine,
       (SELECT count(*) FROM conflicts WHERE run_id = CAST(:run_id AS uuid)) AS conflicts,
       (SELECT count(*) FROM conversation_summaries s
        JOIN conversations c ON c.id = s.conversation_id
        WHERE (c.run_id = CAST(:run_id AS uuid)
               OR EXISTS (SELECT FROM messages m WHERE m.conversation_id = c.id
                          AND m.run_id = CAST(:run_id AS uuid)))
          AND (c.run_id = CAST(:run_id AS uuid) OR c.lead_id NOT IN (
               SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))))
            AS conversation_summaries,
       (SELECT count(*) FROM memory_notes n
        WHERE n.status NOT IN ('confirmed', 'rejected')
          AND (n.run_id = CAST(:run_id AS uuid)
               OR n.customer_id = ANY (CAST(:customers AS uuid[]))
               OR n.source_lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
               OR EXISTS (SELECT FROM messages m WHERE m.id = ANY (n.source_message_ids)
                          AND m.run_id = CAST(:run_id AS uuid)))
          AND NOT EXISTS (SELECT FROM going_jobs j WHERE j.id = n.job_id)
          AND NOT EXISTS (SELECT FROM messages m WHERE m.id = ANY (n.source_message_ids)
                          AND m.conversation_id IN (SELECT id FROM held)
                          AND m.run_id IS DISTINCT FROM CAST(:run_id AS uuid))) AS memory_notes,
       (SELECT count(*) FROM confirmations k
        WHERE k.confirmed_at IS NULL
          AND (k.customer_id = ANY (CAST(:customers AS uuid[]))
            OR k.conversation_id IN (SELECT id FROM held)
            OR EXISTS (SELECT FROM leads l WHERE l.id = k.source_id AND l.run_id = CAST(:run_id AS uuid))
            OR EXISTS (SELECT FROM going_jobs j WHERE j.id = k.source_id)
            OR EXISTS (SELECT FROM messages m WHERE m.id = k.source_id
                       AND (m.run_id = CAST(:run_id AS uuid) OR m.conversation_id IN (SELECT id FROM held)))
            OR EXISTS (SELECT FROM memory_notes n JOIN messages m ON m.id = ANY (n.source_message_ids)
                       WHERE n.id = k.source_id
                         AND (m.run_id = CAST(:run_id AS uuid)
                              OR m.conversation_id IN (SELECT id FROM held))))) AS confirmations,
       (SELECT count(*) FROM tool_calls t
        WHERE t.outcome NOT IN ('created', 'updated', 'added', 'recorded', 'confirmed')
          AND (t.customer_id = ANY (CAST(:customers AS uuid[]))
            OR t.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
            OR t.conversation_id IN (SELECT id FROM held))) AS tool_calls;

-- name: rows_restored
-- How many rows of each table a rollback of a run makes what they were.
SELECT table_name, count(DISTINCT row_id) AS rows
FROM run_changes WHERE run_id = CAST(:run_id AS uuid)
GROUP BY table_name
ORDER BY table_name;

-- name: blocking_messages
-- Messages of others in conversations a run created, or with leads it created, by the run that wrote them.
SELECT m.run_id, count(*) AS rows
FROM messages m JOIN conversations c ON c.id = m.conversation_id
WHERE m.run_id IS DISTINCT FROM CAST(:run_id AS uuid)
  AND (c.run_id = CAST(:run_id AS uuid)
       OR c.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid)))
GROUP BY m.run_id;

-- name: blocking_conversations
-- Conversations of others with leads a run created, by the run that made them.
SELECT c.run_id, count(*) AS rows
FROM conversations c JOIN leads l ON l.id = c.lead_id
WHERE c.run_id IS DISTINCT FROM CAST(:run_id AS uuid) AND l.run_id = CAST(:run_id AS uuid)
GROUP BY c.run_id;

-- name: blocking_conflicts
-- Records of other runs that lost against one that goes, by the run that met them.
WITH held AS (
    SELECT c.id FROM conversations c
    WHERE c.run_id = CAST(:run_id AS uuid)
       OR c.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
)
SELECT x.run_id, count(*) AS rows
FROM conflicts x
WHERE x.run_id IS DISTINCT FROM CAST(:run_id AS uuid)
  AND (EXISTS (SELECT FROM audit_log a
               WHERE a.id = x.winner_id AND a.run_id = CAST(:run_id AS uuid))
       OR EXISTS (SELECT FROM messages m WHERE m.id = x.winner_id
                  AND m.conversation_id IN (SELECT id FROM held)))
GROUP BY x.run_id;

-- name: blocking_retries
-- Records a run quarantined that another run has taken, by the run that took them.
SELECT q.resolved_run_id AS run_id, count(*) AS rows
FROM quarantine q
WHERE q.run_id = CAST(:run_id AS uuid) AND q.resolved_run_id <> q.run_id
GROUP BY q.resolved_run_id;

-- name: blocking_jobs
-- Jobs of customers who leave, or of leads and conversations that go.
WITH held AS (
    SELECT c.id FROM conversations c
    WHERE c.run_id = CAST(:run_id AS uuid)
       OR c.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
), going_jobs AS (
    SELECT j.id FROM jobs j
    WHERE j.customer_id = ANY (CAST(:customers AS uuid[]))
       OR j.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
       OR j.conversation_id IN (SELECT id FROM held)
)
SELECT CAST(NULL AS uuid) AS run_id, count(*) AS rows FROM going_jobs;

-- name: blocking_addresses
-- Addresses of customers who leave.
SELECT CAST(NULL AS uuid) AS run_id, count(*) AS rows
FROM customer_addresses a WHERE a.customer_id = ANY (CAST(:customers AS uuid[]));

-- name: blocking_claims
-- What customers who leave said that they are known by.
SELECT CAST(NULL AS uuid) AS run_id, count(*) AS rows
FROM customer_identities i
WHERE i.customer_id = ANY (CAST(:customers AS uuid[])) AND i.provenance = 'claimed';

-- name: blocking_confirmations
-- What was confirmed of customers who leave, in conversations that go, or of leads, jobs, messages and notes that go.
WITH held AS (
    SELECT c.id FROM conversations c
    WHERE c.run_id = CAST(:run_id AS uuid)
       OR c.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
), going_jobs AS (
    SELECT j.id FROM jobs j
    WHERE j.customer_id = ANY (CAST(:customers AS uuid[]))
       OR j.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
       OR j.conversation_id IN (SELECT id FROM held)
)
SELECT CAST(NULL AS uuid) AS run_id, count(*) AS rows
FROM confirmations k
WHERE k.confirmed_at IS NOT NULL
  AND (k.customer_id = ANY (CAST(:customers AS uuid[]))
    OR k.conversation_id IN (SELECT id FROM held)
    OR EXISTS (SELECT FROM leads l WHERE l.id = k.source_id AND l.run_id = CAST(:run_id AS uuid))
    OR EXISTS (SELECT FROM going_jobs j WHERE j.id = k.source_id)
    OR EXISTS (SELECT FROM messages m WHERE m.id = k.source_id
               AND (m.run_id = CAST(:run_id AS uuid) OR m.conversation_id IN (SELECT id FROM held)))
    OR EXISTS (SELECT FROM memory_notes n JOIN messages m ON m.id = ANY (n.source_message_ids)
               WHERE n.id = k.source_id
                 AND (m.run_id = CAST(:run_id AS uuid)
                      OR m.conversation_id IN (SELECT id FROM held))));

-- name: blocking_tool_calls
-- Calls of tools that wrote something, for customers who leave, or for leads and conversations that go.
WITH held AS (
    SELECT c.id FROM conversations c
    WHERE c.run_id = CAST(:run_id AS uuid)
       OR c.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
)
SELECT CAST(NULL AS uuid) AS run_id, count(*) AS rows
FROM tool_calls t
WHERE t.outcome IN ('created', 'updated', 'added', 'recorded', 'confirmed')
  AND (t.customer_id = ANY (CAST(:customers AS uuid[]))
    OR t.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
    OR t.conversation_id IN (SELECT id FROM held));

-- name: blocking_notes
-- Notes that a person confirmed or rejected, of customers who leave or from what a run wrote; and
-- any that are of jobs that go, or from messages of others that go.
WITH held AS (
    SELECT c.id FROM conversations c
    WHERE c.run_id = CAST(:run_id AS uuid)
       OR c.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
), going_jobs AS (
    SELECT j.id FROM jobs j
    WHERE j.customer_id = ANY (CAST(:customers AS uuid[]))
       OR j.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
       OR j.conversation_id IN (SELECT id FROM held)
)
SELECT CAST(NULL AS uuid) AS run_id, count(*) AS rows
FROM memory_notes n
WHERE n.job_id IN (SELECT id FROM going_jobs)
   OR EXISTS (SELECT FROM messages m WHERE m.id = ANY (n.source_message_ids)
              AND m.conversation_id IN (SELECT id FROM held)
              AND m.run_id IS DISTINCT FROM CAST(:run_id AS uuid))
   OR (n.status IN ('confirmed', 'rejected')
       AND (n.run_id = CAST(:run_id AS uuid)
            OR n.customer_id = ANY (CAST(:customers AS uuid[]))
            OR n.source_lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
            OR EXISTS (SELECT FROM messages m WHERE m.id = ANY (n.source_message_ids)
                       AND m.run_id = CAST(:run_id AS uuid))));

-- name: remove_notes
-- Delete what `blocking_notes` counts; what such a note had superseded is a candidate again.
WITH held AS (
    SELECT c.id FROM conversations c
    WHERE c.run_id = CAST(:run_id AS uuid)
       OR c.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
), going_jobs AS (
    SELECT j.id FROM jobs j
    WHERE j.customer_id = ANY (CAST(:customers AS uuid[]))
       OR j.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
       OR j.conversation_id IN (SELECT id FROM held)
), going AS (
    SELECT n.id FROM memory_notes n
    WHERE n.job_id IN (SELECT id FROM going_jobs)
       OR EXISTS (SELECT FROM messages m WHERE m.id = ANY (n.source_message_ids)
                  AND m.conversation_id IN (SELECT id FROM held)
                  AND m.run_id IS DISTINCT FROM CAST(:run_id AS uuid))
       OR (n.status IN ('confirmed', 'rejected')
           AND (n.run_id = CAST(:run_id AS uuid)
                OR n.customer_id = ANY (CAST(:customers AS uuid[]))
                OR n.source_lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
                OR EXISTS (SELECT FROM messages m WHERE m.id = ANY (n.source_message_ids)
                           AND m.run_id = CAST(:run_id AS uuid))))
), freed AS (
    UPDATE memory_notes n
    SET superseded_by_id = NULL,
        status = CASE n.status WHEN 'superseded' THEN 'candidate' ELSE n.status END
    WHERE n.superseded_by_id IN (SELECT id FROM going) AND n.id NOT IN (SELECT id FROM going)
)
DELETE FROM memory_notes n WHERE n.id IN (SELECT id FROM going);

-- name: remove_confirmations
-- Delete what `blocking_confirmations` counts; with `seen` what was shown there and never confirmed.
WITH held AS (
    SELECT c.id FROM conversations c
    WHERE c.run_id = CAST(:run_id AS uuid)
       OR c.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
), going_jobs AS (
    SELECT j.id FROM jobs j
    WHERE j.customer_id = ANY (CAST(:customers AS uuid[]))
       OR j.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
       OR j.conversation_id IN (SELECT id FROM held)
)
DELETE FROM confirmations k
WHERE (k.confirmed_at IS NULL) = CAST(:seen AS boolean)
  AND (k.customer_id = ANY (CAST(:customers AS uuid[]))
    OR k.conversation_id IN (SELECT id FROM held)
    OR EXISTS (SELECT FROM leads l WHERE l.id = k.source_id AND l.run_id = CAST(:run_id AS uuid))
    OR EXISTS (SELECT FROM going_jobs j WHERE j.id = k.source_id)
    OR EXISTS (SELECT FROM messages m WHERE m.id = k.source_id
               AND (m.run_id = CAST(:run_id AS uuid) OR m.conversation_id IN (SELECT id FROM held)))
    OR EXISTS (SELECT FROM memory_notes n JOIN messages m ON m.id = ANY (n.source_message_ids)
               WHERE n.id = k.source_id
                 AND (m.run_id = CAST(:run_id AS uuid)
                      OR m.conversation_id IN (SELECT id FROM held))));

-- name: remove_jobs
-- Delete what `blocking_jobs` counts, with all that is in it.
WITH held AS (
    SELECT c.id FROM conversations c
    WHERE c.run_id = CAST(:run_id AS uuid)
       OR c.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
), going_jobs AS (
    SELECT j.id FROM jobs j
    WHERE j.customer_id = ANY (CAST(:customers AS uuid[]))
       OR j.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
       OR j.conversation_id IN (SELECT id FROM held)
), items AS (
    DELETE FROM job_items i WHERE i.job_id IN (SELECT id FROM going_jobs)
), events AS (
    DELETE FROM job_events e WHERE e.job_id IN (SELECT id FROM going_jobs)
)
DELETE FROM jobs j WHERE j.id IN (SELECT id FROM going_jobs);

-- name: remove_tool_calls
-- Delete what `blocking_tool_calls` counts; with `seen` the calls there that wrote nothing: the log of
-- our own deeds keeps them.
WITH held AS (
    SELECT c.id FROM conversations c
    WHERE c.run_id = CAST(:run_id AS uuid)
       OR c.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
)
DELETE FROM tool_calls t
WHERE (t.outcome NOT IN ('created', 'updated', 'added', 'recorded', 'confirmed'))
      = CAST(:seen AS boolean)
  AND (t.customer_id = ANY (CAST(:customers AS uuid[]))
    OR t.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
    OR t.conversation_id IN (SELECT id FROM held));

-- name: remove_addresses
-- Delete the addresses of customers who leave.
DELETE FROM customer_addresses a WHERE a.customer_id = ANY (CAST(:customers AS uuid[]));

-- name: remove_claims
-- Delete what customers who leave said that they are known by.
DELETE FROM customer_identities i
WHERE i.customer_id = ANY (CAST(:customers AS uuid[])) AND i.provenance = 'claimed';

-- name: remove_messages_of_others
-- Delete what `blocking_messages` counts, with the records, and count it by run.
WITH going AS (
    DELETE FROM messages m
    USING conversations c
    WHERE c.id = m.conversation_id AND m.run_id IS DISTINCT FROM CAST(:run_id AS uuid)
      AND (c.run_id = CAST(:run_id AS uuid)
           OR c.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid)))
    RETURNING m.id, m.run_id
), records AS (
    DELETE FROM audit_log a USING going g WHERE a.id = g.id
)
SELECT run_id, count(*) AS rows FROM going GROUP BY run_id;

-- name: remove_conversations_of_others
-- Delete what `blocking_conversations` counts, and count it by run.
WITH gone AS (
    DELETE FROM conversations c USING leads l
    WHERE l.id = c.lead_id AND l.run_id = CAST(:run_id AS uuid)
      AND c.run_id IS DISTINCT FROM CAST(:run_id AS uuid)
    RETURNING c.run_id
)
SELECT run_id, count(*) AS rows FROM gone GROUP BY run_id;

-- name: note_taken_away
-- Write down in a run how many of its rows the forced rollback of another one took away.
UPDATE backfill_runs r
SET findings = r.findings || jsonb_build_object('taken_away',
    coalesce(r.findings -> 'taken_away', jsonb_build_object()) || (
        SELECT jsonb_object_agg(t.name, CAST(:rows AS bigint) + coalesce(
            CAST(r.findings #>> ARRAY['taken_away', t.name] AS bigint), 0))
        FROM unnest(CAST(:tables AS text[])) AS t (name)))
WHERE r.id = CAST(:run_id AS uuid);

-- name: remove_conflicts_of_others
-- Delete what `blocking_conflicts` counts, and count it by run.
WITH held AS (
    SELECT c.id FROM conversations c
    WHERE c.run_id = CAST(:run_id AS uuid)
       OR c.lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
), gone AS (
    DELETE FROM conflicts x
    WHERE x.run_id IS DISTINCT FROM CAST(:run_id AS uuid)
      AND (EXISTS (SELECT FROM audit_log a
                   WHERE a.id = x.winner_id AND a.run_id = CAST(:run_id AS uuid))
           OR EXISTS (SELECT FROM messages m WHERE m.id = x.winner_id
                      AND m.conversation_id IN (SELECT id FROM held)))
    RETURNING x.run_id
)
SELECT run_id, count(*) AS rows FROM gone GROUP BY run_id;

-- name: remove_derived_notes
-- Delete notes nobody confirmed or rejected, of customers who leave or from what a run wrote.
WITH going AS (
    SELECT n.id
    FROM memory_notes n
    WHERE n.status NOT IN ('confirmed', 'rejected')
      AND (n.run_id = CAST(:run_id AS uuid)
           OR n.customer_id = ANY (CAST(:customers AS uuid[]))
           OR n.source_lead_id IN (SELECT id FROM leads WHERE run_id = CAST(:run_id AS uuid))
           OR EXISTS (SELECT FROM messages m WHERE m.id = ANY (n.source_message_ids)
                      AND m.run_id = CAST(:run_id AS uuid)))
), freed AS (
    UPDATE memory_notes n
    SET superseded_by_id = NULL,
        status = CASE n.status WHEN 'superseded' THEN 'candidate' ELSE n.status END
    WHERE n.superseded_by_id IN (SELECT id FROM going) AND n.id NOT IN (SELECT id FROM going)
)
DELETE FROM memory_notes n WHERE n.id IN (SELECT id FROM going);

-- name: remove_summaries
-- Delete summaries of conversations that a run made or wrote to: they tell of what goes. What other
-- runs remember of such conversations goes as well where it may tell of that.
WITH forgotten AS (
    DELETE FROM run_changes x
    WHERE x.table_name = 'conversation_summaries'
      AND EXISTS (SELECT FROM messages m
                  WHERE m.conversation_id = x.row_id AND m.run_id = CAST(:run_id AS uuid)
                    AND m.created_at <= CAST(x.before ->> 'last_at' AS timestamptz))
), gone AS (
    DELETE FROM conversation_summaries s USING conversations c
    WHERE c.id = s.conversation_id
      AND (c.run_id = CAST(:run_id AS uuid)
           OR EXISTS (SELECT FROM messages m WHERE m.conversation_id = c.id
                      AND m.run_id = CAST(:run_id AS uuid)))
    RETURNING s.conversation_id
)
UPDATE conversations c SET summary = NULL FROM gone g WHERE c.id = g.conversation_id;

-- name: remove_messages
-- Delete the messages a run created.
DELETE FROM messages WHERE run_id = CAST(:run_id AS uuid);

-- name: remove_records
-- Delete the records a run created; the log of our own deeds stays.
DELETE FROM audit_log WHERE run_id = CAST(:run_id AS uuid) AND log <> 'backstory';

-- name: remove_conversations
-- Delete the conversations a run created.
DELETE FROM conversations WHERE run_id = CAST(:run_id AS uuid);

-- name: remove_skips
-- Delete the skips of a run.
DELETE FROM skips WHERE run_id = CAST(:run_id AS uuid);

-- name: remove_quarantine
-- Delete the quarantined records of a run.
DELETE FROM quarantine WHERE run_id = CAST(:run_id AS uuid);

-- name: remove_conflicts
-- Delete the conflicts a run met.
DELETE FROM conflicts WHERE run_id = CAST(:run_id AS uuid);

-- name: conversations_moved_on
-- Conversations of others that a run moved on, and whether it remembers what they were.
WITH remembered AS (
    SELECT DISTINCT row_id AS id FROM run_changes
    WHERE run_id = CAST(:run_id AS uuid) AND table_name = 'conversations'
      AND (jsonb_exists(before, 'last_message_at') OR jsonb_exists(before, 'last_incoming_at'))
), latest AS (
    SELECT DISTINCT c.id
    FROM messages m JOIN conversations c ON c.id = m.conversation_id
    WHERE m.run_id = CAST(:run_id AS uuid) AND c.run_id IS DISTINCT FROM CAST(:run_id AS uuid)
      AND m.created_at IN (c.last_message_at, c.last_incoming_at)
)
SELECT uuid_send(coalesce(r.id, l.id)) AS key, r.id IS NOT NULL AS remembered
FROM remembered r FULL JOIN latest l ON l.id = r.id;

-- name: settle_conversations
-- When conversations were last heard of: what the first run found that still stands, or a message since.
WITH found AS (
    SELECT c.id,
           CASE WHEN l.known THEN CAST(l.value AS timestamptz)
                WHEN moved.remembered THEN c.last_message_at END AS last,
           CASE WHEN h.known THEN CAST(h.value AS timestamptz)
                WHEN moved.remembered THEN c.last_incoming_at END AS heard
    FROM unnest(CAST(:ids AS uuid[]), CAST(:remembered AS boolean[])) AS moved (id, remembered)
    JOIN conversations c ON c.id = moved.id
    LEFT JOIN LATERAL (
        SELECT true AS known, x.before ->> 'last_message_at' AS value FROM run_changes x
        WHERE x.table_name = 'conversations' AND x.row_id = c.id
          AND jsonb_exists(x.before, 'last_message_at')
        ORDER BY x.id LIMIT 1
    ) AS l ON true
    LEFT JOIN LATERAL (
        SELECT true AS known, x.before ->> 'last_incoming_at' AS value FROM run_changes x
        WHERE x.table_name = 'conversations' AND x.row_id = c.id
          AND jsonb_exists(x.before, 'last_incoming_at')
        ORDER BY x.id LIMIT 1
    ) AS h ON true
), settled AS (
    SELECT f.id, greatest(f.last, m.last) AS last, greatest(f.heard, m.heard) AS heard
    FROM found f
    CROSS JOIN LATERAL (
        SELECT max(created_at) AS last, max(created_at) FILTER (WHERE role = 'user') AS heard
        FROM messages WHERE conversation_id = f.id
    ) AS m
)
UPDATE conversations c SET last_message_at = s.last, last_incoming_at = s.heard
FROM settled s
WHERE c.id = s.id
  AND (c.last_message_at IS DISTINCT FROM s.last OR c.last_incoming_at IS DISTINCT FROM s.heard);

-- name: customers_of_run_or_none
-- The customers that a run created, and those that no run did.
SELECT uuid_send(id) AS key, run_id IS NOT NULL AS own
FROM customers WHERE run_id = CAST(:run_id AS uuid) OR run_id IS NULL;

-- name: hand_over_customers
-- Customers of a run that others need now go with those: with the run of the first lead that is at
-- home there, else with the run that merged or moved leads, so that its own rollback finds them.
WITH kept AS (
    SELECT c.id FROM customers c
    WHERE c.id = ANY (CAST(:own AS uuid[]))
       OR (c.run_id IS NULL AND c.id <> ALL (CAST(:of_none AS uuid[])))
), brought AS (
    SELECT CAST(lead.id AS uuid) AS id, m.run_id, m.survivor_id AS customer_id
    FROM customer_merges m
    CROSS JOIN LATERAL jsonb_array_elements_text(m.moved -> 'leads') AS lead (id)
    WHERE m.undone_at IS NULL AND m.survivor_id IN (SELECT id FROM kept)
    UNION ALL
    SELECT l.id, x.run_id, l.customer_id
    FROM leads l JOIN run_changes x ON x.table_name = 'leads' AND x.row_id = l.id
    WHERE jsonb_exists(x.before, 'customer_id') AND l.customer_id IN (SELECT id FROM kept)
), home AS (
    SELECT DISTINCT ON (l.customer_id) l.customer_id, l.run_id
    FROM leads l
    WHERE l.customer_id IN (SELECT id FROM kept) AND l.id NOT IN (SELECT id FROM brought)
    ORDER BY l.customer_id, l.created_at, l.id
)
UPDATE customers c
SET run_id = CASE WHEN h.customer_id IS NOT NULL THEN h.run_id ELSE coalesce(
    (SELECT m.run_id FROM customer_merges m WHERE c.id IN (m.absorbed_id, m.survivor_id)
     ORDER BY m.undone_at DESC NULLS FIRST, m.merged_at DESC LIMIT 1),
    (SELECT b.run_id FROM brought b WHERE b.customer_id = c.id AND b.run_id IS NOT NULL LIMIT 1))
    END
FROM kept k LEFT JOIN home h ON h.customer_id = k.id
WHERE c.id = k.id;

-- name: forget_lost_changes
-- Delete what later runs remember of rows that are gone.
DELETE FROM run_changes x
WHERE NOT CASE x.table_name
    WHEN 'customers' THEN EXISTS (SELECT FROM customers y WHERE y.id = x.row_id)
    WHEN 'leads' THEN EXISTS (SELECT FROM leads y WHERE y.id = x.row_id)
    WHEN 'conversations' THEN EXISTS (SELECT FROM conversations y WHERE y.id = x.row_id)
    WHEN 'customer_merges' THEN EXISTS (SELECT FROM customer_merges y WHERE y.id = x.row_id)
    WHEN 'quarantine' THEN EXISTS (SELECT FROM quarantine y WHERE y.id = x.row_id)
    WHEN 'messages' THEN EXISTS (SELECT FROM messages y WHERE y.id = x.row_id)
    WHEN 'conversation_summaries' THEN EXISTS (
        SELECT FROM conversations y WHERE y.id = x.row_id)
    ELSE true END;
