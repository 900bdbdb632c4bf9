-- name: memory_jobs
-- The jobs of a customer with what was ordered, or one of them, as memory shows them.
SELECT j.id, j.created_at, j.job_number, left(j.title, 300) AS title,
       left(j.description, 4000) AS description, left(j.service_type, 100) AS service_type,
       j.status, j.lead_id, j.conversation_id, j.scheduled_start, j.actual_start, j.actual_end,
       j.total_cents, j.currency,
       j.service_address_id AS address_id, a.line1, a.line2, a.city, a.region, a.postal_code,
       a.country, i.items, coalesce(e.last_at, j.created_at) AS at,
       sha256(convert_to(CAST(jsonb_build_array(
           j.job_number, j.title, j.description, j.service_type, j.status, j.scheduled_start,
           j.scheduled_end, j.actual_start, j.actual_end, j.total_cents, j.currency, a.line1,
           a.line2, a.city, a.region, a.postal_code, a.country, i.items) AS text), 'UTF8'))
           AS content_hash
FROM jobs j
LEFT JOIN customer_addresses a ON a.id = j.service_address_id AND a.customer_id = j.customer_id
CROSS JOIN LATERAL (
    SELECT string_agg(trim_scale(n.quantity) || ' x ' || left(n.name, 80), ', '
                      ORDER BY n.position) AS items
    FROM job_items n WHERE n.job_id = j.id AND n.customer_id = j.customer_id AND n.position <= 20
) i
CROSS JOIN LATERAL (
    SELECT max(v.occurred_at) AS last_at
    FROM job_events v
    WHERE v.job_id = j.id AND v.customer_id = j.customer_id AND v.event_type <> 'context_confirmed'
) e
WHERE j.customer_id = CAST(:customer_id AS uuid)
  AND (CAST(:id AS uuid) IS NULL OR j.id = CAST(:id AS uuid))
ORDER BY j.created_at DESC, j.id LIMIT 200;

-- name: memory_leads
-- The contacts of a customer, or one of them, with when there was last a word before this talk.
SELECT l.id, l.channel, left(l.name, 300) AS name, left(l.stage, 100) AS stage, l.created_at,
       CASE WHEN octet_length(CAST(l.state_metadata AS text)) <= 20000 THEN l.state_metadata
            WHEN octet_length(CAST(l.state_metadata -> 'address' AS text)) <= 2000
            THEN jsonb_build_object('address', l.state_metadata -> 'address')
       END AS state_metadata,
       left(v.summary, 4000) AS summary,
       coalesce(CASE WHEN l.id = CAST(:lead_id AS uuid) THEN (
                         SELECT m.created_at FROM messages m
                         WHERE m.conversation_id = v.id AND m.customer_id = l.customer_id
                           AND m.created_at < CAST(:talk_since AS timestamptz)
                         ORDER BY m.created_at DESC LIMIT 1)
                     ELSE v.last_message_at END, l.created_at) AS at,
       sha256(convert_to(CAST(jsonb_build_array(
           l.channel, l.name, l.stage, l.created_at, v.summary, l.state_metadata) AS text),
           'UTF8')) AS content_hash
FROM leads l
LEFT JOIN LATERAL (
    SELECT c.id, c.summary, c.last_message_at FROM conversations c
    WHERE c.lead_id = l.id AND c.customer_id = l.customer_id ORDER BY c.ordinal DESC LIMIT 1
) v ON true
WHERE l.customer_id = CAST(:customer_id AS uuid)
  AND (CAST(:id AS uuid) IS NULL OR l.id = CAST(:id AS uuid))
ORDER BY l.created_at DESC NULLS LAST, l.id LIMIT 50;

-- name: memory_addresses
-- The addresses of a customer, or one of them, with when there was last a job at it.
SELECT a.id, left(a.label, 100) AS label, a.line1, a.line2, a.city, a.region, a.postal_code,
       a.country, left(a.access_notes, 4000) AS access_notes, a.is_primary, a.created_at, w.jobs,
       coalesce(w.last_at, a.created_at) AS at,
       sha256(convert_to(CAST(jsonb_build_array(
           a.label, a.line1, a.line2, a.city, a.region, a.postal_code, a.country, a.access_notes)
           AS text), 'UTF8')) AS content_hash
FROM customer_addresses a
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs, max(coalesce(j.actual_end, j.actual_start, j.created_at)) AS last_at
    FROM jobs j WHERE j.service_address_id = a.id AND j.customer_id = a.customer_id
) w
WHERE a.customer_id = CAST(:customer_id AS uuid)
  AND (CAST(:id AS uuid) IS NULL OR a.id = CAST(:id AS uuid))
