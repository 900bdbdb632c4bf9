-- name: tune_for_sweep
-- Sweeps over whole tables get memory for their joins, for this transaction.
SELECT set_config('work_mem', '64MB', true), set_config('jit', 'off', true);

-- name: leads_linked
-- Leads whose customer is not there, or was merged into another.
SELECT count(*) OVER () AS total, left(l.external_id, 200) AS offender
FROM leads l
LEFT JOIN customers c ON c.id = l.customer_id
WHERE c.id IS NULL OR c.merged_into_id IS NOT NULL
LIMIT CAST(:shown AS bigint);

-- name: references_hold
-- Rows that name a row which is not there, whether or not a constraint guards the reference.
-- Our own log may still name a lead that is gone; `run_changes` a row that linking dropped.
WITH broken AS (
    SELECT v.reference, CAST(m.id AS text) AS row
    FROM messages m
    LEFT JOIN audit_log a ON a.id = m.id
    LEFT JOIN conversations c ON c.id = m.conversation_id AND c.customer_id = m.customer_id
    LEFT JOIN backfill_runs r ON r.id = m.run_id
    CROSS JOIN LATERAL (VALUES
        ('messages.id', a.id IS NULL),
        ('messages.conversation_id', c.id IS NULL),
        ('messages.run_id', m.run_id IS NOT NULL AND r.id IS NULL)) AS v (reference, missing)
    WHERE (a.id IS NULL OR c.id IS NULL OR (m.run_id IS NOT NULL AND r.id IS NULL)) AND v.missing
    UNION ALL
    SELECT v.reference, CAST(a.id AS text)
    FROM audit_log a
    LEFT JOIN leads l ON l.id = a.lead_id
    LEFT JOIN backfill_runs r ON r.id = a.run_id
    CROSS JOIN LATERAL (VALUES
        ('audit_log.lead_id', a.log <> 'backstory' AND a.lead_id IS NOT NULL AND l.id IS NULL),
        ('audit_log.run_id', a.run_id IS NOT NULL AND r.id IS NULL)) AS v (reference, missing)
    WHERE ((a.lead_id IS NOT NULL AND l.id IS NULL) OR (a.run_id IS NOT NULL AND r.id IS NULL))
      AND v.missing
    UNION ALL
    SELECT v.reference, CAST(c.id AS text)
    FROM conversations c
    LEFT JOIN leads l ON l.id = c.lead_id AND l.customer_id = c.customer_id
    LEFT JOIN backfill_runs r ON r.id = c.run_id
    CROSS JOIN LATERAL (VALUES
        ('conversations.lead_id', l.id IS NULL),
        ('conversations.run_id', c.run_id IS NOT NULL AND r.id IS NULL)) AS v (reference, missing)
    WHERE v.missing
    UNION ALL
    SELECT v.reference, CAST(l.id AS text)
    FROM leads l
    LEFT JOIN customers c ON c.id = l.customer_id
    LEFT JOIN backfill_runs r ON r.id = l.run_id
    CROSS JOIN LATERAL (VALUES
        ('leads.customer_id', c.id IS NULL),
        ('leads.run_id', l.run_id IS NOT NULL AND r.id IS NULL)) AS v (reference, missing)
    WHERE v.missing
    UNION ALL
    SELECT v.reference, CAST(c.id AS text)
    FROM customers c
    LEFT JOIN customers s ON s.id = c.merged_into_id
    LEFT JOIN backfill_runs r ON r.id = c.run_id
    CROSS JOIN LATERAL (VALUES
        ('customers.merged_into_id', c.merged_into_id IS NOT NULL AND s.id IS NULL),
        ('customers.run_id', c.run_id IS NOT NULL AND r.id IS NULL)) AS v (reference, missing)
    WHERE v.missing
    UNION ALL
    SELECT v.reference, CAST(i.id AS text)
    FROM customer_identities i
    LEFT JOIN customers c ON c.id = i.customer_id
    LEFT JOIN backfill_runs r ON r.id = i.run_id
    CROSS JOIN LATERAL (VALUES
        ('customer_identities.customer_id', c.id IS NULL),
        ('customer_identities.run_id', i.run_id IS NOT NULL AND r.id IS NULL))
        AS v (reference, missing)
    WHERE v.missing
    UNION ALL
    SELECT v.reference, CAST(m.id AS text)
    FROM customer_merges m
    LEFT JOIN customers s ON s.id = m.survivor_id
    LEFT JOIN customers a ON a.id = m.absorbed_id
    LEFT JOIN backfill_runs r ON r.id = m.run_id
    CROSS JOIN LATERAL (VALUES
        ('customer_merges.survivor_id', s.id IS NULL),
        ('customer_merges.absorbed_id', a.id IS NULL),
        ('customer_merges.run_id', m.run_id IS NOT NULL AND r.id IS NULL)) AS v (reference, missing)
    WHERE v.missing
    UNION ALL
    SELECT v.reference, CAST(j.id AS text)
    FROM jobs j
    LEFT JOIN customers c ON c.id = j.customer_id
    LEFT JOIN customer_addresses a ON a.id = j.service_address_id AND a.customer_id = j.customer_id
    LEFT JOIN leads l ON l.id = j.lead_id
    LEFT JOIN conversations t ON t.id = j.conversation_id
    CROSS JOIN LATERAL (VALUES
        ('jobs.customer_id', c.id IS NULL),
        ('jobs.service_address_id', j.service_address_id IS NOT NULL AND a.id IS NULL),
        ('jobs.lead_id', j.lead_id IS NOT NULL AND l.id IS NULL),
        ('jobs.conversation_id', j.conversation_id IS NOT NULL AND t.id IS NULL))
        AS v (reference, missing)
    WHERE v.missing
    UNION ALL
    SELECT v.reference, CAST(n.id AS text)
    FROM memory_notes n
    LEFT JOIN customers c ON c.id = n.customer_id
    LEFT JOIN customer_addresses a ON a.id = n.address_id AND a.customer_id = n.customer_id
    LEFT JOIN jobs j ON j.id = n.job_id AND j.customer_id = n.customer_id
    LEFT JOIN memory_notes s ON s.id = n.superseded_by_id
    LEFT JOIN leads l ON l.id = n.source_lead_id
    LEFT JOIN backfill_runs r ON r.id = n.run_id
    CROSS JOIN LATERAL (VALUES
        ('memory_notes.customer_id', c.id IS NULL),
        ('memory_notes.address_id', n.address_id IS NOT NULL AND a.id IS NULL),
        ('memory_notes.job_id', n.job_id IS NOT NULL AND j.id IS NULL),
        ('memory_notes.superseded_by_id', n.superseded_by_id IS NOT NULL AND s.id IS NULL),
        ('memory_notes.source_lead_id', n.source_lead_id IS NOT NULL AND l.id IS NULL),
        ('memory_notes.run_id', n.run_id IS NOT NULL AND r.id IS NULL),
        ('memory_notes.source_message_ids', EXISTS (
            SELECT FROM unnest(n.source_message_ids) AS source (id)
            WHERE NOT EXISTS (SELECT FROM messages m WHERE m.id = source.id))))
        AS v (reference, missing)
    WHERE v.missing
    UNION ALL
    SELECT v.reference, CAST(t.id AS text)
    FROM tool_calls t
    LEFT JOIN customers c ON c.id = t.customer_id
    LEFT JOIN leads l ON l.id = t.lead_id
    LEFT JOIN conversations h ON h.id = t.conversation_id
    CROSS JOIN LATERAL (VALUES
        ('tool_calls.customer_id', t.customer_id IS NOT NULL AND c.id IS NULL),
        ('tool_calls.lead_id', t.lead_id IS NOT NULL AND l.id IS NULL),
        ('tool_calls.conversation_id', t.conversation_id IS NOT NULL AND h.id IS NULL))
        AS v (reference, missing)
    WHERE v.missing
    UNION ALL
    SELECT v.reference, CAST(n.id AS text)
    FROM confirmations n
    LEFT JOIN customers c ON c.id = n.customer_id
    LEFT JOIN conversations h ON h.id = n.conversation_id
    CROSS JOIN LATERAL (VALUES
        ('confirmations.customer_id', c.id IS NULL),
        ('confirmations.conversation_id', h.id IS NULL),
        ('confirmations.source_id',
            NOT EXISTS (SELECT FROM messages s WHERE s.id = n.source_id)
            AND NOT EXISTS (SELECT FROM jobs s WHERE s.id = n.source_id)
            AND NOT EXISTS (SELECT FROM leads s WHERE s.id = n.source_id)
            AND NOT EXISTS (SELECT FROM customer_addresses s WHERE s.id = n.source_id)
            AND NOT EXISTS (SELECT FROM memory_notes s WHERE s.id = n.source_id)))
        AS v (reference, missing)
    WHERE v.missing
    UNION ALL
    SELECT 'customer_addresses.customer_id', CAST(a.id AS text) FROM customer_addresses a
    WHERE NOT EXISTS (SELECT FROM customers c WHERE c.id = a.customer_id)
    UNION ALL
    SELECT 'job_items.job_id', CAST(i.id AS text) FROM job_items i
    WHERE NOT EXISTS (SELECT FROM jobs j WHERE j.id = i.job_id AND j.customer_id = i.customer_id)
    UNION ALL
    SELECT 'job_events.job_id', CAST(e.id AS text) FROM job_events e
    WHERE NOT EXISTS (SELECT FROM jobs j WHERE j.id = e.job_id AND j.customer_id = e.customer_id)
    UNION ALL
    SELECT 'run_partitions.run_id', p.run_id || '/' || p.stage || '/' || p.number
    FROM run_partitions p
    WHERE NOT EXISTS (SELECT FROM backfill_runs r WHERE r.id = p.run_id)
    UNION ALL
    SELECT 'run_changes.run_id', CAST(x.id AS text) FROM run_changes x
    WHERE NOT EXISTS (SELECT FROM backfill_runs r WHERE r.id = x.run_id)
    UNION ALL
    SELECT 'run_changes.row_id', x.table_name || '/' || x.row_id FROM run_changes x
    WHERE NOT CASE x.table_name
        WHEN 'customers' THEN EXISTS (SELECT FROM customers y WHERE y.id = x.row_id)
        WHEN 'leads' THEN EXISTS (SELECT FROM leads y WHERE y.id = x.row_id)
        WHEN 'conversations' THEN EXISTS (SELECT FROM conversations y WHERE y.id = x.row_id)
        WHEN 'customer_merges' THEN EXISTS (SELECT FROM customer_merges y WHERE y.id = x.row_id)
        WHEN 'quarantine' THEN EXISTS (SELECT FROM quarantine y WHERE y.id = x.row_id)
        WHEN 'messages' THEN EXISTS (SELECT FROM messages y WHERE y.id = x.row_id)
        WHEN 'conversation_summaries' THEN EXISTS (
            SELECT FROM conversations y WHERE y.id = x.row_id)
        ELSE true END
    UNION ALL
    SELECT 'skips.run_id', CAST(s.id AS text) FROM skips s
    WHERE s.run_id IS NOT NULL AND NOT EXISTS (SELECT FROM backfill_runs r WHERE r.id = s.run_id)
    UNION ALL
    SELECT 'quarantine.run_id', CAST(q.id AS text) FROM quarantine q
    WHERE q.run_id IS NOT NULL AND NOT EXISTS (SELECT FROM backfill_runs r WHERE r.id = q.run_id)
    UNION ALL
    SELECT 'quarantine.resolved_run_id', CAST(q.id AS text) FROM quarantine q
    WHERE q.resolved_run_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM backfill_runs r WHERE r.id = q.resolved_run_id)
    UNION ALL
    SELECT 'conflicts.run_id', CAST(x.id AS text) FROM conflicts x
    WHERE x.run_id IS NOT NULL AND NOT EXISTS (SELECT FROM backfill_runs r WHERE r.id = x.run_id)
    UNION ALL
    SELECT 'conflicts.winner_id', CAST(x.id AS text) FROM conflicts x
    WHERE NOT EXISTS (SELECT FROM audit_log a WHERE a.id = x.winner_id)
      AND NOT EXISTS (
          SELECT FROM quarantine q
          WHERE q.log = x.log AND q.audit_id = x.audit_id AND q.stage = 'write')
    UNION ALL
    SELECT v.reference, e.message_id || '/' || e.model
    FROM embeddings e
    LEFT JOIN messages m ON m.id = e.message_id
    LEFT JOIN conversations c ON c.id = e.conversation_id AND c.customer_id = e.customer_id
    LEFT JOIN embedding_models k ON k.name = e.model
    LEFT JOIN backfill_runs r ON r.id = e.run_id
    CROSS JOIN LATERAL (VALUES
        ('embeddings.message_id', m.id IS NULL),
        ('embeddings.conversation_id', c.id IS NULL),
        ('embeddings.model', k.name IS NULL),
        ('embeddings.run_id', e.run_id IS NOT NULL AND r.id IS NULL)) AS v (reference, missing)
    WHERE v.missing
    UNION ALL
    SELECT 'embedding_models.run_id', k.name FROM embedding_models k
    WHERE NOT EXISTS (SELECT FROM backfill_runs r WHERE r.id = k.run_id)
    UNION ALL
    SELECT v.reference, CAST(s.conversation_id AS text)
    FROM conversation_summaries s
    LEFT JOIN conversations c ON c.id = s.conversation_id AND c.customer_id = s.customer_id
    LEFT JOIN messages f ON f.id = s.first_message_id
    LEFT JOIN messages l ON l.id = s.last_message_id
    LEFT JOIN backfill_runs r ON r.id = s.run_id
    CROSS JOIN LATERAL (VALUES
        ('conversation_summaries.conversation_id', c.id IS NULL),
        ('conversation_summaries.first_message_id', f.id IS NULL),
        ('conversation_summaries.last_message_id', l.id IS NULL),
        ('conversation_summaries.run_id', s.run_id IS NOT NULL AND r.id IS NULL))
        AS v (reference, missing)
    WHERE v.missing
)
SELECT count(*) OVER () AS total, reference || ' of ' || row AS offender
FROM broken
LIMIT CAST(:shown AS bigint);

