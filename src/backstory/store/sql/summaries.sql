-- name: summaries_extent
-- How many conversations say something, and how many of them are to be summed up, made anew or let go.
SELECT count(*) FILTER (WHERE n.messages > 0) AS conversations,
       count(*) FILTER (WHERE CASE WHEN n.messages = 0 THEN s.conversation_id IS NOT NULL ELSE
           s.conversation_id IS NULL OR s.made_by <> CAST(:made_by AS text)
           OR s.messages + s.left_out <> n.messages OR s.last_message_id <> e.id END) AS pending
FROM conversations AS c
LEFT JOIN conversation_summaries AS s ON s.conversation_id = c.id
CROSS JOIN LATERAL (SELECT count(*) AS messages FROM messages AS m WHERE m.conversation_id = c.id) AS n
LEFT JOIN LATERAL (
    SELECT m.id FROM messages AS m WHERE m.conversation_id = c.id
    ORDER BY m.created_at DESC, m.seq DESC, m.audit_id COLLATE "C" DESC LIMIT 1
) AS e ON true
WHERE CAST(:only AS uuid) IS NULL OR c.id = CAST(:only AS uuid);

-- name: next_to_summarize
-- The next conversations whose summary is missing, of another version, or of other messages than now.
SELECT c.id, n.messages, s.conversation_id IS NOT NULL AND s.messages + s.left_out = n.messages
       AND s.last_message_id = e.id AS covered, s.made_by
FROM conversations AS c
LEFT JOIN conversation_summaries AS s ON s.conversation_id = c.id
CROSS JOIN LATERAL (SELECT count(*) AS messages FROM messages AS m WHERE m.conversation_id = c.id) AS n
LEFT JOIN LATERAL (
    SELECT m.id FROM messages AS m WHERE m.conversation_id = c.id
    ORDER BY m.created_at DESC, m.seq DESC, m.audit_id COLLATE "C" DESC LIMIT 1
) AS e ON true
WHERE c.id > CAST(:after AS uuid)
  AND (CAST(:only AS uuid) IS NULL OR c.id = CAST(:only AS uuid))
  AND CASE WHEN n.messages = 0 THEN s.conversation_id IS NOT NULL ELSE
           s.conversation_id IS NULL OR s.made_by <> CAST(:made_by AS text)
           OR s.messages + s.left_out <> n.messages OR s.last_message_id <> e.id END
ORDER BY c.id
LIMIT CAST(:limit AS bigint);

-- name: messages_to_summarize
-- The last messages of some conversations, by conversation and in order.
SELECT g.id AS conversation_id, m.id, m.role, m.kind, m.content, m.attachment_text, m.created_at
FROM unnest(CAST(:ids AS uuid[])) AS g (id)
CROSS JOIN LATERAL (
    SELECT t.id, t.role, t.kind, left(coalesce(t.line, t.content), 1000) AS content,
           left(t.attachment_text, 300) AS attachment_text, t.created_at, t.seq, t.audit_id
    FROM messages AS t WHERE t.conversation_id = g.id
    ORDER BY t.created_at DESC, t.seq DESC, t.audit_id COLLATE "C" DESC
    LIMIT CAST(:most AS bigint)
) AS m
ORDER BY g.id, m.created_at, m.seq, m.audit_id COLLATE "C";

-- name: save_summaries
-- Keep summaries of what is still there; a conversation that somebody is changing now waits.
WITH given AS (
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (
        conversation_id uuid, text text, made_by text, messages bigint, left_out bigint,
        first_message_id uuid, last_message_id uuid, last_at timestamptz)
), held AS (
    SELECT c.id, c.customer_id, c.summary FROM conversations AS c
    JOIN given AS g ON g.conversation_id = c.id
    WHERE (SELECT count(*) FROM messages AS m
           WHERE m.conversation_id = c.id) >= g.messages + g.left_out
      AND EXISTS (SELECT FROM messages AS m
                  WHERE m.id = g.first_message_id AND m.conversation_id = c.id)
      AND EXISTS (SELECT FROM messages AS m
                  WHERE m.id = g.last_message_id AND m.conversation_id = c.id)
    ORDER BY c.id
    FOR NO KEY UPDATE OF c SKIP LOCKED
), kept AS (
    -- What the run replaces of others comes back when the run is taken back.
    INSERT INTO run_changes (run_id, table_name, row_id, before)
    SELECT CAST(:run_id AS uuid), 'conversation_summaries', h.id,
           to_jsonb(s) - ARRAY['conversation_id', 'customer_id']
               || jsonb_build_object('text', h.summary)
    FROM held AS h JOIN conversation_summaries AS s ON s.conversation_id = h.id
    WHERE s.run_id IS DISTINCT FROM CAST(:run_id AS uuid)
), told AS (
    UPDATE conversations AS c SET summary = nullif(g.text, '')
    FROM given AS g JOIN held AS h ON h.id = g.conversation_id
    WHERE c.id = h.id AND c.summary IS DISTINCT FROM nullif(g.text, '')
)
INSERT INTO conversation_summaries AS s (
    conversation_id, customer_id, made_by, messages, left_out, first_message_id, last_message_id,
    last_at, run_id)
