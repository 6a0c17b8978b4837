// Positions against the log: watermarks, anchors, lag, and streams that do not move.
#include <stdio.h>
#include <string.h>

#include "columns.h"
#include "doctor.h"
#include "rulings_seen.h"

struct sums {
  int64_t lag;
  int anchors, anchors_good, by_state[4];
};

static bool is_standing(const struct ks_stream *s) { return s->state == KS_STATE_LIVE || s->state == KS_STATE_STOPPED; }

static void look_at_anchor(struct ks_doctor *doctor, const char *place, const struct ks_stream *s, struct sums *sums) {
  struct ks_record record;
  uint8_t hash[KS_HASH_BYTES];
  struct ks_error err;
  char value[64];
  bool found;
  if (s->anchor.offset < 0) return;
  sums->anchors++;
  if (!ks_kafka_read(doctor->kafka, s->topic, s->partition, s->anchor.offset, &record, &found, &err)) {
    ks_doctor_add_error(doctor, place, "anchor", KS_FOUND_UNKNOWN, &err);
    return;
  }
  if (found) ks_record_hash(&record, hash);
  if (found && record.time_ms == s->anchor.time_ms && memcmp(hash, s->anchor.hash, sizeof hash) == 0) {
    sums->anchors_good++;
    return;
  }
  snprintf(value, sizeof value, "offset %lld %s", (long long)s->anchor.offset, found ? "differs" : "is gone");
  ks_doctor_add(doctor, place, "anchor", value, "log", KS_FOUND_LOST, "the record that the database applied last is not the one that the log holds there: the log was made anew, cut or exchanged",
                "docs/operations.md, \"The log has lost records\"");
}

// Somebody's transaction is open: readers are given nothing past its first record, and what it leaves behind is a gap.
static void look_at_stable_end(struct ks_doctor *doctor, enum ks_topic topic, int32_t partition, int64_t high) {
  char place[64], value[128];
  int64_t low, end;
  struct ks_error err;
  snprintf(place, sizeof place, "%s/%d", ks_topic_name(topic), (int)partition);
  if (!ks_kafka_readable(doctor->kafka, topic, partition, &low, &end, &err) || end >= high) return;
  snprintf(value, sizeof value, "%lld, log's end %lld", (long long)end, (long long)high);
  ks_doctor_add(doctor, place, "last stable offset", value, "log", KS_FOUND_WARNING, "a transaction is open and hides the records after it; its own offsets will be a gap",
                "kafka-transactions.sh find-hanging, abort; then docs/operations.md, \"One partition or stream stands stopped\"");
}

static void look_at_partition(struct ks_doctor *doctor, const struct ks_stream *streams, int count, struct sums *sums) {
  char place[64], value[128];
  int64_t low, high, lowest = INT64_MAX, checked = -1;
  struct ks_error err;
  snprintf(place, sizeof place, "%s/%d", ks_topic_name(streams->topic), (int)streams->partition);
  if (!ks_kafka_watermarks(doctor->kafka, streams->topic, streams->partition, &low, &high, &err)) {
    ks_doctor_add_error(doctor, place, "position", KS_FOUND_UNKNOWN, &err);
    return;
  }
  look_at_stable_end(doctor, streams->topic, streams->partition, high);
  for (int i = 0; i < count; i++) {
    const struct ks_stream *s = &streams[i];
    if (!is_standing(s)) continue;
    if (s->next_offset < lowest) lowest = s->next_offset;
    if (s->next_offset > high) {
      snprintf(value, sizeof value, "%lld (%s), log's end %lld", (long long)s->next_offset, ks_kind_name(s->kind), (long long)high);
      ks_doctor_add(doctor, place, "position", value, "database", KS_FOUND_LOST, "the log is shorter than the database: acknowledged records are lost in Kafka, the database still has them",
                    "keep the database as it is; docs/operations.md, \"The log has lost records\"");
      return;
    }
    if (s->next_offset < low) {
      snprintf(value, sizeof value, "%lld (%s), log's start %lld", (long long)s->next_offset, ks_kind_name(s->kind), (long long)low);
      ks_doctor_add(doctor, place, "position", value, "database", KS_FOUND_LOST, "what the database has not applied yet is gone from the log", "docs/operations.md, \"The log has lost records\"");
      return;
    }
    if (s->anchor.offset == checked) continue;  // streams mostly stand together
    checked = s->anchor.offset;
    look_at_anchor(doctor, place, s, sums);
  }
  sums->lag += lowest == INT64_MAX ? high - low : high - lowest;
}

