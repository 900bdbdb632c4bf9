-- name: conversations_named
-- The conversations a reference may mean: an id between two bounds, or the newest of a lead.
(SELECT c.id, false AS exact
 FROM conversations AS c
 WHERE c.id BETWEEN CAST(:low AS uuid) AND CAST(:high AS uuid)
 ORDER BY c.id
 LIMIT 3)
UNION ALL
(SELECT c.id, true AS exact
 FROM conversations AS c
 WHERE c.lead_id = CAST(:lead_id AS uuid)
 ORDER BY c.ordinal DESC
 LIMIT 1);

-- name: conversation_header
-- One conversation with its lead, its customer and how many messages it has by role and kind.
SELECT c.id, c.ordinal, c.lead_id, l.external_id AS lead, l.stage, c.customer_id,
       k.display_name AS customer, c.channel, c.external_id, c.status, c.started_at,
       c.last_message_at, c.last_incoming_at, c.closed_at, c.summary,
       coalesce(n.messages, 0) AS messages, coalesce(n.events, 0) AS events, n.first_message_at,
       coalesce(n.roles, '{}') AS roles,
       (SELECT count(*) FROM conversations AS o WHERE o.lead_id = c.lead_id) AS conversations_of_lead
FROM conversations AS c
JOIN leads AS l ON l.id = c.lead_id
JOIN customers AS k ON k.id = c.customer_id
LEFT JOIN LATERAL (
    SELECT CAST(sum(r.messages) AS bigint) AS messages, CAST(sum(r.events) AS bigint) AS events,
           min(r.first_at) AS first_message_at, jsonb_object_agg(r.role, r.messages) AS roles
    FROM (SELECT m.role, count(*) AS messages, count(*) FILTER (WHERE m.kind = 'event') AS events,
                 min(m.created_at) AS first_at
          FROM messages AS m
          WHERE m.conversation_id = c.id
          GROUP BY m.role) AS r
) AS n ON true
WHERE c.id = CAST(:id AS uuid);

-- name: conversations_listed
-- A page of conversations, those last heard of first and the empty ones last, with whose they are and how much was said.
WITH page AS (
    SELECT c.id, c.ordinal, c.lead_id, c.customer_id, c.channel, c.status, c.started_at,
           c.last_message_at, c.closed_at, c.summary
    FROM conversations AS c
    WHERE (CAST(:customer_id AS uuid) IS NULL OR c.customer_id = CAST(:customer_id AS uuid))
      AND (CAST(:lead_id AS uuid) IS NULL OR c.lead_id = CAST(:lead_id AS uuid))
      AND (CAST(:channel AS text) IS NULL OR c.channel = CAST(:channel AS text))
      AND (CAST(:status AS text) IS NULL OR c.status = CAST(:status AS text))
      AND (CAST(:since AS timestamptz) IS NULL OR c.last_message_at >= CAST(:since AS timestamptz))
      AND (CAST(:until AS timestamptz) IS NULL OR c.last_message_at < CAST(:until AS timestamptz))
      AND (CAST(:after_id AS uuid) IS NULL
           OR (coalesce(c.last_message_at, '-infinity'), c.id)
              < (coalesce(CAST(:after_time AS timestamptz), '-infinity'), CAST(:after_id AS uuid)))
    -- Sorted, 50,000 in 16 ms: an index on the last message would be written to at every event.
    ORDER BY c.last_message_at DESC NULLS LAST, c.id DESC
    LIMIT CAST(:limit AS bigint)
)
SELECT p.id, p.ordinal, l.external_id AS lead, p.customer_id, k.display_name AS customer, p.channel,
       p.status, p.started_at, p.last_message_at, p.closed_at, p.summary, n.messages
FROM page AS p
JOIN leads AS l ON l.id = p.lead_id
JOIN customers AS k ON k.id = p.customer_id
CROSS JOIN LATERAL (
    SELECT count(*) AS messages FROM messages AS m WHERE m.conversation_id = p.id
) AS n
ORDER BY p.last_message_at DESC NULLS LAST, p.id DESC;

-- name: conversation_messages
-- A page of a conversation in the order of the log, behind the message `after`.
SELECT m.id, m.audit_id, m.role, m.kind, m.author, m.content, m.line, m.attachment_text, m.seq,
       m.created_at
FROM messages AS m
WHERE m.conversation_id = CAST(:conversation_id AS uuid)
  AND (CAST(:after AS uuid) IS NULL
       OR (m.created_at, m.seq, m.audit_id COLLATE "C")
          > (SELECT a.created_at, a.seq, a.audit_id COLLATE "C" FROM messages AS a
             WHERE a.id = CAST(:after AS uuid)
               AND a.conversation_id = CAST(:conversation_id AS uuid)))
ORDER BY m.created_at, m.seq, m.audit_id COLLATE "C"
LIMIT CAST(:limit AS bigint);

-- name: is_message_of
-- Whether a message is in a conversation.
SELECT EXISTS (
    SELECT 1 FROM messages AS m
    WHERE m.id = CAST(:id AS uuid) AND m.conversation_id = CAST(:conversation_id AS uuid)
) AS found;

-- name: records_named
-- The audit records a reference may mean: an id between two bounds, or an audit id of a log.
(SELECT a.id, false AS exact
 FROM audit_log AS a
 WHERE a.id BETWEEN CAST(:low AS uuid) AND CAST(:high AS uuid)
 ORDER BY a.id
 LIMIT 3)
UNION ALL
(SELECT a.id, true AS exact FROM audit_log AS a WHERE a.id = CAST(:id AS uuid));

-- name: audit_trace
-- An audit record in full with the message that was made of it, if any.
SELECT a.id, a.log, a.audit_id, a.lead_external_id AS lead, a.actor, a.action, a.payload, a.seq,
       a.created_at, a.received_at, a.run_id,
       m.id AS message_id, m.conversation_id, m.customer_id, m.role, m.kind, m.author, m.content,
       m.line, m.line_rules, m.attachment_text, m.metadata
FROM audit_log AS a
LEFT JOIN messages AS m ON m.id = a.id
WHERE a.id = CAST(:id AS uuid);
