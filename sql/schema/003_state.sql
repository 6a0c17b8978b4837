-- The fold's state (docs/fold.md). Items are split by kind and partition, so that a stream is a table of
-- its own (a leaf) that can be loaded and put live alone; the rest by partition. Leaves and their indexes
-- are made by keepsake.set_up; there are no indexes on the parents, because a leaf brings its own when it
-- is exchanged. Text keys compare as bytes.

SET LOCAL ROLE keepsake_operator;

CREATE TABLE keepsake.item (
    kind       keepsake.kind NOT NULL,
    partition  integer NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    item_id    text COLLATE "C" NOT NULL,
    revision   bigint NOT NULL,
    deleted    boolean NOT NULL,
    source     text COLLATE "C" NOT NULL,
    sequence   bigint,
    doc        json,
    CONSTRAINT deleted_has_no_doc CHECK (deleted = (doc IS NULL))
) PARTITION BY LIST (kind);
COMMENT ON TABLE  keepsake.item IS 'Every item of every person as it is now, tombstones included';
COMMENT ON COLUMN keepsake.item.kind IS 'What the item is';
COMMENT ON COLUMN keepsake.item.partition IS 'The log''s partition: keepsake.partition_of(user_id, partitions)';
COMMENT ON COLUMN keepsake.item.user_id IS 'Whose it is: the record key';
COMMENT ON COLUMN keepsake.item.item_id IS 'Which it is: the event''s subject, unique within a person and kind';
COMMENT ON COLUMN keepsake.item.revision IS 'epoch * 2^48 + offset of the record that made this state; within a person and kind it only grows';
COMMENT ON COLUMN keepsake.item.deleted IS 'A tombstone: it was there and was deleted';
COMMENT ON COLUMN keepsake.item.source IS 'The device that made this state';
COMMENT ON COLUMN keepsake.item.sequence IS 'The device''s number of the change; null: it gave none';
COMMENT ON COLUMN keepsake.item.doc IS 'The document, byte for byte as published (doc::text); null: deleted';

CREATE TABLE keepsake.seen (
    partition  integer NOT NULL,
    kind       keepsake.kind NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    source     text COLLATE "C" NOT NULL,
    top        bigint NOT NULL,
    mask       bigint NOT NULL,
    closed     bigint
) PARTITION BY LIST (partition);
COMMENT ON TABLE  keepsake.seen IS 'Which numbers of each device were seen, so that a repeat counts once: a window of 64';
COMMENT ON COLUMN keepsake.seen.partition IS 'The log''s partition';
COMMENT ON COLUMN keepsake.seen.kind IS 'The stream';
COMMENT ON COLUMN keepsake.seen.user_id IS 'The person';
COMMENT ON COLUMN keepsake.seen.source IS 'The device';
COMMENT ON COLUMN keepsake.seen.top IS 'The highest number seen';
COMMENT ON COLUMN keepsake.seen.mask IS 'Bit i: number top - 1 - i was seen';
COMMENT ON COLUMN keepsake.seen.closed IS 'The top at the person''s last erasure: all numbers up to it count as seen; null: never erased';

CREATE TABLE keepsake.conflict (
    partition      integer NOT NULL,
    kind           keepsake.kind NOT NULL,
    revision       bigint NOT NULL,
    user_id        text COLLATE "C" NOT NULL,
    item_id        text COLLATE "C" NOT NULL,
    why            text NOT NULL CHECK (why IN ('put-put', 'put-over-delete', 'delete-lost')),
    lost_revision  bigint NOT NULL,
    lost_source    text COLLATE "C" NOT NULL,
    lost_sequence  bigint,
    lost_doc       json
) PARTITION BY LIST (partition);
COMMENT ON TABLE  keepsake.conflict IS 'What lost when two devices changed the same item without knowing of each other';
COMMENT ON COLUMN keepsake.conflict.partition IS 'The log''s partition';
COMMENT ON COLUMN keepsake.conflict.kind IS 'What the item is';
COMMENT ON COLUMN keepsake.conflict.revision IS 'Revision of the event that met the conflict';
COMMENT ON COLUMN keepsake.conflict.user_id IS 'The person';
COMMENT ON COLUMN keepsake.conflict.item_id IS 'The item';
COMMENT ON COLUMN keepsake.conflict.why IS 'put-put: a document lost; put-over-delete: a deletion lost to a newer put; delete-lost: the delete itself lost';
COMMENT ON COLUMN keepsake.conflict.lost_revision IS 'Revision of what lost';
COMMENT ON COLUMN keepsake.conflict.lost_source IS 'Device of what lost';
COMMENT ON COLUMN keepsake.conflict.lost_sequence IS 'Number of what lost; null: it had none';
COMMENT ON COLUMN keepsake.conflict.lost_doc IS 'The document that lost, byte for byte; null: a deletion lost';

