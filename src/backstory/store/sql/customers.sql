-- name: find_customers
-- A page of customers, the latest first, whose name, phone, e-mail or one of whose leads matches; with what is known of each.
WITH page AS (
    SELECT c.id, c.display_name, coalesce(c.phone_e164, c.phone_raw) AS phone, c.email, c.created_at
    FROM customers c
    WHERE c.merged_into_id IS NULL
      AND (CAST(:after AS uuid) IS NULL OR (c.created_at, c.id) < (
          SELECT a.created_at, a.id FROM customers a WHERE a.id = CAST(:after AS uuid)))
      AND (CAST(:pattern AS text) IS NULL
           OR c.display_name ILIKE CAST(:pattern AS text)
           OR c.company_name ILIKE CAST(:pattern AS text)
           OR c.email ILIKE CAST(:pattern AS text)
           OR c.phone_raw ILIKE CAST(:pattern AS text)
           OR c.phone_e164 LIKE CAST(:digits AS text)
           OR CAST(c.id AS text) LIKE CAST(:pattern AS text)
           OR EXISTS (
               SELECT FROM leads l
               WHERE l.customer_id = c.id
                 AND (l.external_id ILIKE CAST(:pattern AS text)
                      OR l.name ILIKE CAST(:pattern AS text)
                      OR l.email ILIKE CAST(:pattern AS text)
                      OR l.messenger_psid ILIKE CAST(:pattern AS text)
                      OR l.phone_raw ILIKE CAST(:pattern AS text)
                      OR l.phone_e164 LIKE CAST(:digits AS text))))
    ORDER BY c.created_at DESC, c.id DESC
    LIMIT CAST(:limit AS bigint)
)
SELECT p.id, p.display_name, p.phone, p.email, l.leads, v.conversations, m.messages, m.last_message_at
FROM page p
CROSS JOIN LATERAL (SELECT count(*) AS leads FROM leads WHERE customer_id = p.id) AS l
CROSS JOIN LATERAL (SELECT count(*) AS conversations FROM conversations WHERE customer_id = p.id) AS v
CROSS JOIN LATERAL (
    SELECT count(*) AS messages, max(created_at) AS last_message_at
    FROM messages WHERE customer_id = p.id
) AS m
ORDER BY p.created_at DESC, p.id DESC;

-- name: customer_row
-- One customer who was not merged away, with what is known of it.
SELECT c.id, c.display_name, coalesce(c.phone_e164, c.phone_raw) AS phone, c.email, l.leads,
       v.conversations, m.messages, m.last_message_at
FROM customers c
CROSS JOIN LATERAL (SELECT count(*) AS leads FROM leads WHERE customer_id = c.id) AS l
CROSS JOIN LATERAL (SELECT count(*) AS conversations FROM conversations WHERE customer_id = c.id) AS v
CROSS JOIN LATERAL (
    SELECT count(*) AS messages, max(created_at) AS last_message_at
    FROM messages WHERE customer_id = c.id
) AS m
WHERE c.id = CAST(:id AS uuid) AND c.merged_into_id IS NULL;

-- name: leads_of_customer
-- A customer's leads in the order in which they came, each with its newest conversation.
SELECT l.id, l.external_id AS lead, l.channel, l.name, l.stage, l.created_at,
       (SELECT v.id FROM conversations v WHERE v.lead_id = l.id
        ORDER BY v.ordinal DESC LIMIT 1) AS conversation_id
FROM leads l
WHERE l.customer_id = CAST(:id AS uuid)
ORDER BY l.created_at NULLS LAST, l.external_id COLLATE "C"
LIMIT CAST(:limit AS bigint);
