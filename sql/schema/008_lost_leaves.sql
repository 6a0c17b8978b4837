-- A leaf that init makes anew in a database that was set up before is a lost one: what stood in it is not known any more, whatever
-- the positions say. Its streams are restoring from that moment, so that nobody takes the empty table for the truth.

SET LOCAL ROLE keepsake_operator;

-- Which streams have rows in a leaf, as (topic, kind); kind NULL: all kinds of the topic.
CREATE FUNCTION keepsake.lost_leaf(parent text, partition integer)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE keepsake.position p SET state = 'restoring', generation = p.generation + 1, reason = 'its table was lost', updated_at = now()
        WHERE p.partition = lost_leaf.partition AND p.state IN ('live', 'stopped')
          AND CASE WHEN parent LIKE 'item\_%' THEN p.topic = 'keepsake.changes' AND p.kind::text = substr(parent, 6)
                   WHEN parent IN ('seen', 'conflict') THEN p.topic = 'keepsake.changes' AND p.kind <> 'none'
                   WHEN parent IN ('blob', 'blob_chunk') THEN p.kind = 'blob'
                   ELSE true END;
END
$$;
COMMENT ON FUNCTION keepsake.lost_leaf(text, integer) IS 'Sets the streams of a leaf that is not there to restoring: called before it is made anew';
REVOKE EXECUTE ON FUNCTION keepsake.lost_leaf(text, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION keepsake.make_leaf(parent text, partition integer, primary_key text, index_name text, index_on text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    leaf text := parent || '_' || partition;
BEGIN
    IF to_regclass(format('keepsake.%I', leaf)) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM keepsake.lost_leaf(parent, partition);  -- a new database has no positions yet
    EXECUTE format('CREATE TABLE keepsake.%I PARTITION OF keepsake.%I FOR VALUES IN (%s)', leaf, parent, partition);
    PERFORM keepsake.dress_leaf(leaf, primary_key, index_name, index_on, format('Leaf of keepsake.%s: partition %s of the log', parent, partition));
END
$$;