-- name: leads_have_conversations
-- Leads that the log speaks of and that have no conversation.
SELECT count(*) OVER () AS total, left(min(a.lead_external_id), 200) AS offender
FROM audit_log a
WHERE a.log <> 'backstory' AND a.lead_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM conversations c WHERE c.lead_id = a.lead_id)
GROUP BY a.lead_id
LIMIT CAST(:shown AS bigint);

-- name: conversations_have_customers
-- Conversations without a standing customer, or whose lead or messages have another one.
WITH wrong AS (
    SELECT c.id, 'no standing customer' AS problem
    FROM conversations c
    LEFT JOIN customers u ON u.id = c.customer_id
    WHERE u.id IS NULL OR u.merged_into_id IS NOT NULL
    UNION ALL
    SELECT c.id, 'the lead has another customer'
    FROM conversations c
    JOIN leads l ON l.id = c.lead_id
    WHERE l.customer_id <> c.customer_id
    UNION ALL
    SELECT DISTINCT c.id, 'messages have another customer'
    FROM messages m
    JOIN conversations c ON c.id = m.conversation_id
    WHERE m.customer_id <> c.customer_id
)
SELECT count(*) OVER () AS total, id || ': ' || problem AS offender
FROM wrong
LIMIT CAST(:shown AS bigint);

