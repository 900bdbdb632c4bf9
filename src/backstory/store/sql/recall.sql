-- name: recall_scope
-- How many messages a customer has, how long they are in words of the index, and who wrote them.
SELECT count(*) AS messages, CAST(coalesce(avg(length(m.search)), 0) AS double precision) AS length,
       array_remove(array_agg(DISTINCT m.author), NULL) AS authors
FROM messages AS m
WHERE m.customer_id = CAST(:customer_id AS uuid);

-- name: recall_words
-- Some texts as the index reads them: each word, and how often it occurs.
SELECT t.number - 1 AS number, u.lexeme, cardinality(u.positions) AS count
FROM unnest(CAST(:texts AS text[])) WITH ORDINALITY AS t (said, number)
CROSS JOIN LATERAL unnest(to_tsvector('english', left(t.said, 60000))) AS u;

-- name: recall_all_turns
-- Every message of a customer in the order of its conversations, with the counts of some words.
SELECT m.id, m.conversation_id, m.created_at, m.author, m.role, length(m.search) AS length,
       strpos(m.content, '?') > 0 AS asks,
       right(rtrim(m.content), 1) = '?' AS ends_asking,
       CASE WHEN m.search @@ CAST(:any_word AS tsquery) THEN (
           SELECT string_agg(array_position(CAST(:words AS text[]), u.lexeme) || ':'
                             || cardinality(u.positions), ' ')
           FROM unnest(m.search) AS u
           WHERE u.lexeme = ANY (CAST(:words AS text[]))
       ) END AS counts
FROM messages AS m
WHERE m.customer_id = CAST(:customer_id AS uuid)
ORDER BY m.conversation_id, m.created_at, m.seq, m.id;

-- name: recall_texts
-- What was said in some messages of a customer.
SELECT m.id, m.content, m.attachment_text
FROM messages AS m
WHERE m.customer_id = CAST(:customer_id AS uuid) AND m.id = ANY (CAST(:ids AS uuid[]));
