-- name: recall_extent
-- Who wrote a customer's messages, how many and how long, and the authors' names in index words; here
-- as below without what told an agent how to behave.
SELECT m.author, count(*) AS messages, sum(length(m.search)) AS length,
       tsvector_to_array(to_tsvector('english', coalesce(m.author, ''))) AS names
FROM messages AS m
WHERE m.customer_id = CAST(:customer_id AS uuid) AND NOT (m.role = 'system' AND m.kind = 'text')
GROUP BY m.author;

-- name: recall_words
-- The words of some texts, as the index reads them.
SELECT tsvector_to_array(to_tsvector('english', left(t.said, 60000))) AS words
FROM unnest(CAST(:texts AS text[])) WITH ORDINALITY AS t (said, number)
ORDER BY t.number;

-- name: recall_story
-- Every message of a customer in the order of its conversations, as columns, if they are no more than
-- `most`; who wrote them; the words of a question, and where they occur: an author's name, which is
-- indexed with what the author says, is not said by that.
WITH size AS MATERIALIZED (
    SELECT count(*) AS messages
    FROM (SELECT FROM messages AS m
          WHERE m.customer_id = CAST(:customer_id AS uuid)
            AND NOT (m.role = 'system' AND m.kind = 'text')
          LIMIT CAST(:most AS bigint) + 1) AS m
), turn AS MATERIALIZED (
    SELECT row_number() OVER story - 1 AS number, m.id, m.search, m.created_at, m.author, m.role,
           m.content, m.line, m.attachment_text, length(m.search) AS length,
           CASE WHEN lag(m.conversation_id) OVER story = m.conversation_id THEN 0 ELSE 1 END
           + CASE WHEN coalesce(m.line, m.content) NOT LIKE '%?%' THEN 0
                  WHEN rtrim(coalesce(m.line, m.content)) LIKE '%?' THEN 12 ELSE 4 END
           + CASE WHEN m.kind = 'event' THEN 32 ELSE 0 END
           + CASE WHEN m.conversation_id = CAST(:talk AS uuid)
                   AND m.created_at >= CAST(:talk_since AS timestamptz) THEN 64 ELSE 0 END AS flags
    FROM messages AS m
    WHERE m.customer_id = CAST(:customer_id AS uuid)
      AND NOT (m.role = 'system' AND m.kind = 'text')
      AND (SELECT s.messages FROM size AS s) <= CAST(:most AS bigint)
    WINDOW story AS (ORDER BY m.conversation_id, m.created_at, m.seq, m.id)
), author AS MATERIALIZED (
    SELECT a.author, tsvector_to_array(to_tsvector('english', a.author)) AS words
    FROM (SELECT DISTINCT t.author FROM turn AS t WHERE t.author IS NOT NULL) AS a
), asked AS MATERIALIZED (
    SELECT w.word, row_number() OVER (ORDER BY char_length(w.word) DESC, w.word COLLATE "C") - 1
           AS number
    FROM unnest(tsvector_to_array(to_tsvector('english', left(CAST(:text AS text), 60000))))
         AS w (word)
    ORDER BY number LIMIT CAST(:most_words AS bigint)
), wanted AS MATERIALIZED (
    SELECT w.number, rtrim(w.word, 'i') AS stem,
           CAST('''' || replace(replace(w.word, '\', '\\'), '''', '''''') || ''''
                AS tsquery) AS query
    FROM asked AS w
), posting AS (
    SELECT t.number, w.number AS word
    FROM (SELECT t.number, t.search, t.author, t.content, t.line, t.attachment_text
          FROM turn AS t
          WHERE t.search @@ (SELECT CAST(string_agg(CAST(w.query AS text), ' | ') AS tsquery)
                             FROM wanted AS w)
          OFFSET 0) AS t
    JOIN wanted AS w ON t.search @@ w.query
    WHERE t.author IS NULL OR strpos(lower(t.author), w.stem) = 0
       OR strpos(lower(concat_ws(' ', t.content, t.line, t.attachment_text)), w.stem) > 0
)
SELECT s.messages, o.asked, a.names, t.*, p.turns, p.words
FROM size AS s
CROSS JOIN (SELECT array_agg(w.word ORDER BY w.number) AS asked FROM asked AS w) AS o
CROSS JOIN (SELECT jsonb_object_agg(a.author, a.words) AS names FROM author AS a) AS a
CROSS JOIN (
    SELECT string_agg(uuid_send(t.id), CAST('' AS bytea) ORDER BY t.number) AS ids,
           string_agg(timestamptz_send(t.created_at), CAST('' AS bytea) ORDER BY t.number)
               AS moments,
           array_agg(t.length ORDER BY t.number) AS lengths,
           array_agg(t.flags ORDER BY t.number) AS flags,
           array_agg(t.author ORDER BY t.number) AS authors,
           array_agg(t.role ORDER BY t.number) AS roles
    FROM turn AS t
) AS t
CROSS JOIN (SELECT array_agg(p.number) AS turns, array_agg(p.word) AS words FROM posting AS p) AS p;