ORDER BY a.created_at DESC, a.id LIMIT 200;

-- name: memory_notes_valid
-- The notes on a customer that are confirmed, or candidates, and valid at a moment; or one of them.
SELECT n.id, n.kind, left(n.text, 4000) AS text, left(n.quotation, 600) AS quotation,
       n.status, n.job_id, n.address_id, n.valid_until,
       EXISTS (SELECT FROM memory_notes o
               WHERE o.customer_id = n.customer_id AND o.topic = n.topic
                 AND right(n.topic, 2) <> '[]' AND o.text <> n.text
                 AND o.status IN ('candidate', 'confirmed')) AS contradicted,
       coalesce(n.valid_from, n.created_at) AS at, j.job_number, a.line1, a.line2, a.city,
       a.region, a.postal_code, a.country,
       sha256(convert_to(CAST(jsonb_build_array(
           n.kind, n.text, n.status, n.job_id, n.address_id, n.valid_from, n.valid_until)
           -- A note that quotes nothing keeps the hash that it had before there were quotations.
           || CASE WHEN n.quotation IS NULL THEN '[]' ELSE jsonb_build_array(n.quotation) END
           AS text), 'UTF8')) AS content_hash
FROM memory_notes n
LEFT JOIN jobs j ON j.id = n.job_id AND j.customer_id = n.customer_id
LEFT JOIN customer_addresses a ON a.id = n.address_id AND a.customer_id = n.customer_id
WHERE n.customer_id = CAST(:customer_id AS uuid)
  AND (CAST(:id AS uuid) IS NULL OR n.id = CAST(:id AS uuid))
  AND n.status IN ('candidate', 'confirmed')
  AND (n.valid_from IS NULL OR n.valid_from <= CAST(:now AS timestamptz))
  AND (n.valid_until IS NULL OR n.valid_until > CAST(:now AS timestamptz))
ORDER BY coalesce(n.valid_from, n.created_at) DESC, n.id LIMIT 200;

-- name: memory_messages
-- Some messages of a customer, each with the question before it, if there is one that it answers.
SELECT m.id, m.conversation_id, m.role, m.kind, left(m.author, 100) AS author,
       left(coalesce(m.line, m.content), 4000) AS content,
       left(m.attachment_text, 1000) AS attachment_text,
       m.created_at AS at, b.id AS asked_id, b.role AS asked_by, b.content AS asked,
       sha256(convert_to(CAST(jsonb_build_array(
           m.role, m.kind, m.author, coalesce(m.line, m.content), m.attachment_text, m.created_at,
           b.role, b.hashed)
           AS text), 'UTF8')) AS content_hash
FROM messages m
LEFT JOIN LATERAL (
    SELECT p.id, p.role, left(p.content, 1000) AS content,
           sha256(convert_to(p.content, 'UTF8')) AS hashed
    FROM (
        SELECT q.id, q.role, q.kind, q.content FROM messages q
        WHERE q.conversation_id = m.conversation_id AND q.customer_id = m.customer_id
          AND (q.created_at, q.seq, q.id) < (m.created_at, m.seq, m.id)
          AND q.created_at > m.created_at - interval '6 hours'
        ORDER BY q.created_at DESC, q.seq DESC, q.id DESC LIMIT 1
    ) p
    WHERE p.role <> m.role AND p.kind = 'text' AND right(rtrim(left(p.content, 1000)), 1) = '?'
) b ON true
WHERE m.customer_id = CAST(:customer_id AS uuid) AND m.id = ANY (CAST(:ids AS uuid[]))
ORDER BY m.conversation_id, m.created_at, m.seq, m.id;

-- name: memory_talk
-- The last messages of a conversation since a moment, and before another.
SELECT m.id FROM messages m
WHERE m.customer_id = CAST(:customer_id AS uuid)
  AND m.conversation_id = CAST(:conversation_id AS uuid)
  AND m.created_at >= CAST(:talk_since AS timestamptz) AND m.kind = 'text'
ORDER BY m.created_at DESC, m.seq DESC, m.id DESC LIMIT CAST(:limit AS integer);

