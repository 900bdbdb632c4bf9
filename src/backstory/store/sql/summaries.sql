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
    SELECT c.id, c.customer_id FROM conversations AS c
    JOIN given AS g ON g.conversation_id = c.id
    WHERE (SELECT count(*) FROM messages AS m
           WHERE m.conversation_id = c.id) >= g.messages + g.left_out
      AND EXISTS (SELECT FROM messages AS m
                  WHERE m.id = g.first_message_id AND m.conversation_id = c.id)
      AND EXISTS (SELECT FROM messages AS m
                  WHERE m.id = g.last_message_id AND m.conversation_id = c.id)
    ORDER BY c.id
    FOR NO KEY UPDATE OF c SKIP LOCKED
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

-- name: remove_summaries_of_run
-- Take the summaries of a run away.
WITH gone AS (
    DELETE FROM conversation_summaries AS s WHERE s.run_id = CAST(:run_id AS uuid)
    RETURNING s.conversation_id
)
UPDATE conversations AS c SET summary = NULL FROM gone AS g WHERE c.id = g.conversation_id;
