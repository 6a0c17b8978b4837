-- Which of these offsets of a topic partition are dead letters. $1 topic, $2 partition, $3 offsets as an array.
SELECT d."offset", d.reason, d.detail
FROM keepsake.dead_letter d
WHERE d.topic = $1 AND d.partition = $2::integer
  AND d.kind = ANY (enum_range(NULL::keepsake.kind)) AND d."offset" = ANY ($3::bigint[])
