-- Dead letters to be looked at, the oldest first. $1 to $7 as in deadletter_list; $8 places as an array of 'topic/partition:offset'; null: any.
SELECT d.topic, d.partition, d."offset", d.time_ms, d.reason, encode(d.hash, 'hex'), d.headers IS NOT NULL AS kept
FROM keepsake.dead_letter d
WHERE ($1::text IS NULL OR d.reason = $1)
  AND ($2::text IS NULL OR d.kind = $2::keepsake.kind)
  AND ($3::text[] IS NULL OR d.user_id = ANY ($3::text[]))
  AND ($4::text IS NULL OR d.topic = $4)
  AND ($5::integer IS NULL OR d.partition = $5::integer)
  AND ($6::bigint IS NULL OR d.time_ms >= $6::bigint)
  AND ($7::bigint IS NULL OR d.time_ms < $7::bigint)
  AND ($8::text[] IS NULL OR d.topic || '/' || d.partition || ':' || d."offset" = ANY ($8::text[]))
ORDER BY d.time_ms, d.topic DESC, d.partition, d."offset"
