-- Making leaves: for a new database (set_up), and one at a time for a rebuilt stream (load_begin, load_end).
-- The functions run with their owner's rights, so that leaves belong to keepsake_operator whoever calls.

SET LOCAL ROLE keepsake_operator;

-- What every leaf has beside its columns.
CREATE FUNCTION keepsake.dress_leaf(leaf text, primary_key text, index_name text, index_on text, purpose text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER TABLE keepsake.%I ADD CONSTRAINT %I PRIMARY KEY (%s)', leaf, leaf || '_pkey', primary_key);
    EXECUTE format('COMMENT ON INDEX keepsake.%I IS %L', leaf || '_pkey', 'Finds one row; the writer''s conflict target');
    IF index_name IS NOT NULL THEN
        EXECUTE format('CREATE INDEX %I ON keepsake.%I %s', leaf || '_' || index_name, leaf, index_on);
        EXECUTE format('COMMENT ON INDEX keepsake.%I IS %L', leaf || '_' || index_name, 'Finds one person''s rows in order');
    END IF;
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON keepsake.%I TO keepsake_writer', leaf);
    EXECUTE format('COMMENT ON TABLE keepsake.%I IS %L', leaf, purpose);
END
$$;
COMMENT ON FUNCTION keepsake.dress_leaf(text, text, text, text, text) IS 'Gives a leaf its primary key, index, rights and comments';

CREATE FUNCTION keepsake.make_leaf(parent text, partition integer, primary_key text, index_name text, index_on text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    leaf text := parent || '_' || partition;
BEGIN
    IF to_regclass(format('keepsake.%I', leaf)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE keepsake.%I PARTITION OF keepsake.%I FOR VALUES IN (%s)', leaf, parent, partition);
    PERFORM keepsake.dress_leaf(leaf, primary_key, index_name, index_on, format('Leaf of keepsake.%s: partition %s of the log', parent, partition));
END
$$;
COMMENT ON FUNCTION keepsake.make_leaf(text, integer, text, text, text) IS 'Makes the leaf of one partition, if it is not there';

CREATE FUNCTION keepsake.set_up(lineage uuid, epoch integer, partitions integer, cluster_id text, live boolean)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known  keepsake.lineage;
    is_new boolean;
BEGIN
    IF lineage IS NULL OR epoch IS NULL OR partitions IS NULL OR live IS NULL THEN
        RAISE EXCEPTION 'lineage, epoch, partitions and live must be given' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    LOCK TABLE keepsake.lineage IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO known FROM keepsake.lineage;
    is_new := NOT FOUND;
    IF is_new THEN
        INSERT INTO keepsake.lineage VALUES (set_up.lineage, set_up.epoch, set_up.partitions, set_up.cluster_id);
    ELSIF (known.lineage, known.epoch, known.partitions) IS DISTINCT FROM (set_up.lineage, set_up.epoch, set_up.partitions) THEN
        RAISE EXCEPTION 'this database belongs to lineage % epoch % with % partitions, not to lineage % epoch % with %',
            known.lineage, known.epoch, known.partitions, set_up.lineage, set_up.epoch, set_up.partitions
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Point Keepsake at the Kafka cluster that this database was made from, or at another database.';
    END IF;

    PERFORM keepsake.make_leaf('item_' || k, p, 'user_id, item_id', 'changes', '(user_id, revision)')
        FROM unnest(ARRAY['contact', 'calendar', 'note', 'task', 'photo', 'score']) AS k, generate_series(0, set_up.partitions - 1) AS p;
    PERFORM keepsake.make_leaf(parent, p, primary_key, index_name, index_on)
        FROM (VALUES
            ('seen',        'kind, user_id, source',                       NULL,   NULL),
            ('conflict',    'kind, revision',                              'user', '(user_id)'),
            ('dead_letter', 'topic, kind, "offset"',                       'user', '(user_id) WHERE user_id IS NOT NULL'),
            ('blob',        'user_id, sha256, chunks, size',               NULL,   NULL),
            ('blob_chunk',  'user_id, sha256, chunks, size, chunk',        NULL,   NULL)
        ) AS t(parent, primary_key, index_name, index_on), generate_series(0, set_up.partitions - 1) AS p;

    -- A position that is missing from a database made before was lost with its rows: never live by itself.
    INSERT INTO keepsake.position (topic, partition, kind, epoch, anchor_time_ms, state)
        SELECT stream.topic, p, stream.kind, set_up.epoch, 0,
               CASE WHEN is_new AND set_up.live THEN 'live' ELSE 'restoring' END::keepsake.state
        FROM generate_series(0, set_up.partitions - 1) AS p, (
            SELECT 'keepsake.changes' AS topic, k AS kind FROM unnest(enum_range(NULL::keepsake.kind)) AS k WHERE k <> 'blob'
            UNION ALL
            SELECT 'keepsake.blobs', k FROM unnest(ARRAY['none', 'blob']::keepsake.kind[]) AS k) AS stream
    ON CONFLICT DO NOTHING;
    RETURN is_new;
END
$$;
COMMENT ON FUNCTION keepsake.set_up(uuid, integer, integer, text, boolean) IS
    'Makes this database one of the given log: lineage, leaves, positions (live or restoring). True: made; false: it was so already; error: it belongs to another log';

-- The table that a rebuild fills beside the living leaf. Without indexes, and made in the caller's transaction:
-- so COPY … FREEZE works, whose rows every later snapshot sees. CHECKs say what ATTACH would otherwise scan for.
CREATE FUNCTION keepsake.load_begin(kind keepsake.kind, partition integer)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    load text := format('item_%s_%s_load', kind, partition);
    now_state keepsake.state;
BEGIN
    SELECT p.state INTO now_state FROM keepsake.position p
        WHERE p.topic = 'keepsake.changes' AND p.partition = load_begin.partition AND p.kind = load_begin.kind AND p.kind <> 'none';
    IF now_state IS NULL THEN
        RAISE EXCEPTION 'there is no stream of kind % in partition % to load', kind, partition USING ERRCODE = 'invalid_parameter_value';
    ELSIF now_state NOT IN ('restoring', 'loading') THEN
        RAISE EXCEPTION 'stream % of partition % is %: its leaf is not exchanged', kind, partition, now_state
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Only a stream that is restoring or loading can be loaded.';
    END IF;
    IF to_regclass(format('keepsake.%I', load)) IS NOT NULL THEN
        EXECUTE format('DROP TABLE keepsake.%I', load);
    END IF;
    EXECUTE format('CREATE TABLE keepsake.%I (LIKE keepsake.item INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION,'
                   ' CONSTRAINT load_kind CHECK (kind = %L), CONSTRAINT load_partition CHECK (partition = %s))', load, kind, partition);
    EXECUTE format('COMMENT ON TABLE keepsake.%I IS %L', load, 'A leaf that is being loaded');
END
$$;
COMMENT ON FUNCTION keepsake.load_begin(keepsake.kind, integer) IS
    'Makes the empty table keepsake.item_<kind>_<partition>_load for a rebuild to COPY into, in the caller''s transaction';

-- Everything slow comes before the lock, which readers of this one kind through item and the views would feel.
CREATE FUNCTION keepsake.load_end(kind keepsake.kind, partition integer)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parent text := format('item_%s', kind);
    leaf   text := format('item_%s_%s', kind, partition);
    load   text := leaf || '_load';
BEGIN
    IF to_regclass(format('keepsake.%I', load)) IS NULL THEN
        RAISE EXCEPTION 'keepsake.% is not there', load USING ERRCODE = 'undefined_table', HINT = 'Call keepsake.load_begin in the same transaction.';
    END IF;
    PERFORM keepsake.dress_leaf(load, 'user_id, item_id', 'changes', '(user_id, revision)',
                                format('Leaf of keepsake.%s: partition %s of the log', parent, partition));
    EXECUTE format('ANALYZE keepsake.%I', load);

    EXECUTE format('LOCK TABLE ONLY keepsake.%I IN ACCESS EXCLUSIVE MODE', parent);
    IF to_regclass(format('keepsake.%I', leaf)) IS NOT NULL THEN
        EXECUTE format('ALTER TABLE keepsake.%I DETACH PARTITION keepsake.%I', parent, leaf);
        EXECUTE format('DROP TABLE keepsake.%I', leaf);
    END IF;
    EXECUTE format('ALTER TABLE keepsake.%I ATTACH PARTITION keepsake.%I FOR VALUES IN (%s)', parent, load, partition);
    EXECUTE format('ALTER TABLE keepsake.%I DROP CONSTRAINT load_kind, DROP CONSTRAINT load_partition', load);
    EXECUTE format('ALTER TABLE keepsake.%I RENAME TO %I', load, leaf);
    EXECUTE format('ALTER INDEX keepsake.%I RENAME TO %I', load || '_pkey', leaf || '_pkey');
    EXECUTE format('ALTER INDEX keepsake.%I RENAME TO %I', load || '_changes', leaf || '_changes');
END
$$;
COMMENT ON FUNCTION keepsake.load_end(keepsake.kind, integer) IS
    'Gives the loaded table its indexes and rights and puts it in the old leaf''s place; the caller then sets the position and commits';
