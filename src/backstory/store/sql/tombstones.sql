-- name: tombstones_of_leads
-- The leads that were erased and must not come back, as keyed hashes.
SELECT digest FROM tombstones WHERE kind = 'lead';

-- name: add_tombstone_key
-- Keep the secret that tombstones are keyed with, unless there is one already.
INSERT INTO tombstone_keys (id, secret) VALUES (CAST(:id AS uuid), CAST(:secret AS bytea))
ON CONFLICT DO NOTHING;

-- name: tombstone_key
-- The secret that tombstones are keyed with.
SELECT secret FROM tombstone_keys ORDER BY created_at LIMIT 1;

-- name: add_tombstones
-- Leave a tombstone for what was erased.
INSERT INTO tombstones (digest, kind)
SELECT d.digest, CAST(:kind AS text) FROM unnest(CAST(:digests AS bytea[])) AS d (digest)
ORDER BY d.digest
ON CONFLICT DO NOTHING;

-- name: customer_erased_at
-- When the customer of this tombstone was erased.
SELECT erased_at FROM tombstones WHERE kind = 'customer' AND digest = CAST(:digest AS bytea);
