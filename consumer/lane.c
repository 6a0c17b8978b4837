#include "lane.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/log.h"

unsigned ks_lane_live(const struct ks_lane *lane) {
  unsigned live = 0;
  for (int k = 0; k < KS_KIND_COUNT; k++)
    if (lane->kinds & 1u << k && lane->streams[k].state == KS_STATE_LIVE) live |= 1u << k;
  return live;
}

void ks_lane_set_state(struct ks_lane *lane, unsigned kinds, enum ks_state state) {
  for (int k = 0; k < KS_KIND_COUNT; k++)
    if (kinds & lane->kinds & 1u << k) lane->streams[k].state = state;
  lane->live = ks_lane_live(lane);
}

bool ks_lane_store_state(struct ks_store *store, const struct ks_lane *lane, unsigned kinds, enum ks_state state, const char *reason, bool *ours, struct ks_error *err) {
  *ours = true;
  for (int k = 0; k < KS_KIND_COUNT; k++) {
    int changed;
    if (!(kinds & 1u << k)) continue;
    if (!ks_store_set_state(store, lane->topic, lane->partition, 1u << k, lane->streams[k].generation, state, reason, &changed, err)) return false;
    *ours = *ours && changed == 1;
  }
  return true;
}

static bool load_rulings(struct ks_store *store, struct ks_lane *lane, struct ks_error *err) {
  // Only what the verdict has judged may be cast: a member that the act does not know may be anything.
#define NUMBER(member) "substring(operands" member " FROM '^[0-9]{1,15}$')::bigint, "
#define FROM(kind) NUMBER("->'from'->>'" kind "'")
  static const char SQL[] = "SELECT act = 'accept-gap', " NUMBER("->>'offset'") NUMBER("->>'to'") FROM("none") FROM("contact") FROM("calendar") FROM("note") FROM("task")
      FROM("photo") FROM("score") FROM("blob") "\"offset\" FROM keepsake.ruling WHERE topic = $1 AND partition = $2";
#undef FROM
#undef NUMBER
  char number[16];
  snprintf(number, sizeof number, "%d", lane->partition);
  struct ks_rows rows;
  if (!ks_store_query(store, SQL, 2, (const char *const[]){ks_topic_name(lane->topic), number}, &rows, err)) return false;
  bool ok = true;
  for (int i = 0; ok && i < rows.count; i++) {
    struct ks_ruling ruling = {.accept_gap = ks_rows_bool(&rows, i, 0), .offset = ks_rows_int(&rows, i, 1), .to = ks_rows_int(&rows, i, 2)};
    for (int k = 0; k < KS_KIND_COUNT; k++) ruling.from[k] = ks_rows_text(&rows, i, 3 + k) ? ks_rows_int(&rows, i, 3 + k) : -1;
    ok = ks_rulings_add(&lane->rulings, ks_rows_int(&rows, i, 3 + KS_KIND_COUNT), &ruling) || ks_error_memory(err);
  }
  ks_rows_free(&rows);
  return ok;
}

// The first genesis record of the partition must be the database's lineage.
static bool check_lineage(const struct ks_lane *lane, struct ks_kafka *kafka, const struct ks_lineage *lineage, struct ks_error *err) {
  const char *topic = ks_topic_name(lane->topic);
  struct ks_genesis genesis;
  bool found;
  int32_t partitions;
  if (!ks_kafka_partitions_of_log(kafka, lane->topic, &partitions, err)) return false;
  if (partitions == 0) {
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "the topic %s is not there, or no longer", topic);
    return ks_error_hint(err, "Nothing was applied. `keepsake doctor` says what is there; see docs/operations.md before anybody makes it anew.");
  }
  if (!ks_kafka_genesis(kafka, lane->topic, lane->partition, &genesis, &found, err)) return false;
  int64_t low = 0, high;
  if (!found && !ks_kafka_watermarks(kafka, lane->topic, lane->partition, &low, &high, err)) return false;
  if (low > 0) {
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "%s/%d: the log has lost its beginning: offsets 0 to %" PRId64 " are gone, and with them its genesis record", topic, lane->partition,
                 low - 1);
    return ks_error_hint(err, "Records were deleted or have expired. Nothing was applied; see `keepsake doctor` and docs/operations.md.");
  }
  if (!found) {
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_REFUSED, "%s/%d has no genesis record: it is not the log of this database", topic, lane->partition);
    return ks_error_hint(err, "A new log is made by `keepsake init`. Check -b/--brokers; nothing was applied.");
  }
  if (strcmp(genesis.lineage, lineage->lineage) != 0 || genesis.epoch != lineage->epoch) {
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_REFUSED, "%s/%d is another log: its lineage is %s (epoch %d), the database's %s (epoch %d)", topic, lane->partition,
                 genesis.lineage, genesis.epoch, lineage->lineage, lineage->epoch);
    return ks_error_hint(err, "Check -b/--brokers and -d/--database: they must belong together. Nothing was applied; `keepsake doctor` shows both.");
  }
  if (genesis.partitions != lineage->partitions || genesis.partition != lane->partition) {
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_REFUSED, "%s/%d: genesis says partition %d of %d, the database has %d", topic, lane->partition, genesis.partition,
                 genesis.partitions, lineage->partitions);
    return ks_error_hint(err, "The number of partitions is fixed for a log's life; nothing was applied.");
  }
  return true;
}

