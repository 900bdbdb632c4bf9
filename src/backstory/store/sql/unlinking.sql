-- name: merges_of_run
-- The merges a run made that still stand, the last first.
SELECT id, survivor_id, absorbed_id, moved, merged_at
FROM customer_merges WHERE run_id = CAST(:run_id AS uuid) AND undone_at IS NULL
ORDER BY merged_at DESC, id;

-- name: forget_merges
-- Delete a run's merges, when they are undone.
DELETE FROM customer_merges WHERE run_id = CAST(:run_id AS uuid);

-- name: analyze_changes
-- Let the planner know how many changes there are; a guess may cost hours.
ANALYZE run_changes;

-- name: hand_down_changes
-- Where a later run changed the same column, what this run found there becomes what the later run found.
WITH ours AS (
    SELECT DISTINCT ON (c.table_name, c.row_id, b.key)
        c.id, c.table_name, c.row_id, b.key, b.value
    FROM run_changes c CROSS JOIN LATERAL jsonb_each(c.before) b
    WHERE c.run_id = CAST(:run_id AS uuid)
      AND EXISTS (SELECT FROM run_changes l WHERE l.table_name = c.table_name
                  AND l.row_id = c.row_id AND l.run_id <> c.run_id AND l.id > c.id)
    ORDER BY c.table_name, c.row_id, b.key, c.id
), heirs AS (
    SELECT o.key, o.value, (
        SELECT min(l.id) FROM run_changes l
        WHERE l.table_name = o.table_name AND l.row_id = o.row_id AND l.id > o.id
          AND l.run_id <> CAST(:run_id AS uuid) AND jsonb_exists(l.before, o.key)) AS id
    FROM ours o
), handed AS (
    SELECT id, jsonb_object_agg(key, value) AS columns FROM heirs WHERE id IS NOT NULL GROUP BY id
)
UPDATE run_changes l SET before = l.before || h.columns FROM handed h WHERE l.id = h.id;

-- name: changed_tables
-- The tables in which a run changed rows that it did not create.
SELECT DISTINCT table_name FROM run_changes WHERE run_id = CAST(:run_id AS uuid);

-- name: park_addresses
-- Take the keys and ranks off addresses that get others back: two of them may change places.
UPDATE customer_addresses a
SET normalized_key = 'restoring:' || a.id, is_primary = false
FROM run_changes c
WHERE c.run_id = CAST(:run_id AS uuid) AND c.table_name = 'customer_addresses' AND c.row_id = a.id
  AND jsonb_exists(c.before, 'normalized_key');

-- name: forget_changes
-- Delete what a run remembered, when it is restored.
DELETE FROM run_changes WHERE run_id = CAST(:run_id AS uuid);

-- name: keep_leads
-- Leads a run created that others use by now become the others': that run's, or nobody's.
WITH used AS (
    SELECT l.id, u.run_id
    FROM leads l
    CROSS JOIN LATERAL (
        SELECT c.run_id, 1 AS place FROM conversations c WHERE c.lead_id = l.id
        UNION ALL
        SELECT NULL, 2 FROM jobs j WHERE j.lead_id = l.id
        UNION ALL
        SELECT NULL, 2 FROM tool_calls t WHERE t.lead_id = l.id
        UNION ALL
        SELECT r.run_id, 3 FROM run_changes r
        WHERE r.table_name = 'leads' AND r.row_id = l.id AND r.run_id <> l.run_id
        ORDER BY place LIMIT 1
    ) AS u
    WHERE l.run_id = CAST(:run_id AS uuid)
)
UPDATE leads l SET run_id = u.run_id FROM used u WHERE l.id = u.id;

-- name: profiles_of_run
-- Of customers a run created, the leads that go while others stay.
SELECT l.customer_id, l.id AS lead_id
FROM leads l JOIN customers c ON c.id = l.customer_id AND c.run_id = l.run_id
WHERE l.run_id = CAST(:run_id AS uuid)
  AND EXISTS (SELECT FROM leads o WHERE o.customer_id = l.customer_id
              AND o.run_id IS DISTINCT FROM l.run_id);

-- name: forget_leads
-- Delete the leads a run created.
DELETE FROM leads WHERE run_id = CAST(:run_id AS uuid);

