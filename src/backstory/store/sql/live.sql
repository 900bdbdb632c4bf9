-- name: lock_live_leads
-- What `lock_leads` does, for statements that are prepared: planning them costs more than they do.
-- A plan outlives many transactions in which the tables grow, so it looks rows up by key.
SELECT set_config('plan_cache_mode', 'force_generic_plan', true) AS plans,
       set_config('enable_hashjoin', 'off', true) AS hashing,
       set_config('enable_mergejoin', 'off', true) AS merging,
       (SELECT count(pg_advisory_xact_lock(hashtext(current_schema()), slot))
        FROM unnest(CAST(:slots AS integer[])) AS slot) AS locked;

-- name: live_facts
-- What a live writer must know of leads: who they are, and where their records of a time on belong.
-- A row for each lead and each of its conversations that was not closed before `since`.
SELECT uuid_send(k.id) AS key, t.digest IS NOT NULL AS erased, l.external_id,
       uuid_send(l.customer_id) AS customer_id, l.channel, l.stage, l.created_at,
       coalesce(l.messenger_psid, l.phone_e164, l.phone_raw) AS contact,
       (SELECT max(o.ordinal) FROM conversations o WHERE o.lead_id = l.id) AS newest,
       uuid_send(c.id) AS conversation_id, c.ordinal, c.closed_at
FROM unnest(CAST(:keys AS uuid[])) AS k (id)
LEFT JOIN tombstones t ON t.kind = 'lead' AND t.digest = sha256(
    (SELECT secret FROM tombstone_keys ORDER BY created_at LIMIT 1) || uuid_send(k.id))
LEFT JOIN leads l ON l.id = k.id
LEFT JOIN conversations c ON c.lead_id = l.id
    AND (c.closed_at IS NULL OR c.closed_at >= CAST(:since AS timestamptz))
ORDER BY k.id, c.ordinal;

-- name: held_records
-- Of these records, those the log holds, whether with this content, and the message made of each.
SELECT CAST(i.n - 1 AS integer) AS place, a.payload_hash = uuid_send(i.hash) AS same, m.conversation_id,
       m.customer_id
FROM unnest(CAST(:ids AS uuid[]), CAST(:hashes AS uuid[])) WITH ORDINALITY AS i (id, hash, n)
JOIN audit_log a ON a.id = i.id
LEFT JOIN messages m ON m.id = a.id;

-- name: begin_conversations
-- Open conversations with known leads.
INSERT INTO conversations (id, lead_id, customer_id, ordinal, channel, external_id, status,
                           started_at, metadata)
SELECT n.id, l.id, l.customer_id, n.ordinal, l.channel,
       coalesce(l.messenger_psid, l.phone_e164, l.phone_raw), 'open', n.started_at, n.metadata
FROM json_to_recordset(CAST(:conversations AS json)) AS n (
    id uuid, lead_id uuid, ordinal bigint, started_at timestamptz, metadata jsonb)
JOIN leads l ON l.id = n.lead_id;

-- name: append_records
-- Write new records and their messages, and move their conversations on, never backwards.
-- A record without a position comes behind what its conversation holds of the same moment.
WITH incoming AS (
    SELECT * FROM json_to_recordset(CAST(:records AS json)) AS r (
        place bigint, id uuid, audit_id text, lead_id uuid, lead text, actor text, action text,
        payload jsonb, hash uuid, seq bigint, created_at timestamptz, role text, kind text,
        author text, content text, attachment_text text, line text, metadata jsonb, conversation_id uuid)
), ordered AS (
    SELECT i.*, c.customer_id, CASE WHEN i.seq IS NOT NULL THEN i.seq ELSE
        coalesce((SELECT max(m.seq) + 1 FROM messages m
                  WHERE m.conversation_id = i.conversation_id AND m.created_at = i.created_at), 0)
        + row_number() OVER (PARTITION BY i.conversation_id, i.created_at, i.seq IS NULL
                             ORDER BY i.place) - 1 END AS position
    FROM incoming i JOIN conversations c ON c.id = i.conversation_id
), logged AS (
    INSERT INTO audit_log (id, log, audit_id, lead_id, lead_external_id, actor, action, payload,
                           payload_hash, seq, created_at)
    SELECT id, CAST(:log AS text), audit_id, lead_id, lead, actor, action, payload,
           uuid_send(hash), position, created_at
    FROM ordered
    ORDER BY id
    ON CONFLICT DO NOTHING
    RETURNING id
), said AS (
    INSERT INTO messages (id, conversation_id, customer_id, log, audit_id, role, kind, author,
                          content, attachment_text, line, line_rules, seq, created_at, metadata)
    SELECT o.id, o.conversation_id, o.customer_id, CAST(:log AS text), o.audit_id, o.role, o.kind,
           o.author, o.content, o.attachment_text, nullif(o.line, ''),
           CASE WHEN o.line IS NOT NULL THEN CAST(:line_rules AS text) END, o.position, o.created_at, o.metadata
    FROM ordered o JOIN logged l ON l.id = o.id
    RETURNING id, conversation_id, customer_id, created_at, role
), heard AS (
    SELECT conversation_id, min(created_at) AS first, max(created_at) AS last,
           max(created_at) FILTER (WHERE role = 'user') AS incoming
    FROM said GROUP BY conversation_id
), moved AS (
    UPDATE conversations c
    SET last_message_at = greatest(c.last_message_at, h.last),
        last_incoming_at = greatest(c.last_incoming_at, h.incoming),
        -- Of a lead whose beginning nobody knows, it is the first message that we heard live.
        started_at = CASE
            WHEN c.ordinal = 0 AND c.run_id IS NULL
                AND (SELECT l.created_at FROM leads l WHERE l.id = c.lead_id) IS NULL
            THEN least(c.started_at, h.first) ELSE c.started_at END
    FROM heard h WHERE c.id = h.conversation_id
)
SELECT uuid_send(id) AS id, customer_id FROM said;

-- name: close_conversation
-- Close a conversation if it is open.
UPDATE conversations SET status = 'closed', closed_at = CAST(:closed_at AS timestamptz)
WHERE id = CAST(:id AS uuid) AND status = 'open'
RETURNING closed_at;

-- name: followed_to
-- How far a log has been followed.
SELECT payload -> 'cursor' AS cursor FROM audit_log WHERE id = CAST(:id AS uuid);

-- name: note_followed
-- Keep how far a log has been followed: one row of our own log for each, which moves on.
INSERT INTO audit_log (id, log, audit_id, actor, action, payload, payload_hash, seq, created_at)
VALUES (CAST(:id AS uuid), 'backstory', CAST(:audit_id AS text), 'system', CAST(:action AS text),
        CAST(:payload AS jsonb), CAST(:hash AS bytea), 0, clock_timestamp())
ON CONFLICT (id) DO UPDATE
SET payload = excluded.payload, payload_hash = excluded.payload_hash,
    created_at = excluded.created_at;
