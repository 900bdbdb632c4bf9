-- name: claim_partition
-- Take the next partition nobody holds: never claimed, its lease expired, or its holder gone.
UPDATE run_partitions p
SET status = 'claimed', fence = p.fence + 1, worker = CAST(:worker AS text),
    backend_pid = pg_backend_pid(), backend_start = me.backend_start,
    lease_until = clock_timestamp() + CAST(:lease AS interval), updated_at = clock_timestamp()
FROM pg_stat_activity me
WHERE me.pid = pg_backend_pid()
  AND (p.run_id, p.stage, p.number) = (
    SELECT w.run_id, w.stage, w.number
    FROM run_partitions w
    WHERE w.run_id = CAST(:run_id AS uuid) AND w.stage = CAST(:stage AS text)
      AND (w.status = 'pending' OR (w.status = 'claimed' AND (
            w.lease_until < clock_timestamp()
            OR NOT EXISTS (
                SELECT 1 FROM pg_stat_activity a
                WHERE a.pid = w.backend_pid AND a.backend_start = w.backend_start))))
    ORDER BY w.number
    LIMIT 1
    FOR UPDATE SKIP LOCKED)
RETURNING p.number, p.fence, p.cursor, p.counts;

-- name: advance_partition
-- Move a partition's cursor and counts in the transaction of the rows they stand for.
UPDATE run_partitions
SET cursor = CAST(:cursor AS bytea), counts = CAST(:counts AS jsonb),
    status = CAST(:status AS text), updated_at = clock_timestamp(),
    lease_until = clock_timestamp() + CAST(:lease AS interval)
WHERE run_id = CAST(:run_id AS uuid) AND stage = CAST(:stage AS text)
  AND number = CAST(:number AS bigint) AND fence = CAST(:fence AS bigint)
  AND status = 'claimed';

-- name: renew_lease
-- Keep a partition while work on it goes on, and hear what is wished of the run.
UPDATE run_partitions p
SET lease_until = clock_timestamp() + CAST(:lease AS interval)
FROM backfill_runs r
WHERE p.run_id = CAST(:run_id AS uuid) AND p.stage = CAST(:stage AS text)
  AND p.number = CAST(:number AS bigint) AND p.fence = CAST(:fence AS bigint)
  AND p.status = 'claimed' AND r.id = p.run_id
RETURNING r.wish, r.status;

-- name: release_partitions
-- Give back what this connection holds of a run, for whoever continues it.
UPDATE run_partitions
SET status = 'pending', worker = NULL, backend_pid = NULL, backend_start = NULL, lease_until = NULL
WHERE run_id = CAST(:run_id AS uuid) AND status = 'claimed' AND backend_pid = pg_backend_pid();

-- name: add_partitions
-- Lay out a run's share of work in one stage; what is there already stays as it is.
INSERT INTO run_partitions (run_id, stage, number)
SELECT CAST(:run_id AS uuid), CAST(:stage AS text), n
FROM generate_series(CAST(0 AS bigint), CAST(:count AS bigint) - 1) AS n
ON CONFLICT DO NOTHING;

-- name: stage_progress
-- How far a stage is, from committed rows: partitions done, all of them, live holders, counts.
SELECT count(*) FILTER (WHERE p.status = 'done') AS done, count(*) AS partitions,
       count(*) FILTER (WHERE p.status = 'claimed' AND p.lease_until >= clock_timestamp()
           AND EXISTS (SELECT 1 FROM pg_stat_activity a
                       WHERE a.pid = p.backend_pid AND a.backend_start = p.backend_start)) AS held,
       CAST(coalesce(sum(CAST(p.counts ->> 'records' AS bigint)), 0) AS bigint) AS records
FROM run_partitions p
WHERE p.run_id = CAST(:run_id AS uuid) AND p.stage = CAST(:stage AS text);

-- name: partition_counts
-- Every partition's counts of one stage, to be added up.
SELECT counts FROM run_partitions
WHERE run_id = CAST(:run_id AS uuid) AND stage = CAST(:stage AS text)
ORDER BY number;

-- name: set_status
-- Move a run along its transition table: only from one of the statuses named.
UPDATE backfill_runs
SET status = CAST(:status AS text), updated_at = clock_timestamp(),
    wish = NULL, error = CAST(:error AS text),
    finished_at = CASE WHEN CAST(:ended AS boolean) THEN clock_timestamp() END
WHERE id = CAST(:run_id AS uuid) AND status = ANY (CAST(:allowed AS text[]));

-- name: set_wish
-- Ask a running run to pause or to stop; its workers hear it between two batches.
UPDATE backfill_runs SET wish = CAST(:wish AS text), updated_at = clock_timestamp()
WHERE id = CAST(:run_id AS uuid) AND status = 'running';

-- name: get_runs
-- Runs, newest first, all of them or those whose id begins so.
SELECT id, mode, log, status, wish, options, host, spill_dir, records_read, first_load,
       seconds_by_step, findings, report, error, created_at, updated_at, finished_at
FROM backfill_runs
WHERE CAST(:prefix AS text) IS NULL OR starts_with(CAST(id AS text), CAST(:prefix AS text))
ORDER BY created_at DESC, id
LIMIT CAST(:limit AS bigint);

-- name: add_run
-- Write a run down before anything else is done for it.
INSERT INTO backfill_runs (id, mode, log, status, options, host, spill_dir)
VALUES (CAST(:id AS uuid), CAST(:mode AS text), CAST(:log AS text), 'running',
        CAST(:options AS jsonb), CAST(:host AS text), CAST(:spill_dir AS text));

-- name: note_run
-- Keep what a run has learnt so far: records read, findings, seconds, first load, its report.
UPDATE backfill_runs
SET records_read = coalesce(CAST(:records_read AS bigint), records_read),
    first_load = coalesce(CAST(:first_load AS boolean), first_load),
    findings = coalesce(findings || CAST(:findings AS jsonb), findings),
    seconds_by_step = coalesce(seconds_by_step || CAST(:seconds AS jsonb), seconds_by_step),
    report = coalesce(CAST(:report AS jsonb), report),
    updated_at = clock_timestamp()
WHERE id = CAST(:run_id AS uuid);

-- name: hold_run
-- Be the one process that leads a run, for as long as this session lives.
SELECT pg_try_advisory_lock(hashtextextended(current_schema() || ':' || CAST(:run_id AS text), 1))
    AS held;

-- name: let_run_go
-- Stop leading a run.
SELECT pg_advisory_unlock(hashtextextended(current_schema() || ':' || CAST(:run_id AS text), 1));

-- name: is_run_led
-- Whether a living process leads a run; looks at the lock without touching it, or a `resume` at this
-- very moment would be refused.
SELECT EXISTS (
    SELECT FROM pg_locks l
    JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND ((CAST(l.classid AS bigint) << 32) | CAST(l.objid AS bigint))
          = hashtextextended(current_schema() || ':' || CAST(:run_id AS text), 1)) AS led;
