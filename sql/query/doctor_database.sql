-- The database itself: its name, size, whether this is a standby, and sessions of ours.
SELECT current_database(), pg_catalog.pg_database_size(current_database()), pg_catalog.pg_is_in_recovery(), session_user,
       (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user),
       (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE application_name LIKE 'keepsake/consume%' AND datname = current_database()),
       (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname IS NOT NULL),
       current_setting('max_connections')::integer,
       (SELECT string_agg(DISTINCT usename, ', ') FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.rolname = a.usename
        WHERE a.application_name LIKE 'keepsake/consume%' AND a.datname = current_database() AND r.rolsuper)
