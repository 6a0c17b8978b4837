-- What the database knows of the place that a letter would go to. $1 kind, $2 partition, $3 user, $4 item, $5 the source under which it would be published.
SELECT i.revision, i.source,
       EXISTS (SELECT FROM keepsake.seen s WHERE s.partition = $2::integer AND s.kind = $1::keepsake.kind AND s.user_id = $3 AND s.source = $5) AS stands,
       (SELECT max(e.revision) FROM keepsake.erasure e WHERE e.topic = 'keepsake.changes' AND e.partition = $2::integer AND e.user_id = $3) AS erased
FROM (SELECT) one
LEFT JOIN keepsake.item i ON i.kind = $1::keepsake.kind AND i.partition = $2::integer AND i.user_id = $3 AND i.item_id = $4
