-- Rights and row security. Row security guards gateways against their own mistakes (a forgotten WHERE), not
-- against a hostile gateway: as_user and changes take anybody's name. The owner, keepsake_operator, is exempt.

SET LOCAL ROLE keepsake_operator;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA keepsake FROM PUBLIC;

-- The writer changes rows, and cannot truncate, make or drop a table. Leaves are granted as they are made.
GRANT SELECT ON keepsake.migration, keepsake.lineage, keepsake.restore TO keepsake_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON keepsake.position, keepsake.ruling, keepsake.erasure, keepsake.health,
    keepsake.item, keepsake.seen, keepsake.conflict, keepsake.dead_letter, keepsake.blob, keepsake.blob_chunk TO keepsake_writer;
GRANT EXECUTE ON FUNCTION keepsake.murmur2(bytea), keepsake.partition_of(text, integer), keepsake.readable(keepsake.position) TO keepsake_writer;

GRANT SELECT ON keepsake.item, keepsake.conflict, keepsake.blob, keepsake.blob_chunk TO keepsake_reader;
GRANT EXECUTE ON FUNCTION keepsake.murmur2(bytea), keepsake.partition_of(text, integer), keepsake.as_user(text, boolean),
    keepsake.changes(text, text, text, integer), keepsake.photo_complete(text, text), keepsake.standing_of(text) TO keepsake_reader;

-- What the views call; they work on the document that they are given and reach nothing else.
GRANT SELECT ON keepsake.contact, keepsake.calendar_event, keepsake.task, keepsake.note, keepsake.photo, keepsake.score, keepsake.standing
    TO keepsake_reader;
GRANT EXECUTE ON FUNCTION keepsake.text_of(jsonb, text), keepsake.number_of(jsonb, text), keepsake.integer_of(jsonb, text),
    keepsake.boolean_of(jsonb, text), keepsake.texts_of(jsonb, text, text), keepsake.time_parts(text), keepsake.local_time_of(jsonb, text),
    keepsake.instant_of(jsonb, text), keepsake.duration_of(jsonb, text), keepsake.full_name_of(jsonb) TO keepsake_reader;

-- Nobody is shown until as_user has said who: an unset setting is NULL, a reset one is ''.
DO $policies$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['item', 'conflict', 'blob', 'blob_chunk'] LOOP
        EXECUTE format('ALTER TABLE keepsake.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY one_person ON keepsake.%I FOR SELECT TO keepsake_reader USING ('
                       ' user_id = current_setting(''keepsake.user'', true)'
                       ' AND partition = nullif(current_setting(''keepsake.partition'', true), '''')::integer)', t);
        EXECUTE format('COMMENT ON POLICY one_person ON keepsake.%I IS %L', t, 'Readers see the person of as_user, and nobody without it');
        EXECUTE format('CREATE POLICY everybody ON keepsake.%I TO keepsake_writer USING (true) WITH CHECK (true)', t);
        EXECUTE format('COMMENT ON POLICY everybody ON keepsake.%I IS %L', t, 'The consumer writes for everybody');
    END LOOP;
END
$policies$;
