-- name: customers_of_one
-- A customer, the one it was merged into first, with all that were ever merged into that one.
WITH RECURSIVE up AS (
    SELECT c.id, c.merged_into_id, 0 AS steps FROM customers c WHERE c.id = CAST(:customer_id AS uuid)
    UNION ALL
    SELECT c.id, c.merged_into_id, up.steps + 1 FROM customers c JOIN up ON c.id = up.merged_into_id
), family AS (
    SELECT id, 0 AS depth FROM (SELECT id FROM up ORDER BY steps DESC LIMIT 1) AS root
    UNION ALL
    SELECT c.id, f.depth + 1 FROM customers c JOIN family f ON c.merged_into_id = f.id
)
SELECT id FROM family ORDER BY depth, id;

-- name: leads_of_erased
-- The leads of these customers, by both their ids.
SELECT l.id, l.external_id FROM leads l
WHERE l.customer_id = ANY (CAST(:customers AS uuid[])) ORDER BY l.id;

-- name: hold_erased_customers
-- Let nobody add to these customers any more until this transaction ends.
SELECT c.id FROM customers c WHERE c.id = ANY (CAST(:customers AS uuid[]))
ORDER BY c.id FOR UPDATE;

-- name: hold_runs
-- No run begins, ends or changes its state until this transaction ends.
LOCK TABLE backfill_runs IN SHARE ROW EXCLUSIVE MODE;

-- name: unfinished_runs
-- Runs over a log that may still go on: their working files hold what they have read.
SELECT r.id, r.status, r.host FROM backfill_runs r
WHERE r.mode IN ('backfill', 'retry') AND r.status IN ('running', 'paused', 'failed')
ORDER BY r.created_at;

-- name: ended_runs
-- Which of these runs have ended for good.
SELECT r.id FROM backfill_runs r
WHERE r.id = ANY (CAST(:ids AS uuid[])) AND r.status IN ('done', 'canceled', 'rolled_back');

-- name: ids_of_erased
-- Our ids of these customers, their leads and conversations, and some of their messages.
SELECT c.id FROM customers c WHERE c.id = ANY (CAST(:customers AS uuid[]))
UNION ALL
SELECT l.id FROM leads l WHERE l.customer_id = ANY (CAST(:customers AS uuid[]))
UNION ALL
SELECT v.id FROM conversations v WHERE v.customer_id = ANY (CAST(:customers AS uuid[]))
UNION ALL
(SELECT m.id FROM messages m WHERE m.customer_id = ANY (CAST(:customers AS uuid[]))
 ORDER BY m.created_at, m.id LIMIT 5);

-- name: keys_of_erased
-- What these customers are known by and nobody else is: ids of leads, phones, addresses, messenger ids.
WITH mine AS (
    SELECT DISTINCT k.value
    FROM leads l CROSS JOIN LATERAL (VALUES
        (l.external_id), (l.messenger_psid), (l.channel || ':' || l.messenger_psid), (l.phone_raw),
        (l.phone_e164), (l.email)) AS k (value)
    WHERE l.customer_id = ANY (CAST(:customers AS uuid[]))
    UNION
    SELECT i.value FROM customer_identities i WHERE i.customer_id = ANY (CAST(:customers AS uuid[]))
    UNION
    SELECT k.value
    FROM customers c CROSS JOIN LATERAL (VALUES (c.phone_raw), (c.phone_e164), (c.email)) AS k (value)
    WHERE c.id = ANY (CAST(:customers AS uuid[]))
), taken AS (
    SELECT o.customer_id, m.value FROM mine m JOIN leads o ON o.external_id = m.value
    UNION ALL
    SELECT o.customer_id, m.value FROM mine m JOIN leads o ON o.messenger_psid = m.value
    UNION ALL
    SELECT o.customer_id, m.value FROM mine m JOIN leads o ON o.phone_raw = m.value
    UNION ALL
    SELECT o.customer_id, m.value FROM mine m JOIN leads o ON o.phone_e164 = m.value
    UNION ALL
    SELECT o.customer_id, m.value FROM mine m JOIN leads o ON o.email = m.value
    UNION ALL
    SELECT o.customer_id, m.value FROM mine m JOIN customer_identities o ON o.value = m.value
    UNION ALL
    SELECT o.id, m.value FROM mine m JOIN customers o ON m.value IN (o.phone_raw, o.phone_e164, o.email)
)
SELECT m.value FROM mine m
WHERE m.value <> ''
  AND NOT EXISTS (SELECT FROM taken t WHERE t.value = m.value
                  AND t.customer_id <> ALL (CAST(:customers AS uuid[])))
