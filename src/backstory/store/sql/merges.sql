-- name: list_merges
-- Merges of customers, the latest first: of all, or of those whose id begins so.
SELECT m.id, m.merged_at, m.survivor_id, s.display_name AS survivor, m.absorbed_id,
       a.display_name AS absorbed, m.reason, m.undone_at, m.run_id
FROM customer_merges m
JOIN customers s ON s.id = m.survivor_id
JOIN customers a ON a.id = m.absorbed_id
WHERE CAST(:customer AS text) IS NULL
   OR starts_with(CAST(m.survivor_id AS text), CAST(:customer AS text))
   OR starts_with(CAST(m.absorbed_id AS text), CAST(:customer AS text))
ORDER BY m.merged_at DESC, m.id
LIMIT CAST(:limit AS bigint);

-- name: merges_by_beginning
-- The merges whose id begins so, two at most: one is meant.
SELECT id, survivor_id, absorbed_id FROM customer_merges
WHERE starts_with(CAST(id AS text), CAST(:beginning AS text))
ORDER BY id LIMIT 2;
