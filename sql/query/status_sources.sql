-- The sources behind most dead letters. $1 how many.
SELECT d.source, d.reason, d.topic, d.partition, count(*) AS letters
FROM keepsake.dead_letter d
GROUP BY d.source, d.reason, d.topic, d.partition
ORDER BY letters DESC, d.source, d.reason, d.topic, d.partition
LIMIT $1::integer
