-- Which of these revisions lost a conflict: a former state that a later change put aside, or a delete that lost itself.
-- $1 partition, $2 revisions as an array.
SELECT c.lost_revision, c.why, c.revision
FROM keepsake.conflict c
WHERE c.partition = $1::integer AND c.lost_revision = ANY ($2::bigint[])
ORDER BY c.revision
