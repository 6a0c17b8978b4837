#include "catchup.h"

#include <stdlib.h>
#include <string.h>

#include "../core/clock.h"
#include "../core/log.h"
#include "assignment.h"
#include "lookahead.h"

enum { COMMIT_MS = 1000 };

// How many records the live streams of a finite run still have to pass: of each partition those of the one that is furthest behind.
static int64_t behind(const struct ks_consumer *c, const struct ks_streams *streams) {
  int64_t total = 0, most = 0;
  for (int i = 0; i < streams->count; i++) {
    const struct ks_stream *s = &streams->list[i];
    int64_t left = s->state == KS_STATE_LIVE ? c->targets[s->topic][s->partition] - s->next_offset : 0;
    if (left > most) most = left;
    bool last = i + 1 == streams->count || streams->list[i + 1].partition != s->partition || streams->list[i + 1].topic != s->topic;
    if (last) total += most, most = 0;
  }
  return total;
}

bool ks_catchup_begin(struct ks_consumer *c, struct ks_error *err) {
  for (int t = 0; t < KS_TOPIC_COUNT && c->options->until_caught_up; t++) {
    if (!(c->targets[t] = calloc((size_t)c->lineage.partitions, sizeof *c->targets[t]))) return ks_error_memory(err);
    for (int32_t p = c->lineage.shard.first; p <= c->lineage.shard.last; p++) {
      int64_t low;
      if (!ks_lane_check(c->store, c->kafka, t, p, &c->lineage, err) || !ks_kafka_watermarks(c->kafka, t, p, &low, &c->targets[t][p], err)) return false;
    }
  }
  if (!c->options->until_caught_up) return true;
  struct ks_streams streams;
  if (!ks_store_streams(c->store, -1, -1, false, &streams, err)) return false;
  ks_progress_begin(&c->progress, "applying", "records", behind(c, &streams), c->options->quiet);
  ks_streams_free(&streams);
  return true;
}

void ks_catchup_end(struct ks_consumer *c) {
  for (int t = 0; t < KS_TOPIC_COUNT; t++) free(c->targets[t]);
}

static bool any_stopped(const struct ks_streams *streams) {
  for (int i = 0; i < streams->count; i++)
    if (streams->list[i].state == KS_STATE_STOPPED) return true;
  return false;
}

// A stream that stands stopped before an event which PostgreSQL refuses and a ruling, applied by now, excludes goes on. *freed: one did.
static bool free_excluded(struct ks_consumer *c, bool *freed, struct ks_error *err) {
  struct ks_rows rows;
  *freed = false;
  if (!ks_store_query(c->store,
                      "SELECT p.topic, p.partition, p.kind, p.next_offset, r.operands->>'offset' FROM keepsake.position p JOIN keepsake.ruling r USING (topic, partition)"
                      " WHERE p.state = 'stopped' AND r.act = 'exclude' AND starts_with(p.reason, '" KS_STOP_REFUSED " at offset ' || (r.operands->>'offset') || ':')",
                      0, NULL, &rows, err))
    return false;
  bool ok = true;
  for (int i = 0; ok && i < rows.count; i++) {
    const char *const values[] = {ks_rows_text(&rows, i, 0), ks_rows_text(&rows, i, 1), ks_rows_text(&rows, i, 2), ks_rows_text(&rows, i, 3)};
    enum ks_topic topic = ks_topic_find(ks_bytes_string(values[0]));
    enum ks_kind kind;
    struct ks_rows changed;
    // A ruling has no effect on what is no put or delete.
    ok = ks_lookahead_kind(c->kafka, topic, (int32_t)ks_rows_int(&rows, i, 1), c->lineage.partitions, ks_rows_int(&rows, i, 4), &kind, err);
    if (!ok || kind == KS_KIND_NONE || strcmp(ks_kind_name(kind), values[2]) != 0) continue;
    ok = ks_store_query(c->store,
                        "UPDATE keepsake.position SET state = 'live', reason = NULL, generation = generation + 1, updated_at = now()"
                        " WHERE topic = $1 AND partition = $2 AND kind = $3::keepsake.kind AND next_offset = $4 AND state = 'stopped'",
                        4, values, &changed, err);
    if (!ok) break;
    if (ks_rows_affected(&changed) > 0) {
      *freed = true;
      ks_log(KS_LOG_INFO, "a stream goes on past an excluded event", "topic", values[0], "partition", values[1], "kind", values[2], "offset", ks_rows_text(&rows, i, 4), NULL);
    }
    ks_rows_free(&changed);
  }
  ks_rows_free(&rows);
  return ok;
}

