-- name: search_reading
-- A query as the index reads it, and the time of the message with `window` newer ones in its scope.
SELECT numnode(q) AS words, querytree(q) AS needed,
       (SELECT greatest(c.reltuples, 0) FROM pg_class AS c
        WHERE c.oid = to_regclass('messages')) AS messages,
       CASE WHEN CAST(:window AS bigint) IS NOT NULL THEN (
           SELECT m.created_at
           FROM messages AS m
           WHERE (CAST(:customer_id AS uuid) IS NULL OR m.customer_id = CAST(:customer_id AS uuid))
             AND (CAST(:lead_id AS uuid) IS NULL OR m.conversation_id = ANY (ARRAY(
                   SELECT c.id FROM conversations AS c
                   WHERE c.lead_id = CAST(:lead_id AS uuid))))
             AND (CAST(:since AS timestamptz) IS NULL
                  OR m.created_at >= CAST(:since AS timestamptz))
             AND (CAST(:until AS timestamptz) IS NULL
                  OR m.created_at < CAST(:until AS timestamptz))
           ORDER BY m.created_at DESC
           OFFSET CAST(:window AS bigint)
           LIMIT 1
       ) END AS floor,
       -- For the transaction: compiling a plan takes longer than searching with it.
       set_config('jit', 'off', true) AS jit, set_config('work_mem', '32MB', true) AS work_mem
FROM websearch_to_tsquery('english', CAST(:text AS text)) AS q;

-- name: search_matches
-- A page of the best matches in a scope, found through the text index or, to walk, beside it.
WITH ranked AS MATERIALIZED (
    SELECT m.id, m.created_at,
           -- By what is looked for: what is left out would bring every score to nothing.
           CAST(ts_rank(m.search, CAST(querytree(
                    websearch_to_tsquery('english', CAST(:text AS text))) AS tsquery), 1)
                AS double precision) AS score
    FROM messages AS m
    -- The index answers a bare `@@` only; the planner takes it for far cheaper than it is.
    WHERE (CAST(:walk AS boolean)
           OR m.search @@ websearch_to_tsquery('english', CAST(:text AS text)))
      AND (NOT CAST(:walk AS boolean)
           OR (m.search @@ websearch_to_tsquery('english', CAST(:text AS text))) IS TRUE)
      AND (CAST(:role AS text) IS NULL OR m.role = CAST(:role AS text))
      AND (CAST(:kind AS text) IS NULL OR m.kind = CAST(:kind AS text))
      AND (CAST(:channel AS text) IS NULL OR EXISTS (
            SELECT 1 FROM conversations AS c
            WHERE c.id = m.conversation_id AND c.channel = CAST(:channel AS text)))
      AND (CAST(:customer_id AS uuid) IS NULL OR m.customer_id = CAST(:customer_id AS uuid))
      AND (CAST(:lead_id AS uuid) IS NULL OR m.conversation_id = ANY (ARRAY(
            SELECT c.id FROM conversations AS c WHERE c.lead_id = CAST(:lead_id AS uuid))))
      AND (CAST(:since AS timestamptz) IS NULL OR m.created_at >= CAST(:since AS timestamptz))
      AND (CAST(:until AS timestamptz) IS NULL OR m.created_at < CAST(:until AS timestamptz))
)
SELECT r.score, r.created_at, r.id, (SELECT count(*) FROM ranked) AS candidates
FROM ranked AS r
WHERE CAST(:after_score AS double precision) IS NULL
   OR (r.score, r.created_at, r.id)
      < (CAST(:after_score AS double precision), CAST(:after_time AS timestamptz),
         CAST(:after_id AS uuid))
ORDER BY r.score DESC, r.created_at DESC, r.id DESC
LIMIT CAST(:limit AS bigint);

-- name: search_hits
-- What a reader sees of the messages that were found, with U+FDD0 and U+FDD1 around each match.
SELECT m.id, m.conversation_id, m.customer_id, l.external_id AS lead, k.display_name AS customer,
       m.role, m.kind, c.channel, m.author,
       ts_headline('english', t.said, websearch_to_tsquery('english', CAST(:text AS text)),
                   'StartSel=' || chr(64976) || ', StopSel=' || chr(64977)
                   || CASE WHEN length(t.said) <= 240 THEN ', HighlightAll=true'
                           ELSE ', MaxFragments=2, MaxWords=20, MinWords=8, FragmentDelimiter=" … "'
                      END) AS marked
FROM messages AS m
JOIN conversations AS c ON c.id = m.conversation_id
JOIN leads AS l ON l.id = c.lead_id
JOIN customers AS k ON k.id = m.customer_id
CROSS JOIN LATERAL (
    -- An event is shown by its line; what matches in its JSON alone is shown behind that.
    SELECT translate(left(CASE
               WHEN m.line IS NULL THEN m.content
               WHEN to_tsvector('english', m.line)
                    @@ websearch_to_tsquery('english', CAST(:text AS text)) THEN m.line
               ELSE m.line || ' ' || m.content END
           || coalesce(' ' || m.attachment_text, ''), 60000),
           chr(64976) || chr(64977), '') AS said
) AS t
WHERE m.id = ANY (CAST(:ids AS uuid[]));