-- name: keep_identities
-- Identities a run found first stay with leads of others that carry them, if nothing else says so.
WITH carried AS (
    SELECT i.id, l.run_id
    FROM customer_identities i
    CROSS JOIN LATERAL (
        SELECT o.run_id FROM leads o
        WHERE o.customer_id = i.customer_id
          AND i.value = CASE i.kind WHEN 'phone' THEN o.phone_e164 WHEN 'email' THEN o.email
                                    ELSE o.channel || ':' || o.messenger_psid END
        ORDER BY o.created_at, o.id LIMIT 1
    ) AS l
    WHERE i.run_id = CAST(:run_id AS uuid) AND i.provenance <> 'claimed'
      AND NOT EXISTS (
          SELECT FROM run_changes r
          WHERE r.run_id = i.run_id AND r.table_name = 'customer_identities'
            AND r.before ->> 'kind' = i.kind AND r.before ->> 'value' = i.value)
)
UPDATE customer_identities i SET run_id = c.run_id FROM carried c WHERE i.id = c.id;

-- name: forget_identities
-- Delete the identities a run created.
DELETE FROM customer_identities WHERE run_id = CAST(:run_id AS uuid);

-- name: strays
-- Customers that are merged again, now that a run's split is taken back, though others linked to them since.
SELECT c.id FROM customers c JOIN run_changes r ON r.row_id = c.id
WHERE r.run_id = CAST(:run_id AS uuid) AND r.table_name = 'customers'
  AND jsonb_exists(r.before, 'merged_into_id') AND c.merged_into_id IS NOT NULL;

-- name: drop_uncarried
-- Delete what these customers were known by through leads that are gone.
DELETE FROM customer_identities i
WHERE i.customer_id = ANY (CAST(:ids AS uuid[])) AND i.provenance <> 'claimed'
  AND NOT EXISTS (
      SELECT FROM leads l
      WHERE l.customer_id = i.customer_id
        AND i.value = CASE i.kind WHEN 'phone' THEN l.phone_e164 WHEN 'email' THEN l.email
                                  ELSE l.channel || ':' || l.messenger_psid END);

-- name: keep_customers
-- Customers a run created that are still needed become those of their earliest lead.
UPDATE customers c
SET run_id = (SELECT l.run_id FROM leads l WHERE l.customer_id = c.id
              ORDER BY l.created_at, l.id LIMIT 1)
WHERE c.run_id = CAST(:run_id AS uuid)
RETURNING c.id;

-- name: linked_since
-- Whether anything was linked, or taken back, after a run: then what it connected may still be connected.
SELECT EXISTS (SELECT FROM leads WHERE run_id IS NULL)
    OR EXISTS (
        SELECT FROM backfill_runs b JOIN backfill_runs me ON me.id = CAST(:run_id AS uuid)
        WHERE b.id <> me.id
          AND ((b.status = 'rolled_back' AND b.updated_at >= me.created_at)
               OR (b.created_at >= me.created_at
                   AND (EXISTS (SELECT FROM leads l WHERE l.run_id = b.id)
                        OR EXISTS (SELECT FROM run_changes c WHERE c.run_id = b.id
                                   AND c.table_name NOT IN (
                                       'quarantine', 'conversation_summaries'))
                        OR EXISTS (SELECT FROM customer_merges m WHERE m.run_id = b.id)))));

-- name: customers_of_run
-- Customers whose leads or identities a run created or changed, and both sides of its merges.
SELECT l.customer_id AS id FROM leads l WHERE l.run_id = CAST(:run_id AS uuid)
UNION
SELECT l.customer_id FROM run_changes c JOIN leads l ON l.id = c.row_id
WHERE c.run_id = CAST(:run_id AS uuid) AND c.table_name = 'leads'
UNION
SELECT i.customer_id FROM run_changes c JOIN customer_identities i ON i.id = c.row_id
WHERE c.run_id = CAST(:run_id AS uuid) AND c.table_name = 'customer_identities'
UNION
SELECT i.customer_id FROM customer_identities i WHERE i.run_id = CAST(:run_id AS uuid)
UNION
SELECT s.id FROM customer_merges m CROSS JOIN LATERAL (VALUES (m.survivor_id), (m.absorbed_id)) AS s (id)
WHERE m.run_id = CAST(:run_id AS uuid);

-- name: keys_of_customers
-- Every key that leads of these customers carry.
SELECT DISTINCT k.kind, k.value
FROM leads l
CROSS JOIN LATERAL (
    VALUES ('messenger', l.channel || ':' || l.messenger_psid), ('phone', l.phone_e164),
           ('email', l.email)
) AS k (kind, value)
WHERE l.customer_id = ANY (CAST(:ids AS uuid[]))
  AND k.value IS NOT NULL AND octet_length(k.value) <= 1024
