-- How gateways read (docs/sql-for-gateways.md). These functions run with their owner's rights: they read one
-- leaf, for the one person they are asked about, and never touch a leaf whose stream is being restored.

SET LOCAL ROLE keepsake_operator;

-- murmur2 as Kafka's Java client computes it (org.apache.kafka.common.utils.Utils.murmur2), on unsigned 32 bits
-- held in bigint: the multiplier is below 2^31, so no product overflows.
CREATE FUNCTION keepsake.murmur2(data bytea) RETURNS integer
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m    CONSTANT bigint := 1540483477;     -- 0x5bd1e995
    ones CONSTANT bigint := 4294967295;     -- 32 bits
    size CONSTANT integer := length(data);
    h    bigint := 2538058380 # size;       -- seed 0x9747b28c
    k    bigint;
    i    integer := 0;
BEGIN
    WHILE i + 4 <= size LOOP
        k := get_byte(data, i) | (get_byte(data, i + 1)::bigint << 8) | (get_byte(data, i + 2)::bigint << 16) | (get_byte(data, i + 3)::bigint << 24);
        k := (k * m) & ones;
        k := ((k # (k >> 24)) * m) & ones;
        h := ((h * m) & ones) # k;
        i := i + 4;
    END LOOP;
    IF i < size THEN
        FOR tail IN REVERSE size - i - 1 .. 0 LOOP
            h := h # (get_byte(data, i + tail)::bigint << (8 * tail));
        END LOOP;
        h := (h * m) & ones;
    END IF;
    h := ((h # (h >> 13)) * m) & ones;
    h := h # (h >> 15);
    RETURN CASE WHEN h > 2147483647 THEN h - 4294967296 ELSE h END;
END
$$;
COMMENT ON FUNCTION keepsake.murmur2(bytea) IS 'The hash by which Kafka''s Java client, and Keepsake, choose a key''s partition';

CREATE FUNCTION keepsake.partition_of(for_user text, partitions integer) RETURNS integer
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (keepsake.murmur2(convert_to(for_user, 'UTF8')) & 2147483647) % partitions;
END
$$;
COMMENT ON FUNCTION keepsake.partition_of(text, integer) IS 'The partition in which a person''s records stand, of so many';

CREATE FUNCTION keepsake.as_user(for_user text, for_session boolean DEFAULT false) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person text := coalesce(for_user, '');
    p      integer;
BEGIN
    IF person <> '' THEN
        SELECT keepsake.partition_of(person, l.partitions) INTO p FROM keepsake.lineage l;
    END IF;
    PERFORM set_config('keepsake.user', person, NOT for_session), set_config('keepsake.partition', coalesce(p::text, ''), NOT for_session);
    RETURN p;
END
$$;
COMMENT ON FUNCTION keepsake.as_user(text, boolean) IS
    'Whom item and the views show from here on: until the transaction ends, or with for_session = true until the session does. NULL or empty: nobody';

-- May readers be answered from this stream? The one place that knows.
CREATE FUNCTION keepsake.readable(p keepsake.position) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(p.state IN ('live', 'stopped') AND p.next_offset >= p.live_at, false);
$$;
COMMENT ON FUNCTION keepsake.readable(keepsake.position) IS
    'Whether a stream''s rows may be shown: not while it is restoring or loading, nor before it has reached live_at. A stopped one stands still but is true';

CREATE FUNCTION keepsake.changes(for_user text, of_kind text, since text, max_rows integer)
RETURNS TABLE (answer text, cursor text, item_id text, revision bigint, deleted boolean, doc json)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked  text[];          -- the cursor's parts: lineage, epoch, partition, offset, first revision not yet shown
    log    keepsake.lineage;
    stream keepsake.position;
    p      integer;
    base   bigint;          -- the cursor's epoch and offset as a revision
    seen   bigint := 0;     -- everything of this person below this revision was shown
    fresh  text;
BEGIN
    IF coalesce(octet_length(for_user), 0) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'not a user id: %', coalesce(quote_literal(left(for_user, 40)), 'null')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'A user id has 1 to 255 bytes.';
    ELSIF of_kind IS NULL OR of_kind NOT IN ('contact', 'calendar', 'note', 'task', 'photo', 'score') THEN
        RAISE EXCEPTION 'not a kind of item: %', coalesce(quote_literal(left(of_kind, 40)), 'null')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Kinds are contact, calendar, note, task, photo and score.';
    ELSIF coalesce(max_rows, 0) < 1 THEN
        RAISE EXCEPTION 'not a number of rows: %', coalesce(max_rows::text, 'null')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Ask for at least one row.';
    ELSIF since <> '' THEN
        asked := regexp_match(since, '^k1\.([0-9a-f]{8})\.([0-9]{1,5})\.([0-9]{1,5})\.([0-9]{1,15})(?:\.([0-9]{1,18}))?$');
        base := (asked[2]::bigint << 48) + asked[4]::bigint;
        seen := coalesce(asked[5]::bigint, base);
        -- Rows stand below the position as of which they were shown: a cursor that has seen more would hide what it has not.
        IF asked IS NULL OR asked[2]::integer NOT BETWEEN 1 AND 32767 OR asked[4]::bigint >= 1::bigint << 48 OR seen > base THEN
            RAISE EXCEPTION 'not a cursor: %', quote_literal(left(since, 80))
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Give back what changes() answered last, unaltered, or null to begin anew.';
        END IF;
    END IF;

    answer := 'restoring';
    cursor := nullif(since, '');
    SELECT * INTO log FROM keepsake.lineage;
    p := keepsake.partition_of(for_user, log.partitions);
    SELECT * INTO stream FROM keepsake.position q WHERE q.topic = 'keepsake.changes' AND q.partition = p AND q.kind = of_kind::keepsake.kind;
    IF NOT keepsake.readable(stream) OR to_regclass(format('keepsake.item_%s_%s', of_kind, p)) IS NULL THEN
        RETURN NEXT;
        RETURN;
    END IF;
    fresh := format('k1.%s.%s.%s.%s', left(log.lineage::text, 8), stream.epoch, p, stream.next_offset);

    IF asked IS NOT NULL THEN
        answer := CASE
            WHEN asked[1] <> left(log.lineage::text, 8) OR asked[2]::integer <> stream.epoch OR asked[3]::integer <> p THEN 'resync'
            WHEN asked[4]::bigint > stream.next_offset THEN 'busy'
            WHEN seen <= (SELECT max(e.revision) FROM keepsake.erasure e WHERE e.topic = 'keepsake.changes'
                              AND e.partition = p AND e.kind = of_kind::keepsake.kind AND e.user_id = for_user) THEN 'erased'
            -- What was shown between an event and the ruling that excludes it may have been made by that event.
            WHEN EXISTS (SELECT FROM keepsake.ruling r WHERE r.topic = 'keepsake.changes' AND r.partition = p AND r.act = 'exclude'
                             AND (r.operands ->> 'offset')::bigint < asked[4]::bigint AND asked[4]::bigint <= r."offset") THEN 'resync'
            ELSE 'ok' END;
        IF answer <> 'ok' THEN
            cursor := CASE WHEN answer = 'busy' THEN since END;
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;

    -- One leaf, by name: exchanging another leaf of the kind holds nobody up. At the limit the cursor also says
    -- from which revision to go on; its first part still says as of which position the rows were shown.
    RETURN QUERY EXECUTE format($query$
        WITH page AS MATERIALIZED (
            SELECT i.item_id, i.revision, i.deleted, i.doc FROM keepsake.%I i
            WHERE i.user_id = $1 AND i.revision >= $2 ORDER BY i.revision LIMIT $3)
        SELECT 'ok', CASE WHEN last.rows = $3 THEN $4 || '.' || last.revision + 1 ELSE $4 END, page.item_id, page.revision, page.deleted, page.doc
        FROM (SELECT count(*) AS rows, max(revision) AS revision FROM page) AS last LEFT JOIN page ON true
        ORDER BY page.revision
        $query$, format('item_%s_%s', of_kind, p)) USING for_user, seen, max_rows, fresh;
END
$$;
COMMENT ON FUNCTION keepsake.changes(text, text, text, integer) IS
    'A person''s items of one kind changed since a cursor (null: all), tombstones included, at least one row. answer: ok, restoring, busy, resync or erased; '
    'cursor: what to give next time; see docs/sql-for-gateways.md';

CREATE FUNCTION keepsake.photo_complete(for_user text, photo_sha256 text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p        integer;
    stream   keepsake.position;
    complete boolean;
BEGIN
    SELECT keepsake.partition_of(for_user, l.partitions) INTO p FROM keepsake.lineage l;
    SELECT * INTO stream FROM keepsake.position q WHERE q.topic = 'keepsake.blobs' AND q.partition = p AND q.kind = 'blob';
    IF NOT keepsake.readable(stream) OR photo_sha256 IS NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM keepsake.%I WHERE user_id = $1 AND sha256 = $2 AND complete)', 'blob_' || p)
        INTO complete USING for_user, photo_sha256;
    RETURN complete;
END
$$;
COMMENT ON FUNCTION keepsake.photo_complete(text, text) IS
    'Whether all bytes of a person''s photo are here, with the right SHA-256. NULL: not known while photo bytes are being restored';

CREATE FUNCTION keepsake.standing_of(for_user text) RETURNS TABLE (kind keepsake.kind, answer text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k, CASE WHEN keepsake.readable(q) THEN 'ok' ELSE 'restoring' END
    FROM unnest(enum_range('contact'::keepsake.kind, NULL)) AS k
    LEFT JOIN keepsake.lineage l ON true
    LEFT JOIN keepsake.position q ON q.kind = k AND q.partition = keepsake.partition_of(for_user, l.partitions)
        AND q.topic = CASE k WHEN 'blob' THEN 'keepsake.blobs' ELSE 'keepsake.changes' END
    ORDER BY k;
$$;
COMMENT ON FUNCTION keepsake.standing_of(text) IS
    'Which kinds can be read for a person now (ok), and which are being restored: ask before taking an empty view for an empty address book';