SELECT h.id, h.customer_id, g.made_by, g.messages, g.left_out, g.first_message_id,
       g.last_message_id, g.last_at, CAST(:run_id AS uuid)
FROM given AS g JOIN held AS h ON h.id = g.conversation_id
ON CONFLICT (conversation_id) DO UPDATE
SET made_by = excluded.made_by, messages = excluded.messages, left_out = excluded.left_out,
    first_message_id = excluded.first_message_id, last_message_id = excluded.last_message_id,
    last_at = excluded.last_at, run_id = excluded.run_id, created_at = clock_timestamp();

-- name: forget_summaries
-- Let the summaries of some conversations go, unless something was said in them meanwhile.
WITH gone AS (
    DELETE FROM conversation_summaries AS s
    WHERE s.conversation_id = ANY (CAST(:ids AS uuid[]))
      AND NOT EXISTS (SELECT FROM messages AS m WHERE m.conversation_id = s.conversation_id)
    RETURNING s.conversation_id
)
UPDATE conversations AS c SET summary = NULL FROM gone AS g WHERE c.id = g.conversation_id;

-- name: summary_of
-- What a conversation's summary covers, and who made it.
SELECT s.made_by, s.messages, s.left_out, s.first_message_id, s.last_message_id, s.last_at,
       s.run_id, s.created_at
FROM conversation_summaries AS s WHERE s.conversation_id = CAST(:conversation_id AS uuid);

-- name: summaries_of_run
-- How many summaries a run has left.
SELECT count(*) AS summaries FROM conversation_summaries AS s
WHERE s.run_id = CAST(:run_id AS uuid);

-- name: replaced_by_run
-- Where a run's summary stands in place of one that is still true of what is said.
SELECT s.conversation_id
FROM conversation_summaries AS s
CROSS JOIN LATERAL (
    SELECT x.before FROM run_changes AS x
    WHERE x.run_id = s.run_id AND x.table_name = 'conversation_summaries'
      AND x.row_id = s.conversation_id
    ORDER BY x.id DESC LIMIT 1
) AS found
CROSS JOIN LATERAL jsonb_to_record(found.before) AS was (
    messages bigint, left_out bigint, first_message_id uuid, last_message_id uuid,
    last_at timestamptz)
CROSS JOIN LATERAL (
    SELECT count(*) AS messages, bool_or(m.id = was.first_message_id) AS first,
           bool_or(m.id = was.last_message_id) AS last
    FROM messages AS m
    WHERE m.conversation_id = s.conversation_id AND m.created_at <= was.last_at
) AS told
-- An erasure of another customer, who was named in it, may have taken the text away.
WHERE s.run_id = CAST(:run_id AS uuid) AND jsonb_exists(found.before, 'text')
  AND told.first AND told.last AND told.messages >= was.messages + was.left_out;

-- name: restore_summaries
-- Give these conversations back the summaries that a run replaced.
WITH found AS (
    SELECT DISTINCT ON (x.row_id) x.row_id AS id, x.before
    FROM run_changes AS x
    WHERE x.run_id = CAST(:run_id AS uuid) AND x.table_name = 'conversation_summaries'
      AND x.row_id = ANY (CAST(:ids AS uuid[]))
    ORDER BY x.row_id, x.id DESC
), told AS (
    UPDATE conversations AS c SET summary = f.before ->> 'text' FROM found AS f WHERE c.id = f.id
)
UPDATE conversation_summaries AS s
SET made_by = was.made_by, messages = was.messages, left_out = was.left_out,
    first_message_id = was.first_message_id, last_message_id = was.last_message_id,
    last_at = was.last_at, run_id = was.run_id, created_at = was.created_at
FROM found AS f
CROSS JOIN LATERAL jsonb_populate_record(CAST(NULL AS conversation_summaries), f.before) AS was
WHERE s.conversation_id = f.id;

-- name: remove_summaries_of_run
-- Take the summaries of a run away.
WITH gone AS (
    DELETE FROM conversation_summaries AS s WHERE s.run_id = CAST(:run_id AS uuid)
    RETURNING s.conversation_id
)
UPDATE conversations AS c SET summary = NULL FROM gone AS g WHERE c.id = g.conversation_id;

-- name: hand_down_summaries
-- Where other runs replaced what a run made, they remember what that run replaced, or nothing.
WITH found AS (
    SELECT x.id, (SELECT o.before FROM run_changes AS o
                  WHERE o.run_id = CAST(:run_id AS uuid) AND o.table_name = x.table_name
                    AND o.row_id = x.row_id AND o.id < x.id
                  ORDER BY o.id DESC LIMIT 1) AS before
    FROM run_changes AS x
    WHERE x.table_name = 'conversation_summaries'
      AND x.before ->> 'run_id' = CAST(CAST(:run_id AS uuid) AS text)
), gone AS (
    DELETE FROM run_changes AS x USING found AS f WHERE x.id = f.id AND f.before IS NULL
)
UPDATE run_changes AS x SET before = f.before FROM found AS f
WHERE x.id = f.id AND f.before IS NOT NULL;