ORDER BY k.kind, k.value;

-- name: customers_concerned
-- Customers a run created or changed, sides of merges it ended, and where leads that it created or
-- changed were before.
SELECT c.id FROM customers c WHERE c.run_id = CAST(:run_id AS uuid)
UNION
SELECT x.row_id FROM run_changes x
WHERE x.run_id = CAST(:run_id AS uuid) AND x.table_name = 'customers'
UNION
SELECT s.id
FROM run_changes x JOIN customer_merges m ON m.id = x.row_id
CROSS JOIN LATERAL (VALUES (m.survivor_id), (m.absorbed_id)) AS s (id)
WHERE x.run_id = CAST(:run_id AS uuid) AND x.table_name = 'customer_merges'
UNION
SELECT CAST(x.before ->> 'customer_id' AS uuid) FROM run_changes x
WHERE x.table_name = 'leads' AND jsonb_exists(x.before, 'customer_id')
  AND (x.run_id = CAST(:run_id AS uuid)
       OR x.row_id IN (SELECT l.id FROM leads l WHERE l.run_id = CAST(:run_id AS uuid)));

-- name: customers_ever_merged
-- These customers and all that were merged with them, however far.
WITH RECURSIVE found AS (
    SELECT unnest(CAST(:ids AS uuid[])) AS id
    UNION
    SELECT o.id
    FROM found f
    CROSS JOIN LATERAL (
        SELECT m.absorbed_id FROM customer_merges m WHERE m.survivor_id = f.id
        UNION ALL
        SELECT m.survivor_id FROM customer_merges m WHERE m.absorbed_id = f.id
        UNION ALL
        SELECT c.id FROM customers c WHERE c.merged_into_id = f.id
        UNION ALL
        SELECT c.merged_into_id FROM customers c
        WHERE c.id = f.id AND c.merged_into_id IS NOT NULL
    ) AS o (id)
)
SELECT id FROM found;

-- name: needed_by_merges
-- Of these customers, the sides of merges that runs answer for, of those that a run may bring back,
-- and of those by which leads came that are there still, or may come back there.
WITH RECURSIVE merges AS (
    SELECT m.* FROM customer_merges m WHERE m.survivor_id = ANY (CAST(:ids AS uuid[]))
    UNION
    SELECT m.* FROM customer_merges m WHERE m.absorbed_id = ANY (CAST(:ids AS uuid[]))
), up AS (
    SELECT m.id AS merge_id, c.id, c.merged_into_id
    FROM merges m JOIN customers c ON c.id = m.survivor_id
    UNION ALL
    SELECT up.merge_id, c.id, c.merged_into_id FROM up JOIN customers c ON c.id = up.merged_into_id
), holding AS (
    SELECT m.survivor_id, m.absorbed_id
    FROM merges m
    WHERE m.run_id IS NOT NULL
       OR EXISTS (SELECT FROM run_changes x
                  WHERE x.table_name = 'customer_merges' AND x.row_id = m.id)
       OR (m.undone_at IS NULL AND EXISTS (
           SELECT FROM jsonb_array_elements_text(m.moved -> 'leads') AS lead (id)
           JOIN leads l ON l.id = CAST(lead.id AS uuid)
           WHERE l.customer_id IN (SELECT up.id FROM up WHERE up.merge_id = m.id)
              OR EXISTS (SELECT FROM run_changes x
                         WHERE x.table_name = 'leads' AND x.row_id = l.id
                           AND jsonb_exists(x.before, 'customer_id'))))
)
SELECT survivor_id AS id FROM holding WHERE survivor_id = ANY (CAST(:ids AS uuid[]))
UNION
SELECT absorbed_id FROM holding WHERE absorbed_id = ANY (CAST(:ids AS uuid[]));

-- name: forget_merges_of
-- Delete the merges that these customers are a side of.
DELETE FROM customer_merges
WHERE survivor_id = ANY (CAST(:ids AS uuid[])) OR absorbed_id = ANY (CAST(:ids AS uuid[]));

-- name: remove_customers
-- Delete customers on whom nothing hangs.
DELETE FROM customers WHERE id = ANY (CAST(:ids AS uuid[]));
