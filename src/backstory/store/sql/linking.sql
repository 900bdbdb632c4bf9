-- name: lock_linking
-- One linker at a time in a schema, until the transaction ends: a decision stays true until it is applied.
SELECT pg_advisory_xact_lock(hashtextextended('backstory:link:' || current_schema(), 0));

-- name: has_schema
-- Whether our tables are there at all; a business may have a table `leads` of its own.
SELECT to_regclass('customer_merges') IS NOT NULL;

-- name: has_leads
-- Whether any lead is known, so that a first load need not compare.
SELECT EXISTS (SELECT FROM leads);

-- name: linking_moment
-- Since when a customer is there whose founding lead has no time: the start of the run.
SELECT coalesce((SELECT created_at FROM backfill_runs WHERE id = CAST(:run_id AS uuid)), now());

-- name: compare_leads
-- Of listed leads, the new ones (no customer) and those that the list changes, as they are to be and as they were.
-- A sparing source knows little of a lead: it adds and replaces, but never blanks.
WITH listed AS (
    SELECT * FROM ROWS FROM (
        json_to_recordset(CAST(:leads AS json)) AS (
            id uuid, channel text, psid text, phone_raw text, phone text, email text, name text,
            stage text, state text, moment timestamptz)
    ) WITH ORDINALITY
        AS n (id, channel, psid, phone_raw, phone, email, name, stage, state, moment, place)
), known AS (
    SELECT n.place, l.customer_id, l.source,
        s.channel, s.psid, s.phone_raw, s.phone, s.email, s.name, s.stage, s.state, s.moment,
        l.channel AS was_channel, l.messenger_psid AS was_psid, l.phone_raw AS was_phone_raw,
        l.phone_e164 AS was_phone, l.email AS was_email, l.name AS was_name, l.stage AS was_stage,
        l.state_metadata AS was_state, l.created_at AS was_moment
    FROM listed n
    JOIN leads l ON l.id = n.id
    CROSS JOIN LATERAL (
        SELECT n.channel, n.psid, n.phone_raw, n.phone, n.email, n.name, n.stage,
               CAST(n.state AS jsonb) AS state, n.moment
        WHERE NOT CAST(:sparing AS boolean)
        UNION ALL
        SELECT CASE WHEN n.channel = 'other' THEN l.channel ELSE n.channel END,
               coalesce(n.psid, l.messenger_psid),
               CASE WHEN n.phone IS NULL AND l.phone_e164 IS NOT NULL THEN l.phone_raw
                    ELSE coalesce(n.phone_raw, l.phone_raw) END,
               coalesce(n.phone, l.phone_e164), coalesce(n.email, l.email), coalesce(n.name, l.name),
               coalesce(n.stage, l.stage),
               CASE WHEN n.state = '{}' THEN l.state_metadata ELSE CAST(n.state AS jsonb) END,
               coalesce(l.created_at, n.moment)
        WHERE CAST(:sparing AS boolean)
    ) AS s (channel, psid, phone_raw, phone, email, name, stage, state, moment)
)
SELECT n.place - 1 AS place, uuid_send(k.customer_id) AS customer_id, c.created_at AS customer_since,
       k.channel, k.psid, k.phone_raw, k.phone, k.email, k.name, k.stage,
       CAST(k.state AS text) AS state, k.moment,
       k.was_channel, k.was_psid, k.was_phone, k.was_email
FROM listed n
LEFT JOIN known k ON k.place = n.place
LEFT JOIN customers c ON c.id = k.customer_id
WHERE k.place IS NULL
   OR (k.source <> 'list' AND NOT CAST(:sparing AS boolean))
   OR (k.channel, k.psid, k.phone_raw, k.phone, k.email, k.name, k.stage, k.state, k.moment)
      IS DISTINCT FROM
      (k.was_channel, k.was_psid, k.was_phone_raw, k.was_phone, k.was_email, k.was_name, k.was_stage,
       k.was_state, k.was_moment)