CREATE TABLE keepsake.dead_letter (
    topic      text COLLATE "C" NOT NULL,
    partition  integer NOT NULL,
    kind       keepsake.kind NOT NULL,
    "offset"   bigint NOT NULL,
    time_ms    bigint,
    reason     text NOT NULL,
    detail     text,
    hash       bytea NOT NULL,
    user_id    text COLLATE "C",
    source     text COLLATE "C",
    key        bytea,
    headers    bytea,
    value      bytea
) PARTITION BY LIST (partition);
COMMENT ON TABLE  keepsake.dead_letter IS 'Records that could not be applied: kept with position, reason and, where no rule takes them away, bytes';
COMMENT ON COLUMN keepsake.dead_letter.topic IS 'Where it stands in the log';
COMMENT ON COLUMN keepsake.dead_letter.partition IS 'Where it stands in the log';
COMMENT ON COLUMN keepsake.dead_letter.kind IS 'The stream that it belongs to; none where that is not known';
COMMENT ON COLUMN keepsake.dead_letter."offset" IS 'Where it stands in the log';
COMMENT ON COLUMN keepsake.dead_letter.time_ms IS 'The broker''s time of it, in milliseconds since 1970';
COMMENT ON COLUMN keepsake.dead_letter.reason IS 'The reason''s code (docs/event-format.md, docs/fold.md)';
COMMENT ON COLUMN keepsake.dead_letter.detail IS 'What exactly, in words';
COMMENT ON COLUMN keepsake.dead_letter.hash IS 'The record''s hash: still there when the bytes are not';
COMMENT ON COLUMN keepsake.dead_letter.user_id IS 'The person, where the key says so truly';
COMMENT ON COLUMN keepsake.dead_letter.source IS 'The device, where it could be read';
COMMENT ON COLUMN keepsake.dead_letter.key IS 'The record key''s bytes; null: none, or no bytes kept';
COMMENT ON COLUMN keepsake.dead_letter.headers IS
    'The headers in their order: for each the name''s length (4 bytes, big-endian), name, value''s length (FFFFFFFF: null), value. Null: no bytes kept';
COMMENT ON COLUMN keepsake.dead_letter.value IS 'The record value''s bytes; null: none, or no bytes kept';

CREATE TABLE keepsake.blob (
    partition  integer NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    sha256     text COLLATE "C" NOT NULL,
    chunks     integer NOT NULL,
    size       bigint NOT NULL,
    present    integer NOT NULL,
    complete   boolean NOT NULL
) PARTITION BY LIST (partition);
COMMENT ON TABLE  keepsake.blob IS 'Sets of a photo''s chunks';
COMMENT ON COLUMN keepsake.blob.partition IS 'The log''s partition';
COMMENT ON COLUMN keepsake.blob.user_id IS 'Whose photo';
COMMENT ON COLUMN keepsake.blob.sha256 IS 'The photo''s SHA-256, 64 lower-case hex digits';
COMMENT ON COLUMN keepsake.blob.chunks IS 'How many chunks the set has';
COMMENT ON COLUMN keepsake.blob.size IS 'How many bytes the photo has';
COMMENT ON COLUMN keepsake.blob.present IS 'How many of the chunks are there';
COMMENT ON COLUMN keepsake.blob.complete IS 'All chunks are there, and their bytes have that size and SHA-256';

CREATE TABLE keepsake.blob_chunk (
    partition  integer NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    sha256     text COLLATE "C" NOT NULL,
    chunks     integer NOT NULL,
    size       bigint NOT NULL,
    chunk      integer NOT NULL,
    revision   bigint NOT NULL,
    bytes      bytea NOT NULL
) PARTITION BY LIST (partition);
-- Photos are compressed already.
ALTER TABLE keepsake.blob_chunk ALTER COLUMN bytes SET STORAGE EXTERNAL;
COMMENT ON TABLE  keepsake.blob_chunk IS 'The bytes of photos, chunk by chunk';
COMMENT ON COLUMN keepsake.blob_chunk.partition IS 'The log''s partition';
COMMENT ON COLUMN keepsake.blob_chunk.user_id IS 'Whose photo';
COMMENT ON COLUMN keepsake.blob_chunk.sha256 IS 'The photo''s SHA-256';
COMMENT ON COLUMN keepsake.blob_chunk.chunks IS 'The set: how many chunks it has';
COMMENT ON COLUMN keepsake.blob_chunk.size IS 'The set: how many bytes the photo has';
COMMENT ON COLUMN keepsake.blob_chunk.chunk IS 'The chunk''s number, from 0';
COMMENT ON COLUMN keepsake.blob_chunk.revision IS 'epoch * 2^48 + offset of the record that brought it';
COMMENT ON COLUMN keepsake.blob_chunk.bytes IS 'Its bytes';

DO $compression$
BEGIN
    ALTER TABLE keepsake.item ALTER COLUMN doc SET COMPRESSION lz4;
    ALTER TABLE keepsake.conflict ALTER COLUMN lost_doc SET COMPRESSION lz4;
    ALTER TABLE keepsake.dead_letter ALTER COLUMN value SET COMPRESSION lz4;
EXCEPTION
    WHEN feature_not_supported THEN
        NULL;   -- a PostgreSQL built without lz4 keeps its default
END
$compression$;

DO $kinds$
DECLARE
    k keepsake.kind;
BEGIN
    FOREACH k IN ARRAY ARRAY['contact', 'calendar', 'note', 'task', 'photo', 'score']::keepsake.kind[] LOOP
        EXECUTE format('CREATE TABLE keepsake.item_%s PARTITION OF keepsake.item FOR VALUES IN (%L) PARTITION BY LIST (partition)', k, k);
        EXECUTE format('COMMENT ON TABLE keepsake.item_%s IS %L', k, format('The items of kind %s', k));
    END LOOP;
END
$kinds$;
