-- One dead letter with its bytes in hex. $1 topic, $2 partition, $3 offset.
SELECT d.time_ms, d.kind, d.reason, d.detail, encode(d.hash, 'hex'), d.user_id, d.source,
       encode(d.key, 'hex'), encode(d.headers, 'hex'), encode(d.value, 'hex'), octet_length(d.value)
FROM keepsake.dead_letter d
WHERE d.topic = $1 AND d.partition = $2::integer AND d."offset" = $3::bigint
  AND d.kind = ANY (enum_range(NULL::keepsake.kind))
