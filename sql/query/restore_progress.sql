-- How far restore $1 is.
UPDATE keepsake.restore SET progress = $2::json, updated_at = now() WHERE id = $1::bigint
