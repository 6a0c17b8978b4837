-- Restores that have not ended. running: the session is still there, else it was killed.
SELECT r.id, r.act, extract(epoch FROM now() - r.begun_at)::bigint AS seconds, r.progress,
       EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
               WHERE a.pid = r.backend_pid AND a.datname = current_database()
                 AND (a.backend_start IS NULL OR a.backend_start <= r.begun_at)) AS running
FROM keepsake.restore r
WHERE r.ended_at IS NULL AND r.id = (SELECT max(id) FROM keepsake.restore)
