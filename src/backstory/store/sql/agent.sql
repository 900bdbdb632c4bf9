-- name: agent_role
-- Tell whether the role of agents is there, may be taken on, and has more power than it should.
SELECT r.oid IS NOT NULL AS exists,
       coalesce(r.rolsuper OR r.rolbypassrls OR r.rolcanlogin, false) AS powerful,
       r.oid IS NOT NULL AND pg_has_role(current_user, r.oid, 'SET') AS settable
FROM (SELECT CAST(:role AS name) AS wanted) w LEFT JOIN pg_roles r ON r.rolname = w.wanted;

-- name: agent_rights_missing
-- List the rights that the role of agents lacks, of those it should have.
SELECT w.table_name, w.wanted AS right
FROM unnest(CAST(:tables AS text[]), CAST(:rights AS text[]), CAST(:columns AS text[]))
     AS w (table_name, wanted, column_name)
WHERE NOT CASE
        WHEN w.column_name IS NULL
        THEN has_table_privilege(CAST(:role AS name), to_regclass(quote_ident(w.table_name)), w.wanted)
        ELSE has_column_privilege(
            CAST(:role AS name), to_regclass(quote_ident(w.table_name)), w.column_name, w.wanted)
    END;

-- name: customer_of_lead
-- Find whose a lead is at this moment.
SELECT l.customer_id FROM leads l WHERE l.id = CAST(:lead_id AS uuid);

-- name: hold_lead
-- Keep a lead with its customer until this transaction ends; nothing if it has just moved.
SELECT l.external_id, l.channel
FROM customers c JOIN leads l ON l.customer_id = c.id
WHERE c.id = CAST(:customer_id AS uuid) AND l.id = CAST(:lead_id AS uuid)
FOR NO KEY UPDATE OF c FOR KEY SHARE OF l;

-- name: conversation_of_lead
-- Find the lead's open conversation, else its newest.
SELECT v.id FROM conversations v WHERE v.lead_id = CAST(:lead_id AS uuid)
ORDER BY v.status = 'open' DESC, v.ordinal DESC LIMIT 1;

-- name: bind_customer
-- Become the role of agents, bound to one customer, until this transaction ends.
SELECT set_config('backstory.customer_id', CAST(CAST(:customer_id AS uuid) AS text), true),
       set_config('role', CAST(:role AS text), true);

-- name: unbind_customer
-- Become the owner again within this transaction.
SELECT set_config('role', 'none', true), set_config('backstory.customer_id', '', true);
