-- name: keep_line_rules
-- Keep rules by which lines are rendered, under the name that stands for them.
INSERT INTO line_rules (name, rules) VALUES (CAST(:name AS text), CAST(:rules AS jsonb))
ON CONFLICT DO NOTHING;

-- name: kept_line_rules
-- Rules by which lines were rendered.
SELECT rules FROM line_rules WHERE name = CAST(:name AS text);

-- name: line_extent
-- How many messages may have a line, and how many of them these rules have not rendered.
SELECT count(*) AS events, count(*) FILTER (
    WHERE m.line_rules IS DISTINCT FROM CAST(:rules AS text)) AS stale
FROM messages AS m
WHERE m.kind = 'event' OR (m.role = 'tool' AND (
    length(m.content) <= 200 OR left(m.content, 1) IN ('{', '[')));

-- name: stale_lines
-- The next messages that may have a line and that these rules have not rendered.
SELECT m.id FROM messages AS m
WHERE m.id > CAST(:after AS uuid) AND m.line_rules IS DISTINCT FROM CAST(:rules AS text)
  AND (m.kind = 'event' OR (m.role = 'tool' AND (
      length(m.content) <= 200 OR left(m.content, 1) IN ('{', '['))))
ORDER BY m.id LIMIT CAST(:limit AS bigint);

-- name: leads_of_messages
-- Whose messages these are.
SELECT DISTINCT uuid_send(c.lead_id) AS key
FROM messages AS m JOIN conversations AS c ON c.id = m.conversation_id
WHERE m.id = ANY (CAST(:ids AS uuid[]));

-- name: lines_to_render
-- Messages that may have a line beside their records.
SELECT m.id, m.role, m.kind, m.content, m.line, m.line_rules, a.audit_id, a.lead_external_id,
       a.actor, a.action, CAST(a.payload AS text) AS payload,
       a.created_at AS record_created_at
FROM messages AS m JOIN audit_log AS a ON a.id = m.id
WHERE m.id = ANY (CAST(:ids AS uuid[]))
ORDER BY m.id;

-- name: change_lines
-- Write lines, remember what was there, and tell how many lines are other than before.
WITH given AS (
    SELECT * FROM json_to_recordset(CAST(:lines AS json)) AS g (id uuid, line text)
), kept AS (
    INSERT INTO run_changes (run_id, table_name, row_id, before)
    SELECT CAST(:run_id AS uuid), 'messages', m.id,
           jsonb_build_object('line', m.line, 'line_rules', m.line_rules)
    FROM given AS g JOIN messages AS m ON m.id = g.id
), written AS (
    UPDATE messages AS m SET line = g.line, line_rules = CAST(:rules AS text)
    FROM given AS g WHERE m.id = g.id
)
SELECT count(*) AS changed
FROM given AS g JOIN messages AS m ON m.id = g.id
WHERE m.line IS DISTINCT FROM g.line;

-- name: lines_of_run
-- How many messages a run rendered that no later run has rendered since.
SELECT count(*) AS messages FROM run_changes AS x
WHERE x.run_id = CAST(:run_id AS uuid) AND x.table_name = 'messages'
  AND NOT EXISTS (SELECT FROM run_changes AS l
                  WHERE l.table_name = 'messages' AND l.row_id = x.row_id AND l.id > x.id);

-- name: restore_lines
-- Give messages back the lines they had before a run, but where a later run rendered them again.
UPDATE messages AS m
SET line = x.before ->> 'line', line_rules = x.before ->> 'line_rules'
FROM run_changes AS x
WHERE x.run_id = CAST(:run_id AS uuid) AND x.table_name = 'messages' AND x.row_id = m.id
  AND NOT EXISTS (SELECT FROM run_changes AS l
                  WHERE l.table_name = 'messages' AND l.row_id = x.row_id AND l.id > x.id);
