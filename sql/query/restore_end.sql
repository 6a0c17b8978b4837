-- How restore $1 ended, in words.
UPDATE keepsake.restore SET result = $2, progress = coalesce($3::json, progress), updated_at = now(), ended_at = now() WHERE id = $1::bigint