-- name: messages_have_records
-- Messages without a conversation or a record of the same log and id, or of another lead's.
SELECT count(*) OVER () AS total, left(m.log || '/' || m.audit_id, 200) || CASE
        WHEN c.id IS NULL THEN ': no conversation'
        WHEN a.id IS NULL THEN ': no record'
        ELSE ': the record is of another lead' END AS offender
FROM messages m
LEFT JOIN audit_log a ON a.id = m.id AND a.log = m.log AND a.audit_id = m.audit_id
LEFT JOIN conversations c ON c.id = m.conversation_id
WHERE c.id IS NULL OR a.id IS NULL OR a.lead_id IS DISTINCT FROM c.lead_id
LIMIT CAST(:shown AS bigint);

-- name: records_have_messages
-- Records of a lead that say something and are no message.
SELECT count(*) OVER () AS total, left(a.log || '/' || a.audit_id, 200) AS offender
FROM audit_log a
WHERE a.log <> 'backstory' AND a.lead_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM messages m WHERE m.id = a.id)
  AND a.payload NOT IN ('null', '[]', '{}')
  AND NOT (jsonb_typeof(a.payload) = 'string' AND a.payload #>> '{}' ~ '^\s*$')
LIMIT CAST(:shown AS bigint);

-- name: one_open_conversation
-- Leads with more than one open conversation.
SELECT count(*) OVER () AS total, CAST(c.lead_id AS text) AS offender
FROM conversations c
WHERE c.status = 'open'
GROUP BY c.lead_id
HAVING count(*) > 1
LIMIT CAST(:shown AS bigint);

-- name: rows_of_runs
-- What every finished run has left in the tables: the other side of the ledgers.
SELECT r.id, coalesce(a.rows, 0) AS audit_log, coalesce(m.rows, 0) AS messages,
       coalesce(s.rows, 0) AS skips, coalesce(q.rows, 0) AS quarantine,
       coalesce(x.rows, 0) AS conflicts, r.findings -> 'taken_away' AS taken_away
FROM backfill_runs r
LEFT JOIN (SELECT run_id, count(*) AS rows FROM audit_log WHERE log <> 'backstory' GROUP BY run_id)
    AS a ON a.run_id = r.id
LEFT JOIN (SELECT run_id, count(*) AS rows FROM messages GROUP BY run_id) AS m ON m.run_id = r.id
LEFT JOIN (SELECT run_id, count(*) AS rows FROM skips GROUP BY run_id) AS s ON s.run_id = r.id
LEFT JOIN (SELECT run_id, count(*) AS rows FROM quarantine GROUP BY run_id) AS q ON q.run_id = r.id
LEFT JOIN (SELECT run_id, count(*) AS rows FROM conflicts GROUP BY run_id) AS x ON x.run_id = r.id
WHERE r.status = 'done' AND r.mode IN ('backfill', 'retry')
ORDER BY r.created_at, r.id;

-- name: audit_ids_unique
-- Ids that occur more than once in a log, among its records or its messages.
WITH twice AS (
    SELECT 'records' AS kind, log, audit_id FROM audit_log
    GROUP BY log, audit_id HAVING count(*) > 1
    UNION ALL
    SELECT 'messages', log, audit_id FROM messages
    GROUP BY log, audit_id HAVING count(*) > 1
)
SELECT count(*) OVER () AS total, left(log || '/' || audit_id, 200) || ': ' || kind AS offender
FROM twice
LIMIT CAST(:shown AS bigint);

-- name: times_agree
-- Messages whose time is not that of their record.
SELECT count(*) OVER () AS total,
       left(m.log || '/' || m.audit_id, 200) || ': ' || m.created_at || ', the record says '
       || a.created_at AS offender
FROM messages m
JOIN audit_log a ON a.id = m.id
WHERE m.created_at <> a.created_at
LIMIT CAST(:shown AS bigint);

-- name: search_index_sound
-- What is wrong with the search index; a first load under way builds it at its end.
WITH found AS (
    SELECT i.indisvalid AND i.indisready AND i.indislive AS sound
    FROM pg_index i
    WHERE i.indexrelid = to_regclass('messages_search_idx')
      AND i.indrelid = to_regclass('messages')
)
SELECT 1 AS total, 'messages_search_idx is missing, searches read every message: ' || coalesce((
    SELECT format(CASE r.status
               WHEN 'running' THEN 'run %1$s, a first load under way, builds it at its end'
               ELSE 'run %1$s, a first load that %2$s, builds it at its end (`backstory resume %1$s`) '
                    || 'or when it is given up (`backstory cancel %1$s`)' END,
           left(CAST(r.id AS text), 8),
           CASE r.status WHEN 'paused' THEN 'is paused' ELSE 'has failed' END)
    FROM backfill_runs r
    WHERE r.first_load AND r.status IN ('running', 'paused', 'failed')
    ORDER BY r.status = 'running' DESC, r.created_at LIMIT 1), 'the next backfill builds it') AS offender
WHERE NOT EXISTS (SELECT FROM found)
UNION ALL
SELECT 1, 'messages_search_idx is not valid: drop it and build it again'
FROM found WHERE NOT sound;

-- name: messages_estimate
-- How many messages the planner believes there are.
SELECT CAST(reltuples AS float8) AS messages FROM pg_class WHERE oid = to_regclass('messages');

-- name: search_probe
-- A search for one rare word, to see how the planner would answer it.
SELECT id FROM messages WHERE search @@ to_tsquery('english', 'zyzzyva');

-- name: embeddings_agree
-- Vectors of what is no text, under another conversation than their message's, or of another length.
WITH odd AS (
    SELECT e.message_id, e.model, CASE
        WHEN m.kind <> 'text' THEN 'its message is an event'
        WHEN (e.conversation_id, e.customer_id) <> (m.conversation_id, m.customer_id)
            THEN 'its message is in another conversation'
        ELSE format('%s dimensions, not %s', vector_dims(e.vector), k.dimensions) END AS why
    FROM embeddings AS e
    JOIN messages AS m ON m.id = e.message_id
    JOIN embedding_models AS k ON k.name = e.model
    WHERE m.kind <> 'text' OR vector_dims(e.vector) <> k.dimensions
       OR (e.conversation_id, e.customer_id) <> (m.conversation_id, m.customer_id)
)
SELECT count(*) OVER () AS total,
       format('message %s by %s: %s', left(CAST(message_id AS text), 8), left(model, 60), why) AS offender
FROM odd
LIMIT CAST(:shown AS bigint);

-- name: summaries_agree
-- Summaries of messages that are not in their conversation, or of more than there are.
WITH odd AS (
    SELECT s.conversation_id, s.messages + s.left_out AS told, n.messages
    FROM conversation_summaries AS s
    CROSS JOIN LATERAL (SELECT count(*) AS messages,
                               count(*) FILTER (WHERE m.id = s.first_message_id) AS first,
                               count(*) FILTER (WHERE m.id = s.last_message_id) AS last
                        FROM messages AS m WHERE m.conversation_id = s.conversation_id) AS n
    WHERE n.first = 0 OR n.last = 0 OR s.messages + s.left_out > n.messages
)
SELECT count(*) OVER () AS total,
       format('the summary of conversation %s tells of %s messages; there are %s, and not all of those it names',
              left(CAST(conversation_id AS text), 8), told, messages) AS offender
FROM odd
LIMIT CAST(:shown AS bigint);

-- name: embeddings_wait
-- What the model that serves has not embedded as it is, when that is more than the threshold.
WITH serving AS (
    SELECT k.name FROM embedding_models AS k WHERE k.completed_at IS NOT NULL
    ORDER BY k.completed_at DESC, k.name
    LIMIT 1
), counted AS (
    SELECT s.name, count(*) AS messages, count(*) FILTER (WHERE e.message_id IS NULL) AS waiting,
           count(*) FILTER (WHERE e.content_hash <> decode(md5(left(
               concat_ws(': ', m.author, m.content) || coalesce(' (' || m.attachment_text || ')', ''),
               2000)), 'hex')) AS changed
    FROM serving AS s
    JOIN messages AS m ON m.kind = 'text'
    LEFT JOIN embeddings AS e ON e.message_id = m.id AND e.model = s.name
    GROUP BY s.name
)
SELECT waiting + changed AS total,
       format('%s of %s messages wait for %s, %s say something else now: backstory embed', waiting,
              messages, name, changed) AS offender
FROM counted WHERE waiting + changed > CAST(:threshold AS float8) * messages;

-- name: role_balance
-- Of user and assistant, those who say a smaller share of all messages than the threshold.
WITH said AS (
    SELECT count(*) AS total, count(*) FILTER (WHERE role = 'user') AS "user",
           count(*) FILTER (WHERE role = 'assistant') AS assistant
    FROM messages
)
SELECT v.messages AS total, format('%s: %s of %s messages (%s %%)', v.role, v.messages, total,
           round(100.0 * v.messages / total, 2)) AS offender
FROM said CROSS JOIN LATERAL (VALUES ('user', "user"), ('assistant', assistant)) AS v (role, messages)
WHERE total > 0 AND v.messages < CAST(:threshold AS float8) * total;

-- name: empty_conversations
-- Conversations without a message, when they are a larger share of all than the threshold.
WITH empty AS (
    SELECT l.external_id
    FROM conversations c JOIN leads l ON l.id = c.lead_id
    WHERE NOT EXISTS (SELECT FROM messages m WHERE m.conversation_id = c.id)
)
SELECT count(*) OVER () AS total, left(external_id, 200) AS offender
FROM empty
WHERE (SELECT count(*) FROM empty) > CAST(:threshold AS float8) * (SELECT count(*) FROM conversations)
LIMIT CAST(:shown AS bigint);

-- name: event_share
-- The share of messages that are events, when it is larger than the threshold.
WITH said AS (
    SELECT count(*) AS total, count(*) FILTER (WHERE kind = 'event') AS events FROM messages
)
SELECT events AS total, format('%s of %s messages (%s %%)', events, total,
           round(100.0 * events / total, 2)) AS offender
FROM said WHERE total > 0 AND events > CAST(:threshold AS float8) * total;

-- name: quarantine_rate
-- The share of records that wait in quarantine, when it is larger than the threshold.
WITH held AS (
    SELECT (SELECT count(*) FROM quarantine WHERE status = 'open') AS waiting,
           (SELECT count(*) FROM audit_log WHERE log <> 'backstory') AS accepted
)
SELECT waiting AS total, format('%s of %s records (%s %%)', waiting, waiting + accepted,
           round(100.0 * waiting / (waiting + accepted), 2)) AS offender
FROM held WHERE waiting > CAST(:threshold AS float8) * (waiting + accepted);

-- name: conflict_rate
-- Records that lost against another under the same id, when they are more than the threshold.
WITH held AS (
    SELECT (SELECT count(*) FROM conflicts) AS losers,
           (SELECT count(*) FROM audit_log WHERE log <> 'backstory') AS accepted
)
SELECT losers AS total, format('%s of %s records (%s %%)', losers, losers + accepted,
           round(100.0 * losers / (losers + accepted), 2)) AS offender
FROM held WHERE losers > CAST(:threshold AS float8) * (losers + accepted);

-- name: times_in_range
-- Messages, leads and conversations of before 2000, or of more days ahead than the threshold.
WITH bounds AS (
    SELECT CAST('2000-01-01Z' AS timestamptz) AS earliest,
           CAST(:now AS timestamptz) + CAST(:threshold AS float8) * interval '1 day' AS latest
), odd AS (
    SELECT m.log || '/' || m.audit_id AS what, m.created_at AS moment
    FROM messages m, bounds WHERE m.created_at < earliest OR m.created_at > latest
    UNION ALL
    SELECT 'lead ' || l.external_id, l.created_at
    FROM leads l, bounds WHERE l.created_at < earliest OR l.created_at > latest
)
SELECT count(*) OVER () AS total, left(what, 200) || ': ' || moment AS offender
FROM odd
LIMIT CAST(:shown AS bigint);

-- name: customers_sample
-- Some customers, the busiest first, with what they have.
WITH busiest AS (
    SELECT customer_id, count(*) AS messages FROM messages
    GROUP BY customer_id ORDER BY messages DESC, customer_id LIMIT 5
)
SELECT (SELECT count(*) FROM customers WHERE merged_into_id IS NULL) AS total,
       format('%s: %s lead%s, %s conversation%s, %s message%s',
              coalesce(left(u.display_name, 60), left(CAST(u.id AS text), 8)),
              l.leads, CASE l.leads WHEN 1 THEN '' ELSE 's' END,
              c.talks, CASE c.talks WHEN 1 THEN '' ELSE 's' END,
              b.messages, CASE b.messages WHEN 1 THEN '' ELSE 's' END) AS offender
FROM busiest b JOIN customers u ON u.id = b.customer_id
CROSS JOIN LATERAL (SELECT count(*) AS leads FROM leads WHERE customer_id = u.id) AS l
CROSS JOIN LATERAL (SELECT count(*) AS talks FROM conversations WHERE customer_id = u.id) AS c
ORDER BY b.messages DESC, u.id;

-- name: sampled_conversations
-- So many conversations in the order of a seeded hash, with what their leads say of them.
SELECT c.id, c.lead_id, c.customer_id, c.ordinal, c.channel, c.external_id, c.started_at,
       c.last_message_at, c.last_incoming_at, c.run_id,
       l.external_id AS lead_external_id, l.customer_id AS lead_customer_id,
       l.channel AS lead_channel, l.created_at AS lead_created_at,
       coalesce(l.messenger_psid, l.phone_e164, l.phone_raw) AS contact,
       EXISTS (SELECT FROM run_changes x WHERE x.table_name = 'leads' AND x.row_id = l.id)
           AS lead_changed
FROM conversations c
JOIN leads l ON l.id = c.lead_id
ORDER BY md5(CAST(:seed AS text) || c.id), c.id
LIMIT CAST(:sample AS bigint);

-- name: sampled_records
-- The records of a conversation's lead beside its messages, either of which may be missing.
SELECT a.id AS record_id, coalesce(a.log, m.log) AS log, coalesce(a.audit_id, m.audit_id) AS audit_id,
       a.lead_external_id, a.actor, a.action, CAST(a.payload AS text) AS payload,
       a.seq AS record_seq, a.created_at AS record_created_at, a.run_id AS record_run_id,
       m.id, m.customer_id, m.role, m.kind, m.author, m.content, m.attachment_text, m.line,
       m.line_rules, m.seq,
       m.created_at, m.run_id, m.metadata
FROM (SELECT * FROM audit_log WHERE lead_id = CAST(:lead_id AS uuid) AND log <> 'backstory') AS a
FULL JOIN (SELECT * FROM messages WHERE conversation_id = CAST(:conversation_id AS uuid)) AS m
    ON m.id = a.id
WHERE m.id IS NOT NULL OR NOT EXISTS (SELECT FROM messages o WHERE o.id = a.id)
ORDER BY coalesce(a.created_at, m.created_at), coalesce(a.seq, m.seq);
