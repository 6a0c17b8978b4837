-- The rulings that were applied: where each stands, whether it accepts a gap, the first and the last offset that it is about.
SELECT r.topic, r.partition, r."offset", r.act = 'accept-gap',
       CASE r.act WHEN 'exclude' THEN r.operands->>'offset'
                  ELSE (SELECT min(substring(f.value FROM '^[0-9]{1,15}$')::bigint)::text FROM json_each_text(r.operands->'from') f) END AS first,
       CASE r.act WHEN 'exclude' THEN r.operands->>'offset' ELSE ((r.operands->>'to')::bigint - 1)::text END AS last
FROM keepsake.ruling r
ORDER BY r.topic DESC, r.partition, r."offset"