-- name: memory_beside
-- What was said right before and right after some messages, but for the talk that is going on.
SELECT m.id, b.id AS before_id, a.id AS after_id
FROM messages m
LEFT JOIN LATERAL (
    SELECT q.id FROM messages q
    WHERE q.conversation_id = m.conversation_id AND q.customer_id = m.customer_id
      AND (q.created_at, q.seq, q.id) < (m.created_at, m.seq, m.id)
      AND q.created_at > m.created_at - interval '6 hours' AND q.kind = 'text'
    ORDER BY q.created_at DESC, q.seq DESC, q.id DESC LIMIT 1
) b ON true
LEFT JOIN LATERAL (
    SELECT q.id FROM messages q
    WHERE q.conversation_id = m.conversation_id AND q.customer_id = m.customer_id
      AND (q.created_at, q.seq, q.id) > (m.created_at, m.seq, m.id)
      AND q.created_at < m.created_at + interval '6 hours' AND q.kind = 'text'
      AND (q.conversation_id IS DISTINCT FROM CAST(:conversation_id AS uuid)
           OR q.created_at < CAST(:talk_since AS timestamptz))
    ORDER BY q.created_at, q.seq, q.id LIMIT 1
) a ON true
WHERE m.customer_id = CAST(:customer_id AS uuid) AND m.id = ANY (CAST(:ids AS uuid[]));

-- name: memory_profile
-- Who the customer is, as they are known now.
SELECT c.id, c.created_at, left(c.display_name, 300) AS display_name,
       left(c.company_name, 300) AS company_name,
       coalesce(c.phone_e164, left(c.phone_raw, 100)) AS phone, left(c.email, 300) AS email,
       c.preferred_channel, left(c.language, 40) AS language, c.do_not_contact
FROM customers c WHERE c.id = CAST(:customer_id AS uuid);

-- name: memory_summaries
-- The summaries of the last conversations with a lead, and what they cover.
SELECT v.id, left(v.summary, 4000) AS summary, s.messages, s.made_by,
       coalesce(s.last_at, v.last_message_at, v.started_at) AS at
FROM conversations v
LEFT JOIN conversation_summaries s ON s.conversation_id = v.id AND s.customer_id = v.customer_id
WHERE v.customer_id = CAST(:customer_id AS uuid) AND v.lead_id = CAST(:lead_id AS uuid)
  AND v.summary <> ''
ORDER BY v.ordinal DESC LIMIT 2;

-- name: remember_shown
-- Write down what was shown in a conversation; what was shown before is shown anew.
INSERT INTO confirmations (
    id, customer_id, conversation_id, candidate_id, source_kind, source_id, content_hash,
    fetched_at)
SELECT gen_random_uuid(), CAST(:customer_id AS uuid), CAST(:conversation_id AS uuid),
       u.candidate_id, u.source_kind, u.source_id, u.content_hash, CAST(:now AS timestamptz)
FROM unnest(CAST(:candidate_ids AS text[]), CAST(:source_kinds AS text[]),
            CAST(:source_ids AS uuid[]), CAST(:content_hashes AS bytea[]))
     AS u (candidate_id, source_kind, source_id, content_hash)
ON CONFLICT (conversation_id, candidate_id)
DO UPDATE SET fetched_at = excluded.fetched_at, content_hash = excluded.content_hash;

-- name: shown_in_conversation
-- What was shown in a conversation under some candidate ids.
SELECT k.candidate_id, k.source_kind, k.source_id, k.content_hash, k.confirmed_at
FROM confirmations k
WHERE k.customer_id = CAST(:customer_id AS uuid)
  AND k.conversation_id = CAST(:conversation_id AS uuid)
  AND k.candidate_id = ANY (CAST(:candidate_ids AS text[]));

-- name: confirm_shown
-- Confirm what was shown; what was confirmed since a moment stays so since then.
UPDATE confirmations SET confirmed_at = CAST(:now AS timestamptz)
WHERE customer_id = CAST(:customer_id AS uuid)
  AND conversation_id = CAST(:conversation_id AS uuid)
  AND candidate_id = ANY (CAST(:candidate_ids AS text[]))
  AND (confirmed_at IS NULL OR confirmed_at <= CAST(:since AS timestamptz))
RETURNING candidate_id;

-- name: confirmed_in_conversation
-- What was confirmed in a conversation since a moment, the latest first.
SELECT k.candidate_id, k.source_kind, k.source_id, k.content_hash, k.confirmed_at
FROM confirmations k
WHERE k.customer_id = CAST(:customer_id AS uuid)
  AND k.conversation_id = CAST(:conversation_id AS uuid)
  AND k.confirmed_at > CAST(:since AS timestamptz)
ORDER BY k.confirmed_at DESC, k.candidate_id LIMIT 50;