ORDER BY n.place;

-- name: leads_with_keys
-- The leads that carry any of these messenger ids, phones or e-mail addresses, with their customers.
SELECT l.external_id, l.channel, l.messenger_psid, l.phone_e164, l.email, l.created_at,
       uuid_send(l.customer_id) AS customer_id, c.created_at AS customer_since
FROM (
    SELECT l.id FROM unnest(CAST(:channels AS text[]), CAST(:psids AS text[])) AS k (channel, psid)
    JOIN leads l ON l.channel = k.channel AND l.messenger_psid = k.psid
        AND octet_length(l.messenger_psid) <= 1024
    UNION
    SELECT l.id FROM unnest(CAST(:phones AS text[])) AS k (phone)
    JOIN leads l ON l.phone_e164 = k.phone AND l.phone_e164 IS NOT NULL
    UNION
    SELECT l.id FROM unnest(CAST(:emails AS text[])) AS k (email)
    JOIN leads l ON l.email = k.email AND octet_length(l.email) <= 1024
) AS found
JOIN leads l ON l.id = found.id
JOIN customers c ON c.id = l.customer_id
ORDER BY l.id;

-- name: leads_of_customers
-- The leads of these customers, as `leads_with_keys` gives them.
SELECT l.external_id, l.channel, l.messenger_psid, l.phone_e164, l.email, l.created_at,
       uuid_send(l.customer_id) AS customer_id, c.created_at AS customer_since
FROM leads l JOIN customers c ON c.id = l.customer_id
WHERE l.customer_id = ANY (CAST(:ids AS uuid[]))
ORDER BY l.id;

-- name: standing_customers
-- Which of these customers exist, and whether they are free to be taken up again: merged into another,
-- or left by all their leads.
SELECT uuid_send(c.id) AS id,
       c.merged_into_id IS NOT NULL
       OR NOT EXISTS (SELECT FROM leads l WHERE l.customer_id = c.id) AS free
FROM customers c WHERE c.id = ANY (CAST(:ids AS uuid[]));

-- name: taken_apart
-- Pairs of customers whose merge a person undid; a merge that a split ended is none of them.
SELECT uuid_send(survivor_id) AS survivor, uuid_send(absorbed_id) AS absorbed
FROM customer_merges
WHERE survivor_id = ANY (CAST(:ids AS uuid[])) AND undone_at IS NOT NULL
  AND NOT jsonb_exists(reason, 'ended_by');

-- name: update_leads
-- Make known leads what the list says, keeping what changes of those that the run did not create.
WITH listed AS (
    SELECT id, channel, psid AS messenger_psid, phone_raw, phone AS phone_e164, email, name, stage,
           CAST(state AS jsonb) AS state_metadata, moment AS created_at,
           CAST(:source AS text) AS source
    FROM json_to_recordset(CAST(:leads AS json)) AS n (
        id uuid, channel text, psid text, phone_raw text, phone text, email text, name text,
        stage text, state text, moment timestamptz)
), kept AS (
    INSERT INTO run_changes (run_id, table_name, row_id, before)
    SELECT CAST(:run_id AS uuid), 'leads', l.id, was.columns
    FROM listed n
    JOIN leads l ON l.id = n.id
    CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(b.key, b.value) AS columns
        FROM jsonb_each(to_jsonb(l)) b
        JOIN jsonb_each(to_jsonb(n)) a ON a.key = b.key AND a.value <> b.value
        WHERE a.key <> 'source' OR a.value <> 'null'
    ) AS was
    WHERE CAST(:run_id AS uuid) IS NOT NULL AND was.columns IS NOT NULL
      AND l.run_id IS DISTINCT FROM CAST(:run_id AS uuid)
)
UPDATE leads l
SET channel = n.channel, messenger_psid = n.messenger_psid, phone_raw = n.phone_raw,
    phone_e164 = n.phone_e164, email = n.email, name = n.name, stage = n.stage,
    state_metadata = n.state_metadata, created_at = n.created_at,
    source = coalesce(n.source, l.source)