// The record before the stream's position must be the one that the database remembers.
static bool check_anchor(const struct ks_lane *lane, struct ks_kafka *kafka, const struct ks_stream *stream, struct ks_error *err) {
  struct ks_record record;
  bool found;
  uint8_t hash[KS_HASH_BYTES];
  if (stream->anchor.offset < 0) return true;
  if (!ks_kafka_read(kafka, lane->topic, lane->partition, stream->anchor.offset, &record, &found, err)) return false;
  if (found) ks_record_hash(&record, hash);
  if (found && record.time_ms == stream->anchor.time_ms && memcmp(hash, stream->anchor.hash, sizeof hash) == 0) return true;
  ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "%s/%d: the record at offset %" PRId64 " is %s", ks_topic_name(lane->topic), lane->partition, stream->anchor.offset,
               found ? "not the one that the database has applied there" : "gone from the log");
  return ks_error_hint(err, "The log was recreated, cut or exchanged. Nothing was applied; see `keepsake doctor` and docs/operations.md.");
}

static bool check_watermarks(const struct ks_lane *lane, struct ks_kafka *kafka, const struct ks_stream *stream, struct ks_error *err) {
  int64_t low, high;
  const char *topic = ks_topic_name(lane->topic);
  if (!ks_kafka_watermarks(kafka, lane->topic, lane->partition, &low, &high, err)) return false;
  if (stream->next_offset > high) {
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "%s/%d: the log is shorter than the database: it ends at offset %" PRId64 ", the database (%s) stands at %" PRId64, topic,
                 lane->partition, high, ks_kind_name(stream->kind), stream->next_offset);
    return ks_error_hint(err, "Records were lost in Kafka that the database still has. Nothing was applied; see docs/operations.md.");
  }
  if (stream->next_offset < low) {
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "%s/%d: the log no longer has offsets %" PRId64 " to %" PRId64 "; it begins at %" PRId64, topic, lane->partition,
                 stream->next_offset, low - 1, low);
    return ks_error_hint(err, "%" PRId64 " records are gone from Kafka. Nothing was applied; see docs/operations.md.", low - stream->next_offset);
  }
  return true;
}

static bool check_streams(struct ks_lane *lane, struct ks_kafka *kafka, struct ks_error *err) {
  int64_t checked = -1;
  for (int k = 0; k < KS_KIND_COUNT; k++) {
    const struct ks_stream *stream = &lane->streams[k];
    if (!(lane->kinds & 1u << k) || (stream->state != KS_STATE_LIVE && stream->state != KS_STATE_STOPPED)) continue;
    if (stream->fold_version > KS_FOLD_VERSION) {
      ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "%s/%d %s was folded by version %d, this program knows %d", ks_topic_name(lane->topic), lane->partition,
                   ks_kind_name(k), stream->fold_version, KS_FOLD_VERSION);
      return ks_error_hint(err, "Run the newer release.");
    }
    if (!check_watermarks(lane, kafka, stream, err)) return false;
    if (stream->anchor.offset == checked) continue;  // streams mostly stand together
    if (!check_anchor(lane, kafka, stream, err)) return false;
    checked = stream->anchor.offset;
  }
  return true;
}

struct ks_lane *ks_lane_open(struct ks_store *store, struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, const struct ks_lineage *lineage, const char *owner,
                             int lock_timeout_ms, struct ks_error *err) {
  struct ks_lane *lane = calloc(1, sizeof *lane);
  struct ks_streams streams = {0};
  if (!lane) {
    ks_error_memory(err);
    return NULL;
  }
  lane->topic = topic;
  lane->partition = partition;
  lane->start = -1;
  lane->until = INT64_MAX;
  lane->end_seen = lane->stuck_at = -1;
  bool ok = check_lineage(lane, kafka, lineage, err) && ks_store_claim(store, topic, partition, owner, lock_timeout_ms, &streams, err);
  for (int i = 0; ok && i < streams.count; i++) {
    const struct ks_stream *stream = &streams.list[i];
    lane->streams[stream->kind] = *stream;
    lane->kinds |= 1u << stream->kind;
    lane->reached[stream->kind] = stream->next_offset;
    if (stream->state == KS_STATE_LIVE && (lane->start < 0 || stream->next_offset < lane->start)) lane->start = stream->next_offset;
  }
  lane->expected = lane->start;
  lane->live = ks_lane_live(lane);
  ok = ok && check_streams(lane, kafka, err) && load_rulings(store, lane, err) && ks_health_load(store, topic, partition, &lane->health, err);
  if (ok && !(lane->fold = ks_fold_new(topic, partition, lineage->epoch, false))) ok = ks_error_memory(err);
  if (ok) lane->fold->rulings = &lane->rulings;
  ks_streams_free(&streams);
  if (ok) return lane;
  ks_lane_free(lane);
  return NULL;
}

bool ks_lane_check(struct ks_store *store, struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, const struct ks_lineage *lineage, struct ks_error *err) {
  struct ks_lane lane = {.topic = topic, .partition = partition};
  struct ks_streams streams = {0};
  bool ok = check_lineage(&lane, kafka, lineage, err) && ks_store_streams(store, (int)topic, partition, false, &streams, err);
  for (int i = 0; ok && i < streams.count; i++) {
    lane.streams[streams.list[i].kind] = streams.list[i];
    lane.kinds |= 1u << streams.list[i].kind;
  }
  ok = ok && check_streams(&lane, kafka, err);
  ks_streams_free(&streams);
  return ok;
}

void ks_lane_free(struct ks_lane *lane) {
  if (!lane) return;
  ks_fold_free(lane->fold);
  ks_rulings_free(&lane->rulings);
  free(lane);
}
