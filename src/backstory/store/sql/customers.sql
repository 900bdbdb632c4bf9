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

-- name: survivor_of_customer
-- Whom a customer was merged into, as often as that happened; nothing for one who was not.
WITH RECURSIVE up AS (
    SELECT c.id, c.merged_into_id FROM customers c WHERE c.id = CAST(:id AS uuid)
    UNION ALL
    SELECT c.id, c.merged_into_id FROM customers c JOIN up ON c.id = up.merged_into_id
)
SELECT up.id FROM up WHERE up.merged_into_id IS NULL AND up.id <> CAST(:id AS uuid);

-- name: customer_profile
-- Who a customer is, as they are known now, unless they were merged away.
SELECT c.id, c.display_name, c.company_name, coalesce(c.phone_e164, c.phone_raw) AS phone, c.email,
       c.preferred_channel, c.language, c.timezone, c.do_not_contact, c.created_at
FROM customers c WHERE c.id = CAST(:id AS uuid) AND c.merged_into_id IS NULL;

-- name: identities_of_customer
-- What a customer is known by, and whether that is verified or only claimed.
SELECT i.kind, i.value, i.provenance FROM customer_identities i
WHERE i.customer_id = CAST(:id AS uuid)
ORDER BY i.provenance = 'verified' DESC, i.kind, i.value LIMIT CAST(:limit AS bigint);

-- name: addresses_of_customer
-- A customer's addresses, the primary one first, then the latest.
SELECT a.id, a.label, a.line1, a.line2, a.city, a.region, a.postal_code, a.country, a.access_notes,
       a.is_primary
FROM customer_addresses a
WHERE a.customer_id = CAST(:id AS uuid)
ORDER BY a.is_primary DESC, a.created_at DESC, a.id LIMIT CAST(:limit AS bigint);

-- name: jobs_of_customer
-- A customer's jobs with what was ordered, the latest first.
SELECT j.id, j.job_number, j.title, j.status, j.scheduled_start, j.scheduled_end, j.total_cents,
       j.currency, j.created_at, a.line1, a.line2, a.city, a.region, a.postal_code, a.country, i.items
FROM jobs j
LEFT JOIN customer_addresses a ON a.id = j.service_address_id AND a.customer_id = j.customer_id
CROSS JOIN LATERAL (
    SELECT string_agg(trim_scale(n.quantity) || ' x ' || left(n.name, 80), ', '
                      ORDER BY n.position) AS items
    FROM job_items n WHERE n.job_id = j.id AND n.position <= 20
) AS i
WHERE j.customer_id = CAST(:id AS uuid)
ORDER BY j.created_at DESC, j.id LIMIT CAST(:limit AS bigint);
