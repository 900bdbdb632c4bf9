-- name: add_key
-- Keep a new key by its digest.
INSERT INTO api_keys (id, name, profile, digest)
VALUES (CAST(:id AS uuid), CAST(:name AS text), CAST(:profile AS text), CAST(:digest AS bytea))
RETURNING id, name, profile, created_at, last_used_at, revoked_at;

-- name: use_key
-- Find a key that is not revoked, by its digest or its id, and note at most once a minute that it is used.
WITH wanted AS (
    SELECT k.id, k.name, k.profile, k.created_at, k.last_used_at, k.revoked_at
    FROM api_keys k
    WHERE (k.digest = CAST(:digest AS bytea) OR k.id = CAST(:id AS uuid)) AND k.revoked_at IS NULL
), noted AS (
    UPDATE api_keys k SET last_used_at = now()
    FROM wanted w
    WHERE k.id = w.id AND (w.last_used_at IS NULL OR w.last_used_at < now() - interval '1 minute')
)
SELECT w.id, w.name, w.profile, w.created_at, w.last_used_at, w.revoked_at FROM wanted w;

-- name: list_keys
-- All keys, the newest first; those whose id begins with a prefix, if one is given.
SELECT k.id, k.name, k.profile, k.created_at, k.last_used_at, k.revoked_at
FROM api_keys k
WHERE CAST(:prefix AS text) IS NULL OR starts_with(CAST(k.id AS text), CAST(:prefix AS text))
ORDER BY k.created_at DESC, k.id;

-- name: revoke_key
-- Take a key out of use for good; the first time counts.
UPDATE api_keys k SET revoked_at = coalesce(k.revoked_at, now())
WHERE k.id = CAST(:id AS uuid)
RETURNING k.id, k.name, k.profile, k.created_at, k.last_used_at, k.revoked_at;

-- name: add_signing_key
-- Keep the secret that signs sessions, unless another process was quicker.
INSERT INTO signing_keys (id, secret) VALUES (CAST(:id AS uuid), CAST(:secret AS bytea))
ON CONFLICT (id) DO NOTHING;

-- name: signing_key
-- The secret that signs sessions.
SELECT s.secret FROM signing_keys s WHERE s.id = CAST(:id AS uuid);
