-- name: leads_to_note
-- The next leads that say something of their state, or once did, with what it says.
SELECT l.id, l.state_metadata, l.created_at FROM leads l
WHERE l.id > CAST(:after AS uuid)
  AND (l.state_metadata <> '{}' OR EXISTS (
      SELECT FROM memory_notes n WHERE n.source_lead_id = l.id AND n.topic IS NOT NULL))
ORDER BY l.id LIMIT CAST(:limit AS bigint);

-- name: leads_noted_anew
-- What leads say of their state, now that nobody else may change it.
SELECT l.id, l.state_metadata, l.created_at FROM leads l
WHERE l.id = ANY (CAST(:ids AS uuid[])) ORDER BY l.id;

-- name: count_leads_to_note
-- How many leads say something of their state, or once did.
SELECT count(*) FROM leads l
WHERE l.state_metadata <> '{}' OR EXISTS (
    SELECT FROM memory_notes n WHERE n.source_lead_id = l.id AND n.topic IS NOT NULL);

-- name: notes_of_leads
-- The notes that were taken from what leads say of their state; `ended` ones no person ended.
SELECT n.id, n.source_lead_id, n.topic, n.text, n.status,
       n.status IN ('superseded', 'expired')
           AND (n.superseded_by_id IS NULL
                OR starts_with(s.extracted_by, CAST(:extractor AS text))) AS ended
FROM memory_notes n LEFT JOIN memory_notes s ON s.id = n.superseded_by_id
WHERE n.source_lead_id = ANY (CAST(:leads AS uuid[])) AND n.topic IS NOT NULL
  AND starts_with(n.extracted_by, CAST(:extractor AS text))
ORDER BY n.id;

-- name: add_notes
-- Write notes for the customers that their leads have at this moment; one that is there is left.
INSERT INTO memory_notes (id, customer_id, kind, text, status, source_message_ids, source_lead_id,
                          extracted_by, confidence, valid_from, run_id, topic, quotation)
SELECT g.id, l.customer_id, g.kind, g.text, g.status, g.messages, g.lead_id, g.extracted_by,
       g.confidence, g.valid_from, CAST(:run_id AS uuid), g.topic, g.quotation
FROM json_to_recordset(CAST(:notes AS json)) AS g (
    id uuid, lead_id uuid, topic text, kind text, text text, status text, messages uuid[],
    extracted_by text, confidence numeric, valid_from timestamptz, quotation text)
JOIN leads l ON l.id = g.lead_id
ORDER BY g.id
ON CONFLICT (id) DO NOTHING;

-- name: change_notes
-- Change how notes stand, and remember how those stood that the run did not write.
WITH given AS (
    SELECT * FROM json_to_recordset(CAST(:notes AS json)) AS g (
        id uuid, status text, superseded_by_id uuid, valid_until timestamptz)
), kept AS (
    INSERT INTO run_changes (run_id, table_name, row_id, before)
    SELECT CAST(:run_id AS uuid), 'memory_notes', n.id, jsonb_build_object(
        'status', n.status, 'superseded_by_id', n.superseded_by_id, 'valid_until', n.valid_until)
    FROM given g JOIN memory_notes n ON n.id = g.id
    WHERE CAST(:run_id AS uuid) IS NOT NULL AND n.run_id IS DISTINCT FROM CAST(:run_id AS uuid)
)
UPDATE memory_notes n
SET status = g.status, superseded_by_id = g.superseded_by_id, valid_until = g.valid_until
FROM given g WHERE n.id = g.id;

-- name: reword_notes
-- Tell notes in other words, and remember those of notes that the run did not write.
WITH given AS (
    SELECT * FROM json_to_recordset(CAST(:notes AS json)) AS g (id uuid, text text)
), kept AS (
    INSERT INTO run_changes (run_id, table_name, row_id, before)
    SELECT CAST(:run_id AS uuid), 'memory_notes', n.id, jsonb_build_object('text', n.text)
    FROM given g JOIN memory_notes n ON n.id = g.id
    WHERE n.run_id IS DISTINCT FROM CAST(:run_id AS uuid)
)
UPDATE memory_notes n SET text = g.text FROM given g WHERE n.id = g.id;