FROM listed n WHERE l.id = n.id;

-- name: follow_leads
-- A changed lead's first conversation follows in channel, contact, start and stage.
WITH wanted AS (
    SELECT c.id, l.channel,
           coalesce(l.messenger_psid, l.phone_e164, l.phone_raw) AS external_id,
           coalesce(l.created_at, c.started_at) AS started_at,
           CASE WHEN l.stage IS NULL AND NOT jsonb_exists(c.metadata, 'leadStage') THEN c.metadata
                ELSE c.metadata || jsonb_build_object('leadStage', l.stage) END AS metadata
    FROM leads l JOIN conversations c ON c.lead_id = l.id AND c.ordinal = 0
    WHERE l.id = ANY (CAST(:ids AS uuid[]))
), changing AS (
    SELECT w.*, c.run_id, (
        SELECT jsonb_object_agg(b.key, b.value)
        FROM jsonb_each(to_jsonb(c)) b
        JOIN jsonb_each(to_jsonb(w)) a ON a.key = b.key AND a.value <> b.value
    ) AS before
    FROM wanted w JOIN conversations c ON c.id = w.id
), kept AS (
    INSERT INTO run_changes (run_id, table_name, row_id, before)
    SELECT CAST(:run_id AS uuid), 'conversations', id, before FROM changing
    WHERE before IS NOT NULL AND CAST(:run_id AS uuid) IS NOT NULL
      AND run_id IS DISTINCT FROM CAST(:run_id AS uuid)
)
UPDATE conversations c
SET channel = n.channel, external_id = n.external_id, started_at = n.started_at, metadata = n.metadata
FROM changing n WHERE c.id = n.id AND n.before IS NOT NULL;

-- name: fill_customers
-- Give customers, where they are blank, what their leads say; the earliest lead speaks first.
WITH blank AS MATERIALIZED (
    SELECT * FROM customers
    WHERE id = ANY (CAST(:ids AS uuid[]))
      AND (display_name IS NULL OR email IS NULL OR preferred_channel IS NULL
           OR (phone_raw IS NULL AND phone_e164 IS NULL))
), filled AS (
    SELECT c.id, coalesce(c.display_name, s.name) AS display_name,
        CASE WHEN c.display_name IS NULL THEN coalesce(c.first_name, split_part(s.name, ' ', 1))
             ELSE c.first_name END AS first_name,
        CASE WHEN c.display_name IS NULL
             THEN coalesce(c.last_name, nullif(substr(s.name, strpos(s.name || ' ', ' ') + 1), ''))
             ELSE c.last_name END AS last_name,
        CASE WHEN c.phone_raw IS NULL AND c.phone_e164 IS NULL THEN s.phone[1][1]
             ELSE c.phone_raw END AS phone_raw,
        CASE WHEN c.phone_raw IS NULL AND c.phone_e164 IS NULL THEN s.phone[1][2]
             ELSE c.phone_e164 END AS phone_e164,
        coalesce(c.email, s.email) AS email,
        coalesce(c.preferred_channel, s.channel) AS preferred_channel
    FROM blank c
    CROSS JOIN LATERAL (
        SELECT
            (array_agg(l.name ORDER BY l.created_at, l.external_id COLLATE "C")
                FILTER (WHERE l.name IS NOT NULL))[1] AS name,
            (array_agg(l.email ORDER BY l.created_at, l.external_id COLLATE "C")
                FILTER (WHERE l.email IS NOT NULL))[1] AS email,
            (array_agg(l.channel ORDER BY l.created_at, l.external_id COLLATE "C")
                FILTER (WHERE l.channel <> 'other'))[1] AS channel,
            (array_agg(ARRAY[l.phone_raw, l.phone_e164]
                ORDER BY l.phone_e164 IS NULL, l.created_at, l.external_id COLLATE "C")
                FILTER (WHERE l.phone_raw IS NOT NULL))[1:1] AS phone
        FROM leads l WHERE l.customer_id = c.id
    ) AS s
    WHERE (c.display_name IS NULL AND s.name IS NOT NULL) OR (c.email IS NULL AND s.email IS NOT NULL)
       OR (c.phone_raw IS NULL AND c.phone_e164 IS NULL AND s.phone IS NOT NULL)
       OR (c.preferred_channel IS NULL AND s.channel IS NOT NULL)
), kept AS (
    INSERT INTO run_changes (run_id, table_name, row_id, before)
    SELECT CAST(:run_id AS uuid), 'customers', c.id, (
        SELECT jsonb_object_agg(b.key, b.value)
        FROM jsonb_each(to_jsonb(c)) b
        JOIN jsonb_each(to_jsonb(f)) a ON a.key = b.key AND a.value <> b.value)
    FROM filled f JOIN customers c ON c.id = f.id
    WHERE CAST(:run_id AS uuid) IS NOT NULL AND c.run_id IS DISTINCT FROM CAST(:run_id AS uuid)
)
UPDATE customers c
SET display_name = f.display_name, first_name = f.first_name, last_name = f.last_name,
    phone_raw = f.phone_raw, phone_e164 = f.phone_e164, email = f.email,
    preferred_channel = f.preferred_channel
