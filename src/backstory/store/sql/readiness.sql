-- name: unprotected_tables
-- The tables of ours without row-level security, or of customers and not bound to one by policies.
SELECT c.relname AS name,
       CASE WHEN NOT c.relrowsecurity THEN 'row-level security is off'
            WHEN p.policies = 0 THEN 'no policy binds it to a customer'
            ELSE 'a policy does not ask whose session it is' END AS wrong
FROM pg_class c
CROSS JOIN LATERAL (
    SELECT c.relname = 'customers' OR EXISTS (
        SELECT FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attname = 'customer_id' AND NOT a.attisdropped) AS owned
) o
CROSS JOIN LATERAL (
    SELECT count(*) AS policies,
           count(*) FILTER (WHERE l.polpermissive AND strpos(concat(
               pg_get_expr(l.polqual, l.polrelid), pg_get_expr(l.polwithcheck, l.polrelid)),
               'backstory.customer_id') = 0) AS loose
    FROM pg_policy l WHERE l.polrelid = c.oid
) p
WHERE c.relnamespace = CAST(:schema AS regnamespace) AND c.relkind IN ('r', 'p')
  AND c.relname = ANY (CAST(:tables AS text[]))
  AND (NOT c.relrowsecurity OR (o.owned AND (p.policies = 0 OR p.loose > 0)))
ORDER BY c.relname;

-- name: unsound_indexes
-- The indexes that should be there and are not, or are not valid.
SELECT w.name, CASE WHEN c.oid IS NULL THEN 'is not there' ELSE 'is not valid' END AS wrong
FROM unnest(CAST(:indexes AS text[])) AS w (name)
LEFT JOIN pg_class c ON c.relname = w.name AND c.relkind IN ('i', 'I')
     AND c.relnamespace = CAST(:schema AS regnamespace)
LEFT JOIN pg_index i ON i.indexrelid = c.oid
WHERE c.oid IS NULL OR NOT (i.indisvalid AND i.indisready AND i.indislive)
ORDER BY w.name;
