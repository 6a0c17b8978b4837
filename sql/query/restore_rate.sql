-- How many records a second the last finished rebuild loaded here; no row: there was none.
SELECT (progress ->> 'load_rate')::bigint FROM keepsake.restore
WHERE act = 'rebuild' AND result = 'done' AND (progress ->> 'total')::bigint >= 100000 AND (progress ->> 'load_rate')::bigint > 0 ORDER BY id DESC LIMIT 1