-- name: recall_best_by_words
-- The messages of a customer that say most of some words, by BM25, and how many have each word.
WITH said AS MATERIALIZED (
    SELECT m.id, m.search,
           coalesce(m.conversation_id = CAST(:talk AS uuid)
                    AND m.created_at >= CAST(:talk_since AS timestamptz), false) AS of_talk
    FROM messages AS m
    WHERE m.customer_id = CAST(:customer_id AS uuid) AND m.search @@ CAST(:any_word AS tsquery)
      AND NOT (m.role = 'system' AND m.kind = 'text')
), posting AS MATERIALIZED (
    SELECT s.id, length(s.search) AS length, s.of_talk, w.number AS word
    FROM unnest(CAST(:words AS tsquery[])) WITH ORDINALITY AS w (word, number)
    JOIN said AS s ON s.search @@ w.word
), frequency AS (
    SELECT p.word, count(*) AS messages,
           CAST(ln(1 + (CAST(:messages AS bigint) - count(*) + 0.5) / (count(*) + 0.5))
                AS double precision) AS rarity
    FROM posting AS p
    GROUP BY p.word
), best AS (
    SELECT p.id
    FROM posting AS p
    JOIN frequency AS f ON f.word = p.word
    WHERE NOT p.of_talk
    GROUP BY p.id, p.length
    ORDER BY sum(f.rarity) / (1 + CAST(:k1 AS double precision) * (
                 1 - CAST(:b AS double precision) + CAST(:b AS double precision)
                 * p.length / CAST(:mean_length AS double precision))) DESC, p.id
    LIMIT CAST(:limit AS bigint)
)
SELECT ARRAY(SELECT b.id FROM best AS b) AS ids,
       ARRAY(SELECT f.word - 1 FROM frequency AS f ORDER BY f.word) AS words,
       ARRAY(SELECT f.messages FROM frequency AS f ORDER BY f.word) AS frequencies;

-- name: recall_latest
-- The latest messages of a customer, of one speaker or of anyone, in a stretch of time or ever.
SELECT m.id
FROM messages AS m
WHERE m.customer_id = CAST(:customer_id AS uuid)
  AND (CAST(:speaker AS text) IS NULL
       OR m.author = CAST(:speaker AS text) OR m.role = CAST(:speaker AS text))
  AND (CAST(:since AS timestamptz) IS NULL OR m.created_at >= CAST(:since AS timestamptz))
  AND (CAST(:until AS timestamptz) IS NULL OR m.created_at < CAST(:until AS timestamptz))
  AND (m.conversation_id IS DISTINCT FROM CAST(:talk AS uuid)
       OR m.created_at < CAST(:talk_since AS timestamptz))
  AND NOT (m.role = 'system' AND m.kind = 'text')
ORDER BY m.created_at DESC, m.seq DESC, m.id DESC
LIMIT CAST(:limit AS bigint);

