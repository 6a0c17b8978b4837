-- Shards: a database may hold only a range of the log's partitions (`keepsake init --shard A-B`). Its leaves and
-- positions are then those of the range, and a question about anybody else is an error: unknown is not empty.

SET LOCAL ROLE keepsake_operator;

ALTER TABLE keepsake.lineage ADD COLUMN first_partition integer NOT NULL DEFAULT 0, ADD COLUMN last_partition integer;
UPDATE keepsake.lineage SET last_partition = partitions - 1;
ALTER TABLE keepsake.lineage ALTER COLUMN first_partition DROP DEFAULT, ALTER COLUMN last_partition SET NOT NULL,
    ADD CONSTRAINT range_is_of_the_log CHECK (0 <= first_partition AND first_partition <= last_partition AND last_partition < partitions);
COMMENT ON COLUMN keepsake.lineage.first_partition IS 'The first partition of both topics that this database holds; fixed for its life';
COMMENT ON COLUMN keepsake.lineage.last_partition IS 'The last partition of both topics that this database holds; all of them: it is no shard';

-- As 004 has it, but for the range.
DROP FUNCTION keepsake.set_up(uuid, integer, integer, text, boolean);

CREATE FUNCTION keepsake.set_up(lineage uuid, epoch integer, partitions integer, cluster_id text, live boolean,
                                first_partition integer DEFAULT NULL, last_partition integer DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known  keepsake.lineage;
    is_new boolean;
    first  integer;     -- the range that this database holds
    last   integer;
BEGIN
    IF lineage IS NULL OR epoch IS NULL OR partitions IS NULL OR live IS NULL THEN
        RAISE EXCEPTION 'lineage, epoch, partitions and live must be given' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    LOCK TABLE keepsake.lineage IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO known FROM keepsake.lineage;
    is_new := NOT FOUND;
    IF is_new THEN
        first := coalesce(first_partition, 0);
        last := coalesce(last_partition, set_up.partitions - 1);
        INSERT INTO keepsake.lineage (lineage, epoch, partitions, cluster_id, first_partition, last_partition)
            VALUES (set_up.lineage, set_up.epoch, set_up.partitions, set_up.cluster_id, first, last);
    ELSIF (known.lineage, known.epoch, known.partitions) IS DISTINCT FROM (set_up.lineage, set_up.epoch, set_up.partitions) THEN
        RAISE EXCEPTION 'this database belongs to lineage % epoch % with % partitions, not to lineage % epoch % with %',
            known.lineage, known.epoch, known.partitions, set_up.lineage, set_up.epoch, set_up.partitions
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Point Keepsake at the Kafka cluster that this database was made from, or at another database.';
    ELSE
        first := known.first_partition;
        last := known.last_partition;
        IF coalesce(first_partition, first) <> first OR coalesce(last_partition, last) <> last THEN
            RAISE EXCEPTION 'this database holds partitions % to %, not % to %', first, last, first_partition, last_partition
                USING ERRCODE = 'KS001',
                      HINT = 'A database keeps its range for its life: give another database, and fill it by restore rebuild.';
        END IF;
    END IF;

    PERFORM keepsake.make_leaf('item_' || k, p, 'user_id, item_id', 'changes', '(user_id, revision)')
        FROM unnest(ARRAY['contact', 'calendar', 'note', 'task', 'photo', 'score']) AS k, generate_series(first, last) AS p;
    PERFORM keepsake.make_leaf(parent, p, primary_key, index_name, index_on)
        FROM (VALUES
            ('seen',        'kind, user_id, source',                       NULL,   NULL),
            ('conflict',    'kind, revision',                              'user', '(user_id)'),
            ('dead_letter', 'topic, kind, "offset"',                       'user', '(user_id) WHERE user_id IS NOT NULL'),
            ('blob',        'user_id, sha256, chunks, size',               NULL,   NULL),
            ('blob_chunk',  'user_id, sha256, chunks, size, chunk',        NULL,   NULL)
        ) AS t(parent, primary_key, index_name, index_on), generate_series(first, last) AS p;

    -- A position that is missing from a database made before was lost with its rows: never live by itself.
    INSERT INTO keepsake.position (topic, partition, kind, epoch, anchor_time_ms, state)
        SELECT stream.topic, p, stream.kind, set_up.epoch, 0,
               CASE WHEN is_new AND set_up.live THEN 'live' ELSE 'restoring' END::keepsake.state
        FROM generate_series(first, last) AS p, (
            SELECT 'keepsake.changes' AS topic, k AS kind FROM unnest(enum_range(NULL::keepsake.kind)) AS k WHERE k <> 'blob'
            UNION ALL
            SELECT 'keepsake.blobs', k FROM unnest(ARRAY['none', 'blob']::keepsake.kind[]) AS k) AS stream
    ON CONFLICT DO NOTHING;
    RETURN is_new;
END
$$;
COMMENT ON FUNCTION keepsake.set_up(uuid, integer, integer, text, boolean, integer, integer) IS
    'Makes this database one of the given log: lineage, leaves, positions (live or restoring), of all partitions or of a range. True: made; false: it was so already; error: it belongs '
    'to another log or has another range';

CREATE FUNCTION keepsake.partition_here(for_user text, log keepsake.lineage) RETURNS integer
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p integer := keepsake.partition_of(for_user, log.partitions);
BEGIN
    IF p NOT BETWEEN log.first_partition AND log.last_partition THEN
        RAISE EXCEPTION 'another database has this person: partition % is not among % to %, which this one holds', p, log.first_partition, log.last_partition
            USING ERRCODE = 'KS001',
                  HINT = 'Nothing is known here of this person. `keepsake route USER`, or ks_shards_database() of libkeepsake, says which database to ask.';
    END IF;
    RETURN p;
END
$$;
COMMENT ON FUNCTION keepsake.partition_here(text, keepsake.lineage) IS
    'The partition in which a person''s records stand; error KS001 where this database is a shard that does not hold it';

-- The four functions that gateways ask stay as 005 has them, but for partition_here in the place of partition_of.
DO $asked$
DECLARE
    asked  regprocedure;
    before text;
    now    text;
BEGIN
    FOREACH asked IN ARRAY ARRAY['keepsake.as_user(text, boolean)', 'keepsake.changes(text, text, text, integer)', 'keepsake.photo_complete(text, text)',
                                 'keepsake.standing_of(text)']::regprocedure[] LOOP
        before := pg_get_functiondef(asked);
        now := regexp_replace(before, 'keepsake\.partition_of\((\w+), (\w+)\.partitions\)', 'keepsake.partition_here(\1, \2)');
        IF now = before OR strpos(now, 'partition_of') > 0 THEN
            RAISE EXCEPTION '% does not ask for the partition as it did', asked;
        END IF;
        EXECUTE now;
    END LOOP;
END
$asked$;

REVOKE EXECUTE ON FUNCTION keepsake.set_up(uuid, integer, integer, text, boolean, integer, integer), keepsake.partition_here(text, keepsake.lineage) FROM PUBLIC;
