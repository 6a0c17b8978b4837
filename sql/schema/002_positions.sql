-- Which log this database materializes, how far each stream has come, and what operators did.
-- A stream is one (topic, partition, kind); docs/fold.md says what each number means.

SET LOCAL ROLE keepsake_operator;

CREATE TYPE keepsake.kind AS ENUM ('none', 'contact', 'calendar', 'note', 'task', 'photo', 'score', 'blob');
COMMENT ON TYPE keepsake.kind IS
    'What an item is; none: control records and records whose kind is not known; blob: photo bytes. In the order of restoring.';

CREATE TYPE keepsake.state AS ENUM ('restoring', 'loading', 'live', 'stopped');
COMMENT ON TYPE keepsake.state IS
    'A stream''s state. restoring: nothing is known yet; loading: a rebuild owns it; live: the consumer advances it; stopped: stands still, see reason';

CREATE TABLE keepsake.migration (
    number      integer PRIMARY KEY,
    name        text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE  keepsake.migration IS 'The schema files that init has applied to this database';
COMMENT ON COLUMN keepsake.migration.number IS 'The number at the beginning of the file''s name';
COMMENT ON COLUMN keepsake.migration.name IS 'The file''s name';
COMMENT ON COLUMN keepsake.migration.applied_at IS 'When it was applied';

CREATE TABLE keepsake.lineage (
    lineage     uuid PRIMARY KEY,
    epoch       integer NOT NULL CHECK (epoch BETWEEN 1 AND 32767),
    partitions  integer NOT NULL CHECK (partitions BETWEEN 1 AND 4096),
    cluster_id  text,
    made_at     timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX lineage_is_one_row ON keepsake.lineage ((true));
COMMENT ON TABLE  keepsake.lineage IS 'The one log that this database belongs to: exactly one row once init is done';
COMMENT ON INDEX  keepsake.lineage_is_one_row IS 'A database belongs to one log';
COMMENT ON COLUMN keepsake.lineage.lineage IS 'The log''s identity, from the genesis record of partition 0';
COMMENT ON COLUMN keepsake.lineage.epoch IS 'The log''s epoch: 1, or more after Kafka itself was lost';
COMMENT ON COLUMN keepsake.lineage.partitions IS 'How many partitions each topic has; fixed for the log''s life';
COMMENT ON COLUMN keepsake.lineage.cluster_id IS 'The Kafka cluster''s own id when init ran; information only';
COMMENT ON COLUMN keepsake.lineage.made_at IS 'When init made this row';

-- fillfactor: each batch updates these few rows; room on the page keeps the updates off the index.
CREATE TABLE keepsake.position (
    topic           text COLLATE "C" NOT NULL CHECK (topic IN ('keepsake.changes', 'keepsake.blobs')),
    partition       integer NOT NULL CHECK (partition >= 0),
    kind            keepsake.kind NOT NULL,
    epoch           integer NOT NULL,
    next_offset     bigint NOT NULL DEFAULT 0 CHECK (next_offset >= 0),
    anchor_offset   bigint NOT NULL DEFAULT -1,
    anchor_time_ms  bigint,
    anchor_hash     bytea,
    generation      bigint NOT NULL DEFAULT 0,
    state           keepsake.state NOT NULL,
    reason          text,
    fold_version    integer NOT NULL DEFAULT 1,
    live_at         bigint NOT NULL DEFAULT 0,
    owner           text,
    applied         bigint NOT NULL DEFAULT 0,
    repeat          bigint NOT NULL DEFAULT 0,
    superseded      bigint NOT NULL DEFAULT 0,
    conflict        bigint NOT NULL DEFAULT 0,
    dead            bigint NOT NULL DEFAULT 0,
    erased          bigint NOT NULL DEFAULT 0,
    control         bigint NOT NULL DEFAULT 0,
    late            bigint NOT NULL DEFAULT 0,
    jump            bigint NOT NULL DEFAULT 0,
    unsequenced     bigint NOT NULL DEFAULT 0,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, kind),
    CONSTRAINT anchor_is_the_record_before CHECK (anchor_offset < next_offset)
) WITH (fillfactor = 50);
COMMENT ON TABLE  keepsake.position IS
    'How far each stream has come: its rows are exactly what the log says below next_offset. Changed in the same transaction as the rows';
COMMENT ON COLUMN keepsake.position.topic IS 'keepsake.changes or keepsake.blobs';
COMMENT ON COLUMN keepsake.position.partition IS 'The topic''s partition';
COMMENT ON COLUMN keepsake.position.kind IS 'The stream within the partition';
COMMENT ON COLUMN keepsake.position.epoch IS 'The epoch that next_offset counts in';
COMMENT ON COLUMN keepsake.position.next_offset IS 'The first offset that this stream has not seen; counts all offsets of the partition';
COMMENT ON COLUMN keepsake.position.anchor_offset IS 'Offset of the record before next_offset, of whatever kind; -1 at the beginning';
COMMENT ON COLUMN keepsake.position.anchor_time_ms IS 'That record''s broker time, in milliseconds since 1970';
COMMENT ON COLUMN keepsake.position.anchor_hash IS 'That record''s hash (docs/event-format.md); null at the beginning';
COMMENT ON COLUMN keepsake.position.generation IS 'Raised by each owner at its start: a stale owner''s update finds no row';
COMMENT ON COLUMN keepsake.position.state IS 'See the type';
COMMENT ON COLUMN keepsake.position.reason IS 'Why the stream is in this state, where it is not live';
COMMENT ON COLUMN keepsake.position.fold_version IS 'The version of the fold that made the rows';
COMMENT ON COLUMN keepsake.position.live_at IS 'Below this offset readers are still told restoring: the log''s end when a rebuild or catch-up began';
COMMENT ON COLUMN keepsake.position.owner IS 'Who advanced it last: host, process and member id, for people';
COMMENT ON COLUMN keepsake.position.applied IS 'Events that became an item''s state';
COMMENT ON COLUMN keepsake.position.repeat IS 'Events seen before, that changed nothing';
COMMENT ON COLUMN keepsake.position.superseded IS 'Late events, overtaken by their own device''s newer one';
COMMENT ON COLUMN keepsake.position.conflict IS 'Events that met another device''s change';
COMMENT ON COLUMN keepsake.position.dead IS 'Events kept as dead letters';
COMMENT ON COLUMN keepsake.position.erased IS 'Erasures of a person';
COMMENT ON COLUMN keepsake.position.control IS 'Control records';
COMMENT ON COLUMN keepsake.position.late IS 'Of these, how many came late within their window';
COMMENT ON COLUMN keepsake.position.jump IS 'Of these, how many jumped more than 1,000,000 numbers ahead';
COMMENT ON COLUMN keepsake.position.unsequenced IS 'Of these, how many puts and deletes had no sequence';
COMMENT ON COLUMN keepsake.position.updated_at IS 'When it was last changed, by the database''s clock; compared with nothing';

CREATE TABLE keepsake.ruling (
    topic      text COLLATE "C" NOT NULL,
    partition  integer NOT NULL,
    "offset"   bigint NOT NULL,
    act        text NOT NULL,
    operands   json NOT NULL,
    PRIMARY KEY (topic, partition, "offset")
);
COMMENT ON TABLE  keepsake.ruling IS 'Operators'' decisions that stand in the log';
COMMENT ON COLUMN keepsake.ruling.topic IS 'Where the ruling stands';
COMMENT ON COLUMN keepsake.ruling.partition IS 'Where the ruling stands';
COMMENT ON COLUMN keepsake.ruling."offset" IS 'Where the ruling stands (what it is about is in operands)';
COMMENT ON COLUMN keepsake.ruling.act IS 'exclude or accept-gap';
COMMENT ON COLUMN keepsake.ruling.operands IS 'The record''s value: for exclude, "offset" is the offset that it excludes';

CREATE TABLE keepsake.erasure (
    topic      text COLLATE "C" NOT NULL,
    partition  integer NOT NULL,
    kind       keepsake.kind NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    id         text COLLATE "C" NOT NULL,
    revision   bigint NOT NULL,
    PRIMARY KEY (topic, partition, kind, user_id, id)
);
COMMENT ON TABLE  keepsake.erasure IS 'Marks of erased people: what of them stood below the revision is gone and does not come back';
COMMENT ON COLUMN keepsake.erasure.topic IS 'The topic whose stream applied it';
COMMENT ON COLUMN keepsake.erasure.partition IS 'The person''s partition';
COMMENT ON COLUMN keepsake.erasure.kind IS 'The stream that applied it';
COMMENT ON COLUMN keepsake.erasure.user_id IS 'The person';
COMMENT ON COLUMN keepsake.erasure.id IS 'The erasure''s own id: the same one published twice counts once';
COMMENT ON COLUMN keepsake.erasure.revision IS 'Revision of the record that erased';

CREATE TABLE keepsake.health (
    topic      text COLLATE "C" NOT NULL,
    partition  integer NOT NULL,
    events     integer[] NOT NULL,
    dead       integer[] NOT NULL,
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE  keepsake.health IS 'For the dead-letter limit: the last events of a partition in ten blocks';
COMMENT ON COLUMN keepsake.health.topic IS 'The topic';
COMMENT ON COLUMN keepsake.health.partition IS 'Its partition';
COMMENT ON COLUMN keepsake.health.events IS 'Events in each block, the newest last';
COMMENT ON COLUMN keepsake.health.dead IS 'Dead letters in each block that count against the limit';

CREATE TABLE keepsake.restore (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    act          text NOT NULL,
    begun_at     timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz,
    backend_pid  integer,
    plan         json,
    progress     json,
    result       text
);
COMMENT ON SEQUENCE keepsake.restore_id_seq IS 'Numbers of restores';
COMMENT ON TABLE  keepsake.restore IS 'Restores and repairs: what was planned, how far they are, how they ended';
COMMENT ON COLUMN keepsake.restore.id IS 'The restore''s number';
COMMENT ON COLUMN keepsake.restore.act IS 'rebuild or repair';
COMMENT ON COLUMN keepsake.restore.begun_at IS 'When it began';
COMMENT ON COLUMN keepsake.restore.updated_at IS 'When it last said how far it is';
COMMENT ON COLUMN keepsake.restore.ended_at IS 'When it ended; null: running, or killed (see backend_pid)';
COMMENT ON COLUMN keepsake.restore.backend_pid IS 'Its database session: not in pg_stat_activity any more means killed';
COMMENT ON COLUMN keepsake.restore.plan IS 'What it set out to do';
COMMENT ON COLUMN keepsake.restore.progress IS 'How far it is';
COMMENT ON COLUMN keepsake.restore.result IS 'How it ended, in words';
