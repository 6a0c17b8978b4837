-- What restore $1 has set out to do.
UPDATE keepsake.restore SET plan = $2::json, updated_at = now() WHERE id = $1::bigint
