-- The server's settings that matter here.
SELECT name, setting || CASE WHEN unit IS NULL THEN '' ELSE ' ' || unit END, source
FROM pg_catalog.pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'wal_level', 'max_wal_size', 'server_encoding', 'server_version',
               'max_connections', 'temp_file_limit', 'default_transaction_read_only', 'max_locks_per_transaction', 'statement_timeout',
               'zero_damaged_pages', 'ignore_checksum_failure', 'data_checksums')
ORDER BY name
