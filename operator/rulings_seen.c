#include "rulings_seen.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/scan.h"
#include "../core/sql.h"

enum { AHEAD_MAX = 20000, ALL_MAX = 200000 };  // records of a partition, and of all; more would not be cheap

static bool add(struct ks_rulings_seen *seen, struct ks_ruling_seen ruling) {
  for (int i = 0; i < seen->count; i++) {
    const struct ks_ruling_seen *s = &seen->list[i];
    if (s->topic == ruling.topic && s->partition == ruling.partition && s->offset == ruling.offset) return true;
  }
  struct ks_ruling_seen *list = realloc(seen->list, (size_t)(seen->count + 1) * sizeof *list);
  if (!list) return false;
  seen->list = list;
  list[seen->count++] = ruling;
  return true;
}

bool ks_rulings_seen_applied(struct ks_rulings_seen *seen, struct ks_store *store, struct ks_error *err) {
  struct ks_rows rows;
  if (!ks_store_query(store, ks_sql_query("rulings"), 0, NULL, &rows, err)) return false;
  bool ok = true;
  for (int i = 0; ok && i < rows.count; i++) {
    int topic = ks_topic_find(ks_bytes_string(ks_rows_text(&rows, i, 0)));
    ok = add(seen, (struct ks_ruling_seen){.topic = topic < 0 ? KS_TOPIC_CHANGES : (enum ks_topic)topic, .partition = (int32_t)ks_rows_int(&rows, i, 1), .offset = ks_rows_int(&rows, i, 2),
                                           .accept_gap = ks_rows_bool(&rows, i, 3), .first = ks_rows_int(&rows, i, 4), .last = ks_rows_int(&rows, i, 5), .applied = true}) ||
         ks_error_memory(err);
  }
  ks_rows_free(&rows);
  return ok;
}

static bool note(void *arg, const struct ks_record *record, const struct ks_event *event) {
  if (!ks_is_ruling(event)) return true;
  const struct ks_ruling *ruling = &event->ruling;
  struct ks_ruling_seen found = {.topic = record->topic, .partition = record->partition, .offset = record->offset, .accept_gap = ruling->accept_gap, .first = ruling->offset, .last = ruling->offset};
  if (ruling->accept_gap) {
    found.first = found.last = ruling->to - 1;
    for (int k = 0; k < KS_KIND_COUNT; k++)
      if (ruling->from[k] >= 0 && ruling->from[k] < found.first) found.first = ruling->from[k];
  }
  return add(arg, found);
}

bool ks_rulings_seen_ahead(struct ks_rulings_seen *seen, const struct ks_kafka_config *config, struct ks_kafka *kafka, const struct ks_streams *streams, int32_t partitions,
                           struct ks_error *err) {
  struct ks_range *ranges = calloc((size_t)streams->count + 1, sizeof *ranges);
  int count = 0;
  int64_t all = 0;
  bool ok = ranges || ks_error_memory(err);
  for (int i = 0; ok && i < streams->count; i++) {
    const struct ks_stream *s = &streams->list[i];
    struct ks_range range = {s->topic, s->partition, s->next_offset, 0};
    int64_t low;
    if (s->kind != KS_KIND_NONE || s->partition >= partitions) continue;
    ok = ks_kafka_readable(kafka, s->topic, s->partition, &low, &range.to, err);
    if (range.from < low) range.from = low;
    int64_t ahead = ok && range.to > range.from ? range.to - range.from : 0;
    if (ahead > AHEAD_MAX || all + ahead > ALL_MAX) seen->not_all = true;
    else if (ahead > 0) ranges[count++] = range, all += ahead;
  }
  struct ks_scan scan = {.kafka = config, .partitions = partitions, .keyless = true, .on_record = note, .arg = seen};
  ok = ok && (count == 0 || ks_scan_log(&scan, ranges, count, err));
  free(ranges);
  return ok;
}

void ks_rulings_seen_free(struct ks_rulings_seen *seen) {
  free(seen->list);
  *seen = (struct ks_rulings_seen){0};
}

void ks_ruling_seen_text(const struct ks_ruling_seen *ruling, char text[160]) {
  int used = ruling->accept_gap ? snprintf(text, 160, "accepts the loss of offsets %" PRId64 " to %" PRId64, ruling->first, ruling->last)
                                : snprintf(text, 160, "excludes offset %" PRId64, ruling->first);
  snprintf(text + used, 160 - (size_t)used, ", stands at %" PRId64 "%s", ruling->offset, ruling->applied ? "" : ", not applied yet");
}

struct ks_json *ks_ruling_seen_json(const struct ks_ruling_seen *ruling) {
  return ks_json_pack("{s:s, s:i, s:I, s:s, s:I, s:I, s:b}", "topic", ks_topic_name(ruling->topic), "partition", (int)ruling->partition, "offset", ruling->offset, "act",
                      ruling->accept_gap ? "accept-gap" : "exclude", "first", ruling->first, "last", ruling->last, "applied", (int)ruling->applied);
}
