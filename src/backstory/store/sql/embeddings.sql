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
-- Let the models that a run completed serve no more; one that has no vector left is forgotten.
WITH retired AS (
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
