-- name: embedding_extent
-- How many messages can be embedded, and how many of them a model has not embedded as they are.
SELECT count(*) AS messages,
       count(*) FILTER (WHERE e.content_hash IS NULL OR e.content_hash <> decode(md5(left(
           concat_ws(': ', m.author, m.content) || coalesce(' (' || m.attachment_text || ')', ''),
           2000)), 'hex')) AS pending
FROM messages AS m
LEFT JOIN embeddings AS e ON e.message_id = m.id AND e.model = CAST(:model AS text)
WHERE m.kind = 'text';

-- name: next_to_embed
-- The next messages, in a range of ids, that a model has not embedded as they are: what they say.
SELECT m.id, t.said, decode(md5(t.said), 'hex') AS content_hash
FROM messages AS m
CROSS JOIN LATERAL (SELECT left(
    concat_ws(': ', m.author, m.content) || coalesce(' (' || m.attachment_text || ')', ''),
    2000) AS said) AS t
LEFT JOIN embeddings AS e ON e.message_id = m.id AND e.model = CAST(:model AS text)
WHERE m.id > CAST(:after AS uuid) AND m.id <= CAST(:upto AS uuid) AND m.kind = 'text'
  AND (e.content_hash IS NULL OR e.content_hash <> decode(md5(t.said), 'hex'))
ORDER BY m.id
LIMIT CAST(:limit AS bigint);

-- name: add_embeddings
-- Keep what some messages mean; one that was taken away meanwhile has no place.
INSERT INTO embeddings AS e (
    message_id, model, conversation_id, customer_id, content_hash, vector, run_id)
SELECT m.id, CAST(:model AS text), m.conversation_id, m.customer_id, g.content_hash,
       CAST(g.vector AS halfvec), CAST(:run_id AS uuid)
FROM unnest(CAST(:ids AS uuid[]), CAST(:hashes AS bytea[]), CAST(:vectors AS text[]))
     AS g (id, content_hash, vector)
JOIN messages AS m ON m.id = g.id
ORDER BY m.id
ON CONFLICT (message_id, model) DO UPDATE
SET content_hash = excluded.content_hash, vector = excluded.vector, run_id = excluded.run_id;

-- name: forget_bare_model
-- Forget a model of other dimensions that has no vector: its name is free.
DELETE FROM embedding_models AS k
WHERE k.name = CAST(:name AS text) AND k.dimensions <> CAST(:dimensions AS bigint)
  AND NOT EXISTS (SELECT FROM embeddings AS e WHERE e.model = k.name)
RETURNING k.name;

-- name: remember_model
-- Write a model down before its first vector; what is known of it stays.
INSERT INTO embedding_models (name, dimensions, run_id)
VALUES (CAST(:name AS text), CAST(:dimensions AS bigint), CAST(:run_id AS uuid))
ON CONFLICT (name) DO NOTHING;

-- name: complete_model
-- Let a model serve: a run has embedded everything there was.
UPDATE embedding_models
SET completed_at = clock_timestamp(),
    run_id = CASE WHEN completed_at IS NULL THEN CAST(:run_id AS uuid) ELSE run_id END
WHERE name = CAST(:name AS text);

-- name: serving_model
-- The model that was completed last.
SELECT k.name, k.dimensions FROM embedding_models AS k
WHERE k.completed_at IS NOT NULL
ORDER BY k.completed_at DESC, k.name
LIMIT 1;

-- name: embedding_models
-- The models that have embedded messages, how many, and whether they are complete.
SELECT k.name, k.dimensions,
       (SELECT count(*) FROM embeddings AS e WHERE e.model = k.name) AS messages,
       k.completed_at IS NOT NULL AS complete
FROM embedding_models AS k
ORDER BY k.completed_at DESC NULLS LAST, k.name;

-- name: model_dimensions
-- How long the vectors of a model are that has been written down.
SELECT k.dimensions FROM embedding_models AS k WHERE k.name = CAST(:name AS text);

-- name: embeddings_of_run
-- How many vectors a run has left, and of which models it is the one that completed them.
SELECT (SELECT count(*) FROM embeddings AS e WHERE e.run_id = CAST(:run_id AS uuid)) AS embeddings,
       ARRAY(SELECT k.name FROM embedding_models AS k
             WHERE k.run_id = CAST(:run_id AS uuid)) AS models;

-- name: remove_embeddings
-- Take the vectors of a run away.
DELETE FROM embeddings WHERE run_id = CAST(:run_id AS uuid);

