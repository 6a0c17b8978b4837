-- Dead letters by reason.
SELECT d.reason, count(*) AS letters, min(d.time_ms) AS first_ms, max(d.time_ms) AS last_ms
FROM keepsake.dead_letter d
GROUP BY d.reason
ORDER BY letters DESC, d.reason