FROM filled f WHERE c.id = f.id;

-- name: unfill_customers
-- Take from customers what only leads say that have left them, or leave: it is somebody else's.
WITH gone AS (
    SELECT p.customer_id, l.id, l.name, l.phone_raw, l.phone_e164, l.email
    FROM unnest(CAST(:customers AS uuid[]), CAST(:leads AS uuid[])) AS p (customer_id, lead_id)
    JOIN leads l ON l.id = p.lead_id
), staying AS (
    SELECT l.customer_id, l.name, l.phone_raw, l.phone_e164, l.email
    FROM leads l
    WHERE l.customer_id IN (SELECT customer_id FROM gone)
      AND l.id <> ALL (CAST(:leads AS uuid[]))
), doubtful AS (
    SELECT c.id,
        EXISTS (SELECT FROM gone g WHERE g.customer_id = c.id AND g.name = c.display_name)
        AND NOT EXISTS (SELECT FROM staying s
                        WHERE s.customer_id = c.id AND s.name = c.display_name) AS name,
        EXISTS (SELECT FROM gone g WHERE g.customer_id = c.id
                AND (g.phone_raw = c.phone_raw OR g.phone_e164 = c.phone_e164))
        AND NOT EXISTS (SELECT FROM staying s WHERE s.customer_id = c.id
                        AND (s.phone_raw = c.phone_raw OR s.phone_e164 = c.phone_e164)) AS phone,
        EXISTS (SELECT FROM gone g WHERE g.customer_id = c.id AND g.email = c.email)
        AND NOT EXISTS (SELECT FROM staying s
                        WHERE s.customer_id = c.id AND s.email = c.email) AS email
    FROM customers c WHERE c.id IN (SELECT customer_id FROM gone)
), kept AS (
    INSERT INTO run_changes (run_id, table_name, row_id, before)
    SELECT CAST(:run_id AS uuid), 'customers', c.id,
           jsonb_build_object('display_name', c.display_name, 'first_name', c.first_name,
                              'last_name', c.last_name, 'phone_raw', c.phone_raw,
                              'phone_e164', c.phone_e164, 'email', c.email)
    FROM doubtful d JOIN customers c ON c.id = d.id
    WHERE (d.name OR d.phone OR d.email) AND CAST(:run_id AS uuid) IS NOT NULL
      AND c.run_id IS DISTINCT FROM CAST(:run_id AS uuid)
)
UPDATE customers c
SET display_name = CASE WHEN d.name THEN NULL ELSE c.display_name END,
    first_name = CASE WHEN d.name THEN NULL ELSE c.first_name END,
    last_name = CASE WHEN d.name THEN NULL ELSE c.last_name END,
    phone_raw = CASE WHEN d.phone THEN NULL ELSE c.phone_raw END,
    phone_e164 = CASE WHEN d.phone THEN NULL ELSE c.phone_e164 END,
    email = CASE WHEN d.email THEN NULL ELSE c.email END
