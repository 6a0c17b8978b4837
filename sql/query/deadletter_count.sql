-- How many there are. $1 reason, $2 kind, $3 users as an array; null: any.
SELECT count(*)
FROM keepsake.dead_letter d
WHERE ($1::text IS NULL OR d.reason = $1)
  AND ($2::text IS NULL OR d.kind = $2::keepsake.kind)
  AND ($3::text[] IS NULL OR d.user_id = ANY ($3::text[]))
