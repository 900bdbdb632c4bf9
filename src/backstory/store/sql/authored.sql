-- name: profile
-- Read the bound customer's profile.
SELECT c.display_name, c.phone_raw, c.phone_e164, c.email, c.company_name, c.preferred_channel,
       c.language
FROM customers c WHERE c.id = CAST(:customer_id AS uuid);

-- name: write_profile
-- Write a whole profile.
UPDATE customers SET
    display_name = CAST(:display_name AS text), phone_raw = CAST(:phone_raw AS text),
    phone_e164 = CAST(:phone_e164 AS text), email = CAST(:email AS text),
    company_name = CAST(:company_name AS text),
    preferred_channel = CAST(:preferred_channel AS text), language = CAST(:language AS text)
WHERE id = CAST(:customer_id AS uuid);

-- name: add_claim
-- Keep what a customer says they can be reached by: it links nobody and is unique to nobody.
INSERT INTO customer_identities (id, customer_id, kind, value, provenance)
SELECT CAST(:id AS uuid), CAST(:customer_id AS uuid), CAST(:kind AS text), CAST(:value AS text),
       'claimed'
WHERE NOT EXISTS (
    SELECT FROM customer_identities i
    WHERE i.customer_id = CAST(:customer_id AS uuid) AND i.kind = CAST(:kind AS text)
      AND i.value = CAST(:value AS text));

-- name: address_by_key
-- Find the bound customer's address of this normalized form.
SELECT a.* FROM customer_addresses a
WHERE a.customer_id = CAST(:customer_id AS uuid)
  AND a.normalized_key = CAST(:normalized_key AS text);

-- name: address_by_id
-- Find an address of the bound customer.
SELECT a.* FROM customer_addresses a
WHERE a.customer_id = CAST(:customer_id AS uuid) AND a.id = CAST(:id AS uuid);

-- name: demote_addresses
-- Let no address of the customer be the primary one.
UPDATE customer_addresses SET is_primary = false
WHERE customer_id = CAST(:customer_id AS uuid) AND is_primary;

-- name: insert_address
-- Keep an address of the customer, as it was told and as it is compared.
INSERT INTO customer_addresses (
    id, customer_id, label, line1, line2, city, region, postal_code, country, raw_text,
    access_notes, is_primary, normalized_key, created_at)
VALUES (
    CAST(:id AS uuid), CAST(:customer_id AS uuid), CAST(:label AS text), CAST(:line1 AS text),
    CAST(:line2 AS text), CAST(:city AS text), CAST(:region AS text), CAST(:postal_code AS text),
    CAST(:country AS text), CAST(:raw_text AS text), CAST(:access_notes AS text),
    CAST(:is_primary AS boolean), CAST(:normalized_key AS text),
    CAST(:created_at AS timestamptz))
RETURNING *;

-- name: update_address
-- Change what may change of an address: how to get in, its label, whether it is the primary one.
UPDATE customer_addresses SET
    label = CAST(:label AS text), access_notes = CAST(:access_notes AS text),
    is_primary = CAST(:is_primary AS boolean)
WHERE customer_id = CAST(:customer_id AS uuid) AND id = CAST(:id AS uuid);

-- name: job_by_id
-- Find a job of the bound customer, with its address, how many of its lines have no price, and what it
-- was before it was put on hold.
SELECT j.*, a.line1, a.line2, a.city, a.region, a.postal_code, a.country,
       (SELECT count(*) FROM job_items i
        WHERE i.job_id = j.id AND i.unit_price_cents IS NULL) AS unpriced_items,
       CASE WHEN j.status = 'on_hold' THEN (
           SELECT e.from_status FROM job_events e
           WHERE e.job_id = j.id AND e.customer_id = j.customer_id
             AND e.to_status = 'on_hold' AND e.from_status <> 'on_hold'
           ORDER BY e.recorded_at DESC LIMIT 1) END AS held_from
FROM jobs j
LEFT JOIN customer_addresses a ON a.id = j.service_address_id AND a.customer_id = j.customer_id
WHERE j.customer_id = CAST(:customer_id AS uuid) AND j.id = CAST(:id AS uuid);