FROM doubtful d WHERE c.id = d.id AND (d.name OR d.phone OR d.email);

-- name: has_identities
-- Whether anybody is known by anything, so that a first load need not look.
SELECT EXISTS (SELECT FROM customer_identities);

-- name: known_identities
-- The verified identities under these keys, and the shared ones of these customers.
SELECT uuid_send(i.id) AS id, i.kind, i.value, i.provenance, uuid_send(i.customer_id) AS customer_id
FROM unnest(CAST(:kinds AS text[]), CAST(:values AS text[])) AS k (kind, value)
JOIN customer_identities i
  ON i.kind = k.kind AND i.value = k.value AND i.provenance = 'verified'
UNION ALL
SELECT uuid_send(i.id), i.kind, i.value, i.provenance, uuid_send(i.customer_id)
FROM customer_identities i
WHERE i.customer_id = ANY (CAST(:customers AS uuid[])) AND i.provenance = 'shared';

-- name: drop_identities
-- Remove identities that no longer hold, keeping the rows of earlier runs.
WITH gone AS (
    DELETE FROM customer_identities WHERE id = ANY (CAST(:ids AS uuid[])) RETURNING *
)
INSERT INTO run_changes (run_id, table_name, row_id, before)
SELECT CAST(:run_id AS uuid), 'customer_identities', id, to_jsonb(gone) FROM gone
WHERE CAST(:run_id AS uuid) IS NOT NULL AND run_id IS DISTINCT FROM CAST(:run_id AS uuid);

-- name: own_identities
-- Give identities to the customers that their leads belong to now.
WITH pairs AS (
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:customers AS uuid[])) AS p (id, customer_id)
), kept AS (
    INSERT INTO run_changes (run_id, table_name, row_id, before)
    SELECT CAST(:run_id AS uuid), 'customer_identities', i.id,
           jsonb_build_object('customer_id', i.customer_id)
    FROM customer_identities i JOIN pairs p ON p.id = i.id
    WHERE CAST(:run_id AS uuid) IS NOT NULL AND i.run_id IS DISTINCT FROM CAST(:run_id AS uuid)
)
UPDATE customer_identities i SET customer_id = p.customer_id FROM pairs p WHERE i.id = p.id;

