-- The last restores, the newest first. running: its session is still there (a number may have been given to another session since: that one began later).
SELECT r.id, r.act, to_char(r.begun_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS begun_at, to_char(r.ended_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS ended_at,
       extract(epoch FROM coalesce(r.ended_at, r.updated_at) - r.begun_at)::bigint AS seconds, r.result, r.plan, r.progress,
       r.ended_at IS NULL AND EXISTS (
           SELECT FROM pg_catalog.pg_stat_activity a
           WHERE a.pid = r.backend_pid AND a.datname = current_database() AND (a.backend_start IS NULL OR a.backend_start <= r.begun_at)) AS running
FROM keepsake.restore r ORDER BY r.id DESC LIMIT $1::int