-- name: list_notes
-- Notes of one customer or of all, the latest first, with how many others say something else.
SELECT n.id, n.customer_id, c.display_name AS customer, n.kind, n.text, n.status, n.topic,
       n.extracted_by, n.confidence, n.source_lead_id, l.external_id AS lead, n.source_message_ids,
       n.valid_from, n.valid_until, n.superseded_by_id, n.created_at, n.quotation, o.others
FROM memory_notes n
JOIN customers c ON c.id = n.customer_id
LEFT JOIN leads l ON l.id = n.source_lead_id
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(m.id ORDER BY m.id), CAST('{}' AS uuid[])) AS others
    FROM memory_notes m
    WHERE m.customer_id = n.customer_id AND m.topic = n.topic AND m.id <> n.id
      AND right(n.topic, 2) <> '[]' AND m.text <> n.text
      AND m.status IN ('candidate', 'confirmed') AND n.status IN ('candidate', 'confirmed')
) AS o
WHERE (CAST(:customer_id AS uuid) IS NULL OR n.customer_id = CAST(:customer_id AS uuid))
  AND (CAST(:status AS text) IS NULL OR n.status = CAST(:status AS text))
  AND (NOT CAST(:contradicted AS boolean) OR cardinality(o.others) > 0)
  AND (CAST(:after AS uuid) IS NULL OR (n.created_at, n.id) < (
      SELECT a.created_at, a.id FROM memory_notes a WHERE a.id = CAST(:after AS uuid)))
ORDER BY n.created_at DESC, n.id DESC LIMIT CAST(:limit AS bigint);

-- name: contradicted_topics
-- Of how many topics customers' contacts say different things.
SELECT count(*) FROM (
    SELECT n.customer_id, n.topic FROM memory_notes n
    WHERE right(n.topic, 2) <> '[]' AND n.status IN ('candidate', 'confirmed')
    GROUP BY n.customer_id, n.topic HAVING count(DISTINCT n.text) > 1) AS t;

-- name: note_by_beginning
-- The notes whose id begins so, held until this transaction ends.
SELECT n.id, n.customer_id, n.kind, n.text, n.status, n.topic, n.source_lead_id,
       n.source_message_ids, n.valid_until
FROM memory_notes n
WHERE starts_with(CAST(n.id AS text), CAST(:beginning AS text))
ORDER BY n.id LIMIT 2 FOR UPDATE;

-- name: confirmed_otherwise
-- What somebody has confirmed of the same topic that says something else.
SELECT m.id, m.text FROM memory_notes n
JOIN memory_notes m ON m.customer_id = n.customer_id AND m.topic = n.topic AND m.id <> n.id
WHERE n.id = CAST(:id AS uuid) AND right(n.topic, 2) <> '[]' AND m.status = 'confirmed'
  AND m.text <> n.text
ORDER BY m.id LIMIT 1;

-- name: replace_note
-- Write the note that a person puts in another's place.
INSERT INTO memory_notes (id, customer_id, address_id, job_id, kind, text, status, source_lead_id,
                          source_message_ids, extracted_by, valid_from, topic)
SELECT CAST(:new_id AS uuid), n.customer_id, n.address_id, n.job_id, n.kind, CAST(:text AS text),
       'confirmed', n.source_lead_id, n.source_message_ids, CAST(:by AS text),
       CAST(:now AS timestamptz), n.topic
FROM memory_notes n WHERE n.id = CAST(:id AS uuid);

-- name: messages_to_propose_from
-- What a customer said, and what was said around it, the latest last.
SELECT * FROM (
    SELECT m.id, v.lead_id, m.role, left(m.content, 2000) AS content, m.created_at, m.seq
    FROM messages m JOIN conversations v ON v.id = m.conversation_id
    WHERE m.customer_id = CAST(:customer_id AS uuid) AND m.kind = 'text'
    ORDER BY m.created_at DESC, m.seq DESC, m.id DESC LIMIT CAST(:limit AS bigint)
) AS latest
ORDER BY created_at, seq, id;
