-- How many there are of each reason, and from when to when. Null means any: $1 reason, $2 kind, $3 users as an array, $4 topic, $5 partition, $6 since (ms), $7 until (ms, excluded).
SELECT d.reason, count(*) AS letters, min(d.time_ms) AS first_ms, max(d.time_ms) AS last_ms
FROM keepsake.dead_letter d
WHERE ($1::text IS NULL OR d.reason = $1)
  AND ($2::text IS NULL OR d.kind = $2::keepsake.kind)
  AND ($3::text[] IS NULL OR d.user_id = ANY ($3::text[]))
  AND ($4::text IS NULL OR d.topic = $4)
  AND ($5::integer IS NULL OR d.partition = $5::integer)
  AND ($6::bigint IS NULL OR d.time_ms >= $6::bigint)
  AND ($7::bigint IS NULL OR d.time_ms < $7::bigint)
GROUP BY d.reason
ORDER BY letters DESC, d.reason
