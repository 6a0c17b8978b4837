-- A restore begins. $1: rebuild or repair; $2: how far it is, as JSON.
INSERT INTO keepsake.restore (act, backend_pid, progress) VALUES ($1, pg_backend_pid(), $2::json) RETURNING id
