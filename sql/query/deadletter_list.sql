-- Dead letters, the newest last within each partition. $1 reason, $2 kind, $3 limit, $4 users as an array; null: any.
SELECT d.topic, d.partition, d."offset", d.time_ms, d.kind, d.reason, d.user_id, d.source, d.detail, d.value IS NOT NULL OR d.key IS NOT NULL OR d.headers IS NOT NULL AS kept
FROM keepsake.dead_letter d
WHERE ($1::text IS NULL OR d.reason = $1)
  AND ($2::text IS NULL OR d.kind = $2::keepsake.kind)
  AND ($4::text[] IS NULL OR d.user_id = ANY ($4::text[]))
ORDER BY d.time_ms, d.topic DESC, d.partition, d."offset"
LIMIT $3::bigint