static void say_stopped(struct ks_doctor *doctor, const struct ks_stream *s) {
  char place[64], next[200];
  snprintf(place, sizeof place, "%s/%d %s", ks_topic_name(s->topic), (int)s->partition, ks_kind_name(s->kind));
  snprintf(next, sizeof next, "keepsake status says what to do");
  ks_doctor_add(doctor, place, "state", "stopped", "database", KS_FOUND_WARNING, s->reason[0] ? s->reason : "it stands still", next);
}

// Each partition that the database holds has its streams: seven of the changes, two of the blobs.
static void look_for_missing(struct ks_doctor *doctor) {
  enum { STREAMS = KS_KIND_COUNT - 1 + 2 };
  char value[64];
  int wanted = ks_shard_size(doctor->lineage.shard) * STREAMS, there = 0;
  for (int i = 0; i < doctor->streams.count; i++) there += ks_shard_holds(doctor->lineage.shard, doctor->streams.list[i].partition);
  if (there == wanted) return;
  snprintf(value, sizeof value, "%d of %d", there, wanted);
  ks_doctor_add(doctor, "streams", "positions", value, "database", KS_FOUND_UNSAFE, "positions were taken away by hand or damage: nobody advances what they stood for",
                "keepsake init, which makes them restoring, then keepsake restore rebuild");
}

static void list_rulings(struct ks_doctor *doctor, bool has_log) {
  struct ks_rulings_seen seen = {0};
  struct ks_error err;
  char place[64], value[160];
  bool ok = ks_rulings_seen_applied(&seen, doctor->store, &err) && (!has_log || ks_rulings_seen_ahead(&seen, &doctor->config, doctor->kafka, &doctor->streams, doctor->partitions, &err));
  if (!ok) ks_doctor_add_error(doctor, "streams", "rulings", KS_FOUND_UNKNOWN, &err);
  for (int i = 0; i < seen.count; i++) {
    snprintf(place, sizeof place, "%s/%d", ks_topic_name(seen.list[i].topic), (int)seen.list[i].partition);
    ks_ruling_seen_text(&seen.list[i], value);
    ks_doctor_add(doctor, place, "ruling", value, seen.list[i].applied ? "database" : "log", KS_FOUND_OK, NULL, NULL);
  }
  ks_rulings_seen_free(&seen);
}

void ks_doctor_look_at_positions(struct ks_doctor *doctor) {
  struct sums sums = {0};
  char value[128], number[32];
  if (!doctor->has_lineage) return;
  for (int i = 0; i < doctor->streams.count; i++) {
    const struct ks_stream *s = &doctor->streams.list[i];
    sums.by_state[s->state]++;
    if (s->state == KS_STATE_STOPPED) say_stopped(doctor, s);
  }
  bool has_log = doctor->kafka && doctor->partitions > 0;
  list_rulings(doctor, has_log);
  for (int from = 0, to; has_log && from < doctor->streams.count; from = to) {
    const struct ks_stream *first = &doctor->streams.list[from];
    for (to = from + 1; to < doctor->streams.count && doctor->streams.list[to].topic == first->topic && doctor->streams.list[to].partition == first->partition; to++) {
    }
    look_at_partition(doctor, first, to - from, &sums);
  }
  if (!ks_shard_is_all(doctor->lineage.shard, doctor->lineage.partitions)) {
    char range[KS_SHARD_TEXT];
    snprintf(value, sizeof value, "%s of %d", ks_shard_text(doctor->lineage.shard, range), (int)doctor->lineage.partitions);
    ks_doctor_add(doctor, "streams", "shard", value, "database", KS_FOUND_OK, NULL, NULL);
  }
  look_for_missing(doctor);
  snprintf(value, sizeof value, "%d live, %d stopped, %d restoring, %d loading", sums.by_state[KS_STATE_LIVE], sums.by_state[KS_STATE_STOPPED], sums.by_state[KS_STATE_RESTORING],
           sums.by_state[KS_STATE_LOADING]);
  bool waiting = sums.by_state[KS_STATE_RESTORING] > 0;
  ks_doctor_add(doctor, "streams", "states", value, "database", waiting ? KS_FOUND_WARNING : KS_FOUND_OK, "restoring streams are answered `restoring`: nobody advances them", "keepsake restore rebuild");
  if (!has_log) return;
  snprintf(value, sizeof value, "%d of %d", sums.anchors_good, sums.anchors);
  ks_doctor_add(doctor, "streams", "anchors that fit", value, "log", KS_FOUND_OK, NULL, NULL);
  ks_doctor_add(doctor, "streams", "lag", ks_number_text(number, sums.lag), "log", KS_FOUND_OK, NULL, NULL);
}