-- name: retire_models
-- Let the models that a run completed serve no more; one that has no vector left is forgotten. One
-- that the run completed again serves since it was complete before, which may be behind another.
WITH others AS (
    SELECT r.options ->> 'model' AS model, max(r.finished_at) AS finished_at
    FROM backfill_runs AS r
    WHERE r.mode = 'embed' AND r.status = 'done' AND r.id <> CAST(:run_id AS uuid)
    GROUP BY r.options ->> 'model'
), again AS (
    UPDATE embedding_models AS k SET completed_at = o.finished_at
    FROM others AS o JOIN backfill_runs AS me ON me.id = CAST(:run_id AS uuid)
    WHERE o.model = k.name AND k.name = me.options ->> 'model' AND k.run_id <> me.id
      -- A run ends after the model is complete: if another did, it was not this one.
      AND o.finished_at < k.completed_at
), retired AS (
    UPDATE embedding_models AS k SET completed_at = NULL
    WHERE k.run_id = CAST(:run_id AS uuid)
      AND EXISTS (SELECT FROM embeddings AS e WHERE e.model = k.name)
)
DELETE FROM embedding_models AS k
WHERE k.run_id = CAST(:run_id AS uuid)
  AND NOT EXISTS (SELECT FROM embeddings AS e WHERE e.model = k.name)
RETURNING k.name;

-- name: analyze_embeddings
-- Tell the planner how many vectors there are.
ANALYZE embeddings, embedding_models;

-- name: tune_for_meaning
-- For the transaction: go on in the index until enough of what it finds passes the filters.
SELECT set_config('hnsw.iterative_scan', 'strict_order', true) AS scan,
       set_config('hnsw.ef_search', '100', true) AS breadth, set_config('jit', 'off', true) AS jit;

-- name: nearest_by_index
-- The messages nearest in meaning in a scope, through a model's index; 1 stands for its dimensions.
SELECT m.id, m.created_at,
       1 - (CAST(e.vector AS halfvec(1)) <=> CAST(CAST(:vector AS text) AS halfvec(1))) AS cosine
FROM embeddings AS e
JOIN messages AS m ON m.id = e.message_id
WHERE e.model = CAST(:model AS text)
  AND (CAST(:role AS text) IS NULL OR m.role = CAST(:role AS text))
  AND (CAST(:kind AS text) IS NULL OR m.kind = CAST(:kind AS text))
  AND (CAST(:channel AS text) IS NULL OR EXISTS (
        SELECT 1 FROM conversations AS c
        WHERE c.id = m.conversation_id AND c.channel = CAST(:channel AS text)))
  AND (CAST(:since AS timestamptz) IS NULL OR m.created_at >= CAST(:since AS timestamptz))
  AND (CAST(:until AS timestamptz) IS NULL OR m.created_at < CAST(:until AS timestamptz))
  -- A query of words that are nearly everywhere demands nothing.
  AND (CAST(:demanded AS text) IS NULL
       OR numnode(websearch_to_tsquery('english', CAST(:demanded AS text))) = 0
       OR m.search @@ websearch_to_tsquery('english', CAST(:demanded AS text)))
ORDER BY CAST(e.vector AS halfvec(1)) <=> CAST(CAST(:vector AS text) AS halfvec(1))
LIMIT CAST(:limit AS bigint);

-- name: nearest_exactly
-- The messages nearest in meaning in a scope, all of it looked at.
WITH scope AS MATERIALIZED (
    SELECT m.id, m.created_at, e.vector
    FROM messages AS m
    JOIN embeddings AS e ON e.message_id = m.id AND e.model = CAST(:model AS text)
    WHERE (CAST(:customer_id AS uuid) IS NULL OR m.customer_id = CAST(:customer_id AS uuid))
      AND (CAST(:lead_id AS uuid) IS NULL OR m.conversation_id = ANY (ARRAY(
            SELECT c.id FROM conversations AS c WHERE c.lead_id = CAST(:lead_id AS uuid))))
      AND (CAST(:role AS text) IS NULL OR m.role = CAST(:role AS text))
      AND (CAST(:kind AS text) IS NULL OR m.kind = CAST(:kind AS text))
      AND (CAST(:channel AS text) IS NULL OR EXISTS (
            SELECT 1 FROM conversations AS c
            WHERE c.id = m.conversation_id AND c.channel = CAST(:channel AS text)))
      AND (CAST(:since AS timestamptz) IS NULL OR m.created_at >= CAST(:since AS timestamptz))
      AND (CAST(:until AS timestamptz) IS NULL OR m.created_at < CAST(:until AS timestamptz))
      -- A query of words that are nearly everywhere demands nothing.
      AND (CAST(:demanded AS text) IS NULL
           OR numnode(websearch_to_tsquery('english', CAST(:demanded AS text))) = 0
           OR m.search @@ websearch_to_tsquery('english', CAST(:demanded AS text)))
)
SELECT s.id, s.created_at, 1 - (s.vector <=> CAST(:vector AS halfvec)) AS cosine
FROM scope AS s
ORDER BY cosine DESC, s.created_at DESC, s.id DESC
LIMIT CAST(:limit AS bigint);

-- name: cosines_of
-- How near some messages are in meaning; one that is not embedded is left out.
SELECT e.message_id AS id, 1 - (e.vector <=> CAST(:vector AS halfvec)) AS cosine
FROM embeddings AS e
WHERE e.model = CAST(:model AS text) AND e.message_id = ANY (CAST(:ids AS uuid[]));