ORDER BY m.value;

-- name: names_of_erased
-- The names of these customers.
SELECT DISTINCT n.value
FROM (
    SELECT k.value FROM leads l CROSS JOIN LATERAL (VALUES (l.name)) AS k (value)
    WHERE l.customer_id = ANY (CAST(:customers AS uuid[]))
    UNION ALL
    SELECT k.value
    FROM customers c CROSS JOIN LATERAL (VALUES (c.display_name), (c.company_name)) AS k (value)
    WHERE c.id = ANY (CAST(:customers AS uuid[]))
) AS n
WHERE n.value <> ''
ORDER BY n.value;

-- name: texts_of_erased
-- Some of what these customers said and were told, the same at each time of asking.
SELECT m.content FROM messages m
WHERE m.customer_id = ANY (CAST(:customers AS uuid[])) AND length(m.content) >= 20
ORDER BY md5(CAST(m.id AS text)) LIMIT CAST(:limit AS bigint);

-- name: quarantine_naming
-- Quarantined records whose bytes may name a customer, in whatever case, or hold these digits in a row.
SELECT q.id, q.raw, q.options -> 'columns' AS columns FROM quarantine q
CROSS JOIN LATERAL (SELECT lower(encode(q.raw, 'escape')) AS escaped OFFSET 0) AS e
CROSS JOIN LATERAL (
    -- What people write between the digits of a phone; beyond ASCII a blank, a hyphen, a dash.
    SELECT translate(replace(replace(replace(e.escaped, '\302\240', ''), '\342\200\221', ''),
                             '\342\200\223', ''), ' ()-./', '') AS closed OFFSET 0
) AS d
WHERE EXISTS (SELECT FROM unnest(CAST(:words AS text[])) AS w (word)
              WHERE strpos(e.escaped, lower(encode(convert_to(w.word, 'UTF8'), 'escape'))) > 0)
   OR EXISTS (SELECT FROM unnest(CAST(:digits AS text[])) AS n (digits)
              WHERE strpos(d.closed, n.digits) > 0);

-- name: deeds_naming
-- Our own deeds that may name a customer, or tell what a service said; in whatever spacing.
SELECT a.id, a.audit_id, a.payload, a.run_id FROM audit_log a
CROSS JOIN LATERAL (SELECT lower(a.audit_id || ' ' || CAST(a.payload AS text)) AS small OFFSET 0) s
CROSS JOIN LATERAL (
    SELECT s.small || ' ' || regexp_replace(s.small, '(\s|\\[nrt])+', ' ', 'g') AS told OFFSET 0) t
WHERE a.log = 'backstory' AND (strpos(s.small, ' refused to ') > 0 OR EXISTS (
    SELECT FROM unnest(CAST(:words AS text[])) AS w (word) WHERE strpos(t.told, w.word) > 0));

-- name: payload_of_deed
-- What was written down of one of our own deeds.
SELECT a.payload FROM audit_log a
WHERE a.log = 'backstory' AND a.audit_id = CAST(:audit_id AS text);

-- name: rewrite_deed
-- Keep one of our own deeds without the names.
UPDATE audit_log SET payload = CAST(:payload AS jsonb), payload_hash = CAST(:hash AS bytea)
WHERE id = CAST(:id AS uuid);

-- name: forget_deeds
-- Delete deeds that were done to a customer.
DELETE FROM audit_log WHERE id = ANY (CAST(:ids AS uuid[])) AND log = 'backstory';

-- name: runs_naming
-- Runs of which something may name a customer, or tells what a service said; in whatever spacing.
SELECT r.id, r.options, r.findings, r.report, r.error FROM backfill_runs r
CROSS JOIN LATERAL (
    SELECT lower(concat_ws(' ', r.options, r.findings, r.report, r.error)) AS small OFFSET 0) s
