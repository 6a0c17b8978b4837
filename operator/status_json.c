#include <stdio.h>
#include <string.h>

#include "status.h"

static struct ks_json *error_json(bool fine, const struct ks_error *err) {
  if (fine) return ks_json_pack("n");
  return ks_json_pack("{s:s, s:s, s:i}", "message", err->message, "hint", err->hint, "exit", (int)err->exit);
}

static struct ks_json *number_or_null(bool known, int64_t value) { return known ? ks_json_pack("I", value) : ks_json_pack("n"); }

static struct ks_json *states_json(const struct ks_status *status) {
  int by_state[4] = {0};
  for (int i = 0; i < status->streams.count; i++) by_state[status->streams.list[i].state]++;
  return ks_json_pack("{s:i, s:i, s:i, s:i}", "restoring", by_state[KS_STATE_RESTORING], "loading", by_state[KS_STATE_LOADING], "live", by_state[KS_STATE_LIVE], "stopped",
                      by_state[KS_STATE_STOPPED]);
}

static struct ks_json *places_json(const struct ks_status *status) {
  struct ks_json *list = ks_json_pack("[]");
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    for (int32_t p = status->shard.first; p <= status->shard.last; p++) {
      const struct ks_status_place *place = &status->places[t][p];
      bool known = place->end >= 0 && status->has_database;
      int64_t from = place->position < 0 ? 0 : place->position;
      ks_json_append(list, ks_json_pack("{s:s, s:i, s:o, s:o, s:o}", "topic", ks_topic_name((enum ks_topic)t), "partition", (int)p, "position",
                                        number_or_null(place->position >= 0, place->position), "end", number_or_null(place->end >= 0, place->end), "lag",
                                        number_or_null(known, place->end > from ? place->end - from : 0)));
    }
  }
  return list;
}

static struct ks_json *streams_json(const struct ks_status *status) {
  struct ks_json *list = ks_json_pack("[]");
  char next[300];
  for (int i = 0; i < status->streams.count; i++) {
    const struct ks_stream *s = &status->streams.list[i];
    const struct ks_fold_counts *c = &s->counts;
    struct ks_json *counts = ks_json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "applied", c->applied, "repeat", c->repeat, "superseded", c->superseded, "conflict",
                                          c->conflict, "dead", c->dead, "erased", c->erased, "control", c->control, "late", c->late, "jump", c->jump, "unsequenced", c->unsequenced);
    struct ks_json *stream = ks_json_pack("{s:s, s:i, s:s, s:s, s:I, s:I, s:o}", "topic", ks_topic_name(s->topic), "partition", (int)s->partition, "kind", ks_kind_name(s->kind), "state",
                                          ks_state_name(s->state), "next_offset", s->next_offset, "live_at", s->live_at, "counts", counts);
    if (stream && s->reason[0]) ks_json_set(stream, "reason", ks_json_text(ks_bytes_string(s->reason)));
    if (stream && s->state == KS_STATE_STOPPED) ks_json_set(stream, "next", ks_json_text(ks_bytes_string(ks_status_next(next, s))));
    ks_json_append(list, stream);
  }
  return list;
}

static struct ks_json *text_at(const struct ks_rows *rows, int row, int column) { return ks_json_text(ks_bytes_string(ks_rows_text(rows, row, column))); }

static struct ks_json *restore_json(const struct ks_status *status) {
  if (status->restores.count == 0) return ks_json_pack("n");
  const char *progress = ks_rows_text(&status->restores, 0, 3);
  struct ks_json *parsed = progress ? ks_json_parse(ks_bytes_string(progress), NULL) : NULL;
  return ks_json_pack("{s:I, s:s, s:b, s:I, s:o}", "id", ks_rows_int(&status->restores, 0, 0), "act", ks_rows_text(&status->restores, 0, 1), "running",
                      (int)ks_rows_bool(&status->restores, 0, 4), "seconds", ks_rows_int(&status->restores, 0, 2), "progress", parsed ? parsed : ks_json_pack("n"));
}

bool ks_status_print_json(const struct ks_status *status) {
  struct ks_json *reasons = ks_json_pack("[]"), *sources = ks_json_pack("[]");
  for (int row = 0; row < status->dead_letters.count; row++) {
    ks_json_append(reasons, ks_json_pack("{s:o, s:I}", "reason", text_at(&status->dead_letters, row, 0), "count", ks_rows_int(&status->dead_letters, row, 1)));
  }
  for (int row = 0; row < status->sources.count; row++) {
    ks_json_append(sources, ks_json_pack("{s:o, s:o, s:o, s:I, s:I}", "source", text_at(&status->sources, row, 0), "reason", text_at(&status->sources, row, 1), "topic",
                                         text_at(&status->sources, row, 2), "partition", ks_rows_int(&status->sources, row, 3), "count", ks_rows_int(&status->sources, row, 4)));
  }
  struct ks_json *rulings = ks_json_pack("[]");
  for (int i = 0; i < status->rulings.count; i++) ks_json_append(rulings, ks_ruling_seen_json(&status->rulings.list[i]));
  int64_t left = ks_status_seconds_left(status);
  char range[KS_SHARD_TEXT];
  bool is_shard = !ks_shard_is_all(status->shard, status->partitions);
  struct ks_json *all = ks_json_pack("{s:o, s:o, s:s?, s:s?, s:i, s:i, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "kafka", error_json(status->has_log, &status->log_error), "postgresql",
                                     error_json(status->has_database, &status->database_error), "lineage", status->lineage.partitions ? status->lineage.lineage : NULL, "log_lineage", status->log_lineage[0] ? status->log_lineage : NULL, "epoch",
                                     (int)status->lineage.epoch, "partitions", (int)status->partitions, "shard", is_shard ? ks_shard_text(status->shard, range) : NULL, "states", states_json(status), "lag", number_or_null(status->lag >= 0, status->lag),
                                     "applied_per_second", number_or_null(status->applied_per_s >= 0, (int64_t)status->applied_per_s), "published_per_second",
                                     number_or_null(status->published_per_s >= 0, (int64_t)status->published_per_s), "seconds_left", number_or_null(left >= 0, left), "positions",
                                     places_json(status), "streams", streams_json(status), "restore", restore_json(status), "dead_letters", reasons, "sources", sources, "rulings", rulings);
  bool ok = all && ks_json_print(all, stdout);
  ks_json_free(all);
  return ok;
}