-- name: recall_turns_around
-- Some messages of a customer with their neighbours, as columns, and where words occur in them; one
-- more before each is read, for what stands before its last neighbour.
WITH near AS (
    SELECT DISTINCT n.id, n.before_id
    FROM messages AS m
    CROSS JOIN LATERAL (
        SELECT u.id, u.back, lag(u.id) OVER (ORDER BY u.created_at, u.seq, u.id) AS before_id
        FROM (
            (SELECT b.id, b.created_at, b.seq,
                    row_number() OVER (ORDER BY b.created_at DESC, b.seq DESC, b.id DESC) AS back
             FROM messages AS b
             WHERE b.conversation_id = m.conversation_id AND b.customer_id = m.customer_id
               AND NOT (b.role = 'system' AND b.kind = 'text')
               AND (b.created_at, b.seq) <= (m.created_at, m.seq)
             ORDER BY b.created_at DESC, b.seq DESC, b.id DESC
             LIMIT CAST(:reach AS bigint) + 2)
            UNION ALL
            (SELECT a.id, a.created_at, a.seq, 0 AS back
             FROM messages AS a
             WHERE a.conversation_id = m.conversation_id AND a.customer_id = m.customer_id
               AND NOT (a.role = 'system' AND a.kind = 'text')
               AND (a.created_at, a.seq) > (m.created_at, m.seq)
             ORDER BY a.created_at, a.seq, a.id
             LIMIT CAST(:reach AS bigint))
        ) AS u
    ) AS n
    WHERE m.customer_id = CAST(:customer_id AS uuid) AND m.id = ANY (CAST(:ids AS uuid[]))
      AND NOT (m.role = 'system' AND m.kind = 'text')
      AND n.back <= CAST(:reach AS bigint) + 1
), turn AS MATERIALIZED (
    SELECT row_number() OVER story - 1 AS number, m.id, m.search, m.created_at,
           lag(m.conversation_id) OVER story IS DISTINCT FROM m.conversation_id AS opens,
           lag(m.id) OVER story IS DISTINCT FROM n.before_id AS apart,
           m.author, m.role, m.content, m.line, m.attachment_text, length(m.search) AS length,
           CASE WHEN coalesce(m.line, m.content) NOT LIKE '%?%' THEN 0
                WHEN rtrim(coalesce(m.line, m.content)) LIKE '%?' THEN 12 ELSE 4 END
           + CASE WHEN m.kind = 'event' THEN 32 ELSE 0 END
           + CASE WHEN m.conversation_id = CAST(:talk AS uuid)
                   AND m.created_at >= CAST(:talk_since AS timestamptz) THEN 64 ELSE 0 END AS looks
    FROM near AS n
    JOIN messages AS m ON m.id = n.id
    WHERE m.customer_id = CAST(:customer_id AS uuid)
    WINDOW story AS (ORDER BY m.conversation_id, m.created_at, m.seq, m.id)
), posting AS (
    SELECT t.number, w.number - 1 AS word
    FROM unnest(CAST(:words AS tsquery[]), CAST(:stems AS text[])) WITH ORDINALITY
         AS w (word, stem, number)
    JOIN turn AS t ON t.search @@ w.word
    WHERE t.author IS NULL OR strpos(lower(t.author), w.stem) = 0
       OR strpos(lower(concat_ws(' ', t.content, t.line, t.attachment_text)), w.stem) > 0
)
SELECT t.*, p.turns, p.words
FROM (
    SELECT string_agg(uuid_send(t.id), CAST('' AS bytea) ORDER BY t.number) AS ids,
           string_agg(timestamptz_send(t.created_at), CAST('' AS bytea) ORDER BY t.number)
               AS moments,
           array_agg(t.length ORDER BY t.number) AS lengths,
           array_agg(CAST(t.opens AS integer) + 2 * CAST(t.apart AS integer) + t.looks
                     ORDER BY t.number) AS flags,
           array_agg(t.author ORDER BY t.number) AS authors,
           array_agg(t.role ORDER BY t.number) AS roles
    FROM turn AS t
) AS t
CROSS JOIN (SELECT array_agg(p.number) AS turns, array_agg(p.word) AS words FROM posting AS p) AS p;

-- name: recall_meanings
-- How near all of a customer's messages are to a question in meaning, if they are no more than `most`.
SELECT string_agg(uuid_send(e.message_id), CAST('' AS bytea)) AS ids,
       array_agg(1 - (e.vector <=> CAST(:vector AS halfvec))) AS cosines
FROM embeddings AS e
WHERE e.customer_id = CAST(:customer_id AS uuid) AND e.model = CAST(:model AS text)
  AND CAST(:most AS bigint) >= (
          SELECT count(*)
          FROM (SELECT FROM messages AS m WHERE m.customer_id = CAST(:customer_id AS uuid)
                LIMIT CAST(:most AS bigint) + 1) AS m);

-- name: recall_meanings_of
-- How near some of a customer's messages are to a question in meaning.
SELECT string_agg(uuid_send(e.message_id), CAST('' AS bytea)) AS ids,
       array_agg(1 - (e.vector <=> CAST(:vector AS halfvec))) AS cosines
FROM embeddings AS e
WHERE e.customer_id = CAST(:customer_id AS uuid) AND e.model = CAST(:model AS text)
  AND e.message_id = ANY (CAST(:ids AS uuid[]));

-- name: recall_best_by_meaning
-- The messages of a customer nearest to a question in meaning, and how near all of them are.
WITH meaning AS MATERIALIZED (
    SELECT e.message_id, 1 - (e.vector <=> CAST(:vector AS halfvec)) AS cosine
    FROM embeddings AS e
    WHERE e.customer_id = CAST(:customer_id AS uuid) AND e.model = CAST(:model AS text)
)
SELECT ARRAY(SELECT n.message_id FROM meaning AS n
             ORDER BY n.cosine DESC, n.message_id LIMIT CAST(:limit AS bigint)) AS ids,
       avg(a.cosine) AS mean, stddev_pop(a.cosine) AS deviation
FROM meaning AS a;

-- name: recall_texts
-- What was said in some messages of a customer, by their places in the list that is given.
SELECT w.place - 1 AS place, m.conversation_id, m.created_at,
       coalesce(m.line, m.content) AS content,
       m.attachment_text
FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS w (id, place)
JOIN messages AS m ON m.id = w.id
WHERE m.customer_id = CAST(:customer_id AS uuid);