-- name: twin_job
-- Find a job of the same title, not closed, that was opened in this conversation since a moment, and
-- has the address and the window that are asked for, if any are.
SELECT j.id FROM jobs j
WHERE j.customer_id = CAST(:customer_id AS uuid)
  AND j.conversation_id IS NOT DISTINCT FROM CAST(:conversation_id AS uuid)
  AND j.lead_id = CAST(:lead_id AS uuid)
  AND lower(j.title) = lower(CAST(:title AS text))
  AND (CAST(:address_id AS uuid) IS NULL OR j.service_address_id = CAST(:address_id AS uuid))
  AND (CAST(:scheduled_start AS timestamptz) IS NULL
       OR (j.scheduled_start = CAST(:scheduled_start AS timestamptz)
           AND j.scheduled_end IS NOT DISTINCT FROM CAST(:scheduled_end AS timestamptz)))
  AND j.created_at > CAST(:since AS timestamptz) AND j.status NOT IN ('canceled', 'completed')
ORDER BY j.created_at DESC LIMIT 1;

-- name: insert_job
-- Open a job for the customer, with its window if there is one.
INSERT INTO jobs (
    id, customer_id, service_address_id, lead_id, conversation_id, title, description,
    service_type, status, scheduled_start, scheduled_end, created_at)
VALUES (
    CAST(:id AS uuid), CAST(:customer_id AS uuid), CAST(:address_id AS uuid),
    CAST(:lead_id AS uuid), CAST(:conversation_id AS uuid), CAST(:title AS text),
    CAST(:description AS text), CAST(:service_type AS text), CAST(:status AS text),
    CAST(:scheduled_start AS timestamptz), CAST(:scheduled_end AS timestamptz),
    CAST(:created_at AS timestamptz))
RETURNING job_number, currency;

-- name: items_of_job
-- List the lines of a job, in order.
SELECT i.position, i.kind, i.quantity, i.unit_price_cents FROM job_items i
WHERE i.job_id = CAST(:job_id AS uuid) AND i.customer_id = CAST(:customer_id AS uuid)
ORDER BY i.position;

-- name: like_items
-- Count the lines of a job that are just like this one.
SELECT count(*) FROM job_items i
WHERE i.job_id = CAST(:job_id AS uuid) AND i.customer_id = CAST(:customer_id AS uuid)
  AND i.kind = CAST(:kind AS text) AND lower(i.name) = lower(CAST(:name AS text))
  AND i.unit = CAST(:unit AS text) AND i.quantity = CAST(:quantity AS numeric)
  AND i.unit_price_cents IS NOT DISTINCT FROM CAST(:unit_price_cents AS bigint);

-- name: insert_item
-- Add a line to a job.
INSERT INTO job_items (
    id, job_id, customer_id, position, kind, name, quantity, unit, unit_price_cents)
VALUES (
    CAST(:id AS uuid), CAST(:job_id AS uuid), CAST(:customer_id AS uuid),
    CAST(:position AS bigint), CAST(:kind AS text), CAST(:name AS text),
    CAST(:quantity AS numeric), CAST(:unit AS text), CAST(:unit_price_cents AS bigint));

-- name: set_totals
-- Write down what a job's lines come to.
UPDATE jobs SET subtotal_cents = CAST(:subtotal AS bigint), total_cents = CAST(:total AS bigint),
    version = version + 1
WHERE customer_id = CAST(:customer_id AS uuid) AND id = CAST(:id AS uuid);

-- name: move_job
-- Bring a job to the state that an event led to.
UPDATE jobs SET status = CAST(:status AS text), canceled_by = CAST(:canceled_by AS text),
    scheduled_start = CAST(:scheduled_start AS timestamptz),
    scheduled_end = CAST(:scheduled_end AS timestamptz),
    actual_start = CAST(:actual_start AS timestamptz),
    actual_end = CAST(:actual_end AS timestamptz), version = version + 1
WHERE customer_id = CAST(:customer_id AS uuid) AND id = CAST(:id AS uuid);

-- name: like_events
-- Count the events of a job that are just like this one.
SELECT count(*) FROM job_events e
WHERE e.job_id = CAST(:job_id AS uuid) AND e.customer_id = CAST(:customer_id AS uuid)
  AND e.event_type = CAST(:event_type AS text) AND e.payload = CAST(:payload AS jsonb)
  AND (CAST(:occurred_at AS timestamptz) IS NULL
       OR e.occurred_at = CAST(:occurred_at AS timestamptz));

-- name: insert_job_event
-- Append what happened to a job.
INSERT INTO job_events (
    id, job_id, customer_id, event_type, occurred_at, actor, from_status, to_status, payload)
VALUES (
    CAST(:id AS uuid), CAST(:job_id AS uuid), CAST(:customer_id AS uuid),
    CAST(:event_type AS text), CAST(:occurred_at AS timestamptz), CAST(:actor AS text),
    CAST(:from_status AS text), CAST(:to_status AS text), CAST(:payload AS jsonb));