CROSS JOIN LATERAL (
    SELECT s.small || ' ' || regexp_replace(s.small, '(\s|\\[nrt])+', ' ', 'g') AS told OFFSET 0) t
WHERE strpos(s.small, ' refused to ') > 0 OR EXISTS (
    SELECT FROM unnest(CAST(:words AS text[])) AS w (word) WHERE strpos(t.told, w.word) > 0);

-- name: rewrite_run
-- Keep what a run says of itself without the names.
UPDATE backfill_runs
SET options = CAST(:options AS jsonb), findings = CAST(:findings AS jsonb),
    report = CAST(:report AS jsonb), error = CAST(:error AS text)
WHERE id = CAST(:id AS uuid);

-- name: merges_naming
-- Merges of others that may name a customer, or rows that once were moved and are erased.
SELECT m.id, m.reason, m.moved FROM customer_merges m
WHERE EXISTS (SELECT FROM unnest(CAST(:words AS text[])) AS w (word)
              WHERE strpos(lower(concat_ws(' ', m.reason, m.moved)), w.word) > 0);

-- name: rewrite_merge
-- Keep a merge of others without what is erased.
UPDATE customer_merges SET reason = CAST(:reason AS jsonb), moved = CAST(:moved AS jsonb)
WHERE id = CAST(:id AS uuid);

-- name: changes_naming
-- Before-images of others' rows that may name a customer.
SELECT x.id, x.before FROM run_changes x
WHERE EXISTS (SELECT FROM unnest(CAST(:words AS text[])) AS w (word)
              WHERE strpos(lower(CAST(x.before AS text)), w.word) > 0);

-- name: rewrite_change
-- Keep a before-image without what is erased.
UPDATE run_changes SET before = CAST(:before AS jsonb) WHERE id = CAST(:id AS bigint);

-- name: forget_empty_changes
-- Delete before-images in which nothing is left to restore.
DELETE FROM run_changes WHERE before = '{}';

-- name: partitions_naming
-- Shares of ended runs whose cursor stands at one of these leads, or whose examples may name one.
SELECT p.run_id, p.stage, p.number, p.counts, position.at_lead
FROM run_partitions p
JOIN backfill_runs r ON r.id = p.run_id AND r.status IN ('done', 'canceled', 'rolled_back')
CROSS JOIN LATERAL (
    SELECT EXISTS (SELECT FROM unnest(CAST(:leads AS uuid[])) AS l (id)
                   WHERE position(uuid_send(l.id) IN p.cursor) > 0) AS at_lead
) AS position
WHERE position.at_lead
   OR EXISTS (SELECT FROM unnest(CAST(:words AS text[])) AS w (word)
              WHERE strpos(lower(CAST(p.counts AS text)), w.word) > 0);

-- name: rewrite_partition
-- Keep the counts of a share of an ended run without the names, and its cursor if it names nobody.
UPDATE run_partitions
SET counts = CAST(:counts AS jsonb),
    cursor = CASE WHEN CAST(:at_lead AS boolean) THEN '' ELSE cursor END
WHERE run_id = CAST(:run_id AS uuid) AND stage = CAST(:stage AS text)
  AND number = CAST(:number AS bigint);

-- name: clear_samples
-- Let the planner forget the samples of a table's columns.
SELECT pg_clear_attribute_stats(CAST(s.schemaname AS text), CAST(s.tablename AS text),
                                CAST(s.attname AS text), s.inherited)
FROM pg_stats s
WHERE s.schemaname = current_schema() AND s.tablename = CAST(:table AS name);

-- name: columns_that_can_hold_words
-- Every column of ours that can hold a word, or an id, with how it is read.
SELECT CAST(c.relname AS text) AS table_name, CAST(a.attname AS text) AS column_name,
       CASE WHEN t.typname = 'bytea' THEN 'bytes'
            WHEN t.typname = 'uuid' THEN 'id' ELSE 'text' END AS form
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relnamespace = CAST(current_schema() AS regnamespace) AND c.relkind IN ('r', 'p', 'm')
  AND (t.typcategory = 'S' OR t.typname IN ('bytea', 'json', 'jsonb', 'xml', 'uuid', 'name')
       OR t.typname IN ('_text', '_varchar', '_json', '_jsonb', '_uuid', 'hstore'))
ORDER BY c.relname, a.attnum;