// Is the stream live in the database, but not among what our lane applies? Or behind where we had committed it to be (`reached`, looked at before the database was
// asked): a crash or a standby's promotion took the last commits back, and nothing new may come for long that would show it. Or is it a copy's, that took the place
// of ours?
static bool is_news(const struct ks_lane *lane, const struct ks_stream *stream, int64_t reached) {
  if (stream->state != KS_STATE_LIVE || lane->ended == KS_LANE_FENCED) return false;  // whoever fenced us has it
  if (lane->live & 1u << stream->kind && stream->next_offset < reached) {
    ks_log(KS_LOG_WARNING, "the database lost its last commits; applying them again", "topic", ks_topic_name(stream->topic), "partition", KS_LOG_INT(stream->partition),
           "kind", ks_kind_name(stream->kind), "offset", KS_LOG_INT(stream->next_offset), "was", KS_LOG_INT(reached), NULL);
    return true;
  }
  return !stream->home || !(lane->live & 1u << stream->kind) || (lane->ended == KS_LANE_STOPPED && stream->generation != lane->streams[stream->kind].generation);
}

static size_t place_of(const struct ks_consumer *c, int topic, int32_t partition, int kind) {
  return ((size_t)topic * (size_t)c->lineage.partitions + (size_t)partition) * KS_KIND_COUNT + (size_t)kind;
}

// How far our lanes have committed their streams.
static int64_t *positions_reached(const struct ks_consumer *c, struct ks_error *err) {
  int64_t *reached = calloc((size_t)c->lineage.partitions * KS_TOPIC_COUNT * KS_KIND_COUNT, sizeof *reached);
  if (!reached) return ks_error_memory(err), NULL;
  for (int t = 0; t < KS_TOPIC_COUNT; t++)
    for (int32_t p = 0; p < c->lineage.partitions; p++)
      for (int k = 0; c->lanes[t][p] && k < KS_KIND_COUNT; k++) reached[place_of(c, t, p, k)] = c->lanes[t][p]->reached[k];
  return reached;
}

static bool any_news(const struct ks_consumer *c, const struct ks_streams *streams, const int64_t *reached) {
  for (int i = 0; i < streams->count; i++) {
    const struct ks_stream *stream = &streams->list[i];
    const struct ks_lane *lane = stream->partition < c->lineage.partitions ? c->lanes[stream->topic][stream->partition] : NULL;
    if (lane && is_news(lane, stream, reached[place_of(c, stream->topic, stream->partition, stream->kind)])) return true;
  }
  return false;
}

static void look_at_end(struct ks_consumer *c, const struct ks_streams *streams) {
  int restoring = 0, stopped = 0;
  for (int i = 0; i < streams->count; i++) {
    const struct ks_stream *stream = &streams->list[i];
    restoring += stream->state == KS_STATE_RESTORING || stream->state == KS_STATE_LOADING;
    stopped += stream->state == KS_STATE_STOPPED;
  }
  c->result->restoring = restoring;
  c->result->stopped = stopped;
  int64_t left = behind(c, streams);
  ks_progress_update(&c->progress, left < c->progress.total ? c->progress.total - left : 0);
  c->caught_up = left == 0;
  if (c->caught_up) ks_progress_end(&c->progress);
}

// Courtesy to lag tools.
static void commit_positions(struct ks_consumer *c, const struct ks_streams *streams) {
  int64_t now = ks_clock_monotonic_ms();
  if (now - c->committed_ms < COMMIT_MS || !c->assigned) return;
  c->committed_ms = now;
  struct ks_place *places = calloc((size_t)streams->count + 1, sizeof *places);
  int count = 0;
  for (int i = 0; places && i < streams->count; i++) {
    const struct ks_stream *s = &streams->list[i];
    if (s->state != KS_STATE_LIVE || !c->lanes[s->topic][s->partition]) continue;
    if (count > 0 && places[count - 1].topic == s->topic && places[count - 1].partition == s->partition) {
      if (s->next_offset < places[count - 1].offset) places[count - 1].offset = s->next_offset;
    } else {
      places[count++] = (struct ks_place){s->topic, s->partition, s->next_offset};
    }
  }
  if (places) ks_group_commit(c->group, places, count, false);
  free(places);
}

bool ks_catchup_check(struct ks_consumer *c, struct ks_error *err) {
  struct ks_error why = {0};
  struct ks_streams streams = {0};
  if (!ks_store_can_write(c->store) && !ks_store_reopen(c->store, &why)) {
    if (why.kind != KS_ERROR_CONFIG) return true;  // the workers say how long it is away
    *err = why;  // dropped, or no longer ours to enter
    return false;
  }
  int64_t *reached = positions_reached(c, err);
  if (!reached) return false;
  bool freed = false, ok = ks_store_streams(c->store, -1, -1, false, &streams, &why) && (!any_stopped(&streams) || free_excluded(c, &freed, &why));
  if (!ok) {
    free(reached);
    ks_streams_free(&streams);
    if (why.kind == KS_ERROR_TRANSIENT) return true;
    *err = why;
    return false;
  }
  bool news = c->assigned && any_news(c, &streams, reached);
  free(reached);
  commit_positions(c, &streams);
  if (c->options->until_caught_up && !news && !freed) look_at_end(c, &streams);
  ks_streams_free(&streams);
  if (!news) return true;
  ks_log(KS_LOG_INFO, "taking streams that changed under us", NULL);
  return ks_assignment_take(c, err);
}
