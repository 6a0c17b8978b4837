-- Where this database was when somebody last made sure that it is not older than what readers have heard. A dump, a base backup or
-- a standby that took its place carries the mark of another place: until a consumer has held its positions against what the group had
-- come to, readers are told restoring, also those who have no cursor to compare.

SET LOCAL ROLE keepsake_operator;

-- The cluster, the database in it, and the cluster's timeline: restored or promoted, at least one of them is new. A standby cannot
-- tell its timeline truly, and is known by the first two.
CREATE FUNCTION keepsake.here() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.system_identifier || '/' || d.oid || '/' || CASE WHEN pg_is_in_recovery() THEN '' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END
    FROM pg_control_system() s, pg_database d WHERE d.datname = current_database();
$$;
COMMENT ON FUNCTION keepsake.here() IS 'Which place this is: cluster, database, timeline';
REVOKE EXECUTE ON FUNCTION keepsake.here() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keepsake.here() TO keepsake_writer;

-- Of a database made before: not known until a consumer has looked.
ALTER TABLE keepsake.position ADD COLUMN home text;
ALTER TABLE keepsake.position ALTER COLUMN home SET DEFAULT keepsake.here();
COMMENT ON COLUMN keepsake.position.home IS 'Where the position was last held against what the consumers had come to: keepsake.here() of then';

CREATE OR REPLACE FUNCTION keepsake.readable(p keepsake.position) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(p.state IN ('live', 'stopped') AND p.next_offset >= p.live_at AND starts_with(p.home, keepsake.here()), false);
$$;
COMMENT ON FUNCTION keepsake.readable(keepsake.position) IS
    'Whether a stream''s rows may be shown: not while it is restoring or loading, nor before it has reached live_at, nor in a copy that no consumer has looked at. A stopped one stands still but is true';