-- name: lock_customers
-- Wait for whoever is adding rows to these customers, so that none is left behind.
SELECT id FROM customers WHERE id = ANY (CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE;

-- name: absorb_customers
-- Point absorbed customers to their survivors.
UPDATE customers c SET merged_into_id = p.survivor
FROM unnest(CAST(:absorbed AS uuid[]), CAST(:survivors AS uuid[])) AS p (absorbed, survivor)
WHERE c.id = p.absorbed;

-- name: release_customers
-- Let absorbed customers stand for themselves again.
UPDATE customers SET merged_into_id = NULL WHERE id = ANY (CAST(:ids AS uuid[]));

-- name: merges_of
-- The merges of each of these pairs before, by id.
SELECT p.absorbed AS absorbed_id,
       coalesce(array_agg(m.id) FILTER (WHERE m.id IS NOT NULL), CAST('{}' AS uuid[])) AS merges
FROM unnest(CAST(:absorbed AS uuid[]), CAST(:survivors AS uuid[])) AS p (absorbed, survivor)
LEFT JOIN customer_merges m ON m.survivor_id = p.survivor AND m.absorbed_id = p.absorbed
GROUP BY p.absorbed;

-- name: record_merges
-- Write down who was absorbed by whom, why, and every row that was re-pointed.
INSERT INTO customer_merges (id, survivor_id, absorbed_id, reason, moved, merged_at, run_id)
SELECT m.id, m.survivor, m.absorbed, CAST(m.reason AS jsonb), CAST(m.moved AS jsonb),
       statement_timestamp(), CAST(:run_id AS uuid)
FROM unnest(CAST(:ids AS uuid[]), CAST(:survivors AS uuid[]), CAST(:absorbed AS uuid[]),
            CAST(:reasons AS text[]), CAST(:moved AS text[]))
     AS m (id, survivor, absorbed, reason, moved);

-- name: merge_by_id
-- One merge, as it was recorded.
SELECT id, survivor_id, absorbed_id, moved, undone_at
FROM customer_merges WHERE id = CAST(:id AS uuid);

-- name: standing_merges
-- The merges that these customers are absorbed by now.
SELECT id, survivor_id, absorbed_id, moved
FROM customer_merges WHERE absorbed_id = ANY (CAST(:ids AS uuid[])) AND undone_at IS NULL
ORDER BY id;

-- name: merges_of_no_run
-- The merges that these customers are absorbed by now, and that no run answers for.
SELECT id FROM customer_merges
WHERE absorbed_id = ANY (CAST(:ids AS uuid[])) AND undone_at IS NULL AND run_id IS NULL;

-- name: forget_merges_by_id
-- Delete merges that are as if they had never been.
DELETE FROM customer_merges WHERE id = ANY (CAST(:ids AS uuid[]));

-- name: end_merges
-- Mark merges as undone; `ended_by` says so when it was not a person's decision.
UPDATE customer_merges
SET undone_at = statement_timestamp(),
    reason = CASE WHEN CAST(:ended_by AS text) IS NULL THEN reason
                  ELSE reason || jsonb_build_object('ended_by', CAST(:ended_by AS text)) END
WHERE id = ANY (CAST(:ids AS uuid[]));

-- name: root_customers
-- Whom each of these customers is part of by now.
WITH RECURSIVE up AS (
    SELECT id AS start, id, merged_into_id FROM customers WHERE id = ANY (CAST(:ids AS uuid[]))
    UNION ALL
    SELECT up.start, c.id, c.merged_into_id FROM up JOIN customers c ON c.id = up.merged_into_id
)
SELECT start, id FROM up WHERE merged_into_id IS NULL;

-- name: restore_addresses
-- Give addresses that came back the key and the rank they had before, unless another has it by now.
UPDATE customer_addresses a
SET normalized_key = CASE WHEN EXISTS (
        SELECT FROM customer_addresses t
        WHERE t.customer_id = a.customer_id AND t.normalized_key = k.key)
    THEN a.normalized_key ELSE coalesce(k.key, a.normalized_key) END,
    is_primary = a.is_primary OR (a.id = ANY (CAST(:primaries AS uuid[])) AND NOT EXISTS (
        SELECT FROM customer_addresses t WHERE t.customer_id = a.customer_id AND t.is_primary))
FROM customer_addresses o
LEFT JOIN unnest(CAST(:ids AS uuid[]), CAST(:keys AS text[])) AS k (id, key) ON k.id = o.id
WHERE a.id = o.id AND a.customer_id = ANY (CAST(:customers AS uuid[]))
  AND (k.id IS NOT NULL OR a.id = ANY (CAST(:primaries AS uuid[])));

-- name: owners_of_leads
-- The customers that these leads belong to now.
SELECT id, customer_id FROM leads WHERE id = ANY (CAST(:ids AS uuid[])) ORDER BY id;

-- name: analyze_links
-- Let the planner know what a large list brought: it guesses badly about tables that just grew.
ANALYZE leads, customers, customer_identities;

-- name: forget_answers
-- Forget what was answered under idempotency keys while these customers were more than one: it may
-- tell of the other, and whoever repeats such a call would be told again.
UPDATE tool_calls SET answer = NULL, idempotency_key = NULL
WHERE customer_id = ANY (CAST(:customers AS uuid[])) AND idempotency_key IS NOT NULL;
