#include "catchup.h"

#include <stdlib.h>

#include "../core/clock.h"
#include "../core/log.h"
#include "assignment.h"

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
    for (int32_t p = 0; p < c->lineage.partitions; p++) {
      int64_t low;
      if (!ks_kafka_watermarks(c->kafka, t, p, &low, &c->targets[t][p], err)) return false;
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

// A stopped stream that stands before an event which a ruling now excludes goes on.
static bool free_excluded(struct ks_consumer *c, struct ks_error *err) {
  c->ruling_met = false;
  struct ks_rows rows;
  if (!ks_store_query(c->store,
                      "UPDATE keepsake.position p SET state = 'live', reason = NULL, generation = generation + 1 FROM keepsake.ruling r WHERE p.state = 'stopped'"
                      " AND r.act = 'exclude' AND r.topic = p.topic AND r.partition = p.partition AND (r.operands->>'offset')::bigint = p.next_offset RETURNING p.topic",
                      0, NULL, &rows, err))
    return false;
  if (rows.count > 0) ks_log(KS_LOG_INFO, "streams go on past excluded events", "count", KS_LOG_INT(rows.count), NULL);
  ks_rows_free(&rows);
  return true;
}

// Is the stream live in the database, but not among what our lane applies?
static bool is_news(const struct ks_lane *lane, const struct ks_stream *stream) {
  if (stream->state != KS_STATE_LIVE || lane->ended == KS_LANE_FENCED) return false;  // whoever fenced us has it
  return !(lane->live & 1u << stream->kind) || (lane->ended == KS_LANE_STOPPED && stream->generation != lane->streams[stream->kind].generation);
}

static bool any_news(const struct ks_consumer *c, const struct ks_streams *streams) {
  for (int i = 0; i < streams->count; i++) {
    const struct ks_stream *stream = &streams->list[i];
    const struct ks_lane *lane = stream->partition < c->lineage.partitions ? c->lanes[stream->topic][stream->partition] : NULL;
    if (lane && is_news(lane, stream)) return true;
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
  if (!ks_store_alive(c->store) && !ks_store_reopen(c->store, &why)) return true;  // the workers say how long it is away
  bool ok = (!c->ruling_met || free_excluded(c, &why)) && ks_store_streams(c->store, -1, -1, false, &streams, &why);
  if (!ok) {
    if (why.kind == KS_ERROR_TRANSIENT) return true;
    *err = why;
    return false;
  }
  bool news = c->assigned && any_news(c, &streams);
  commit_positions(c, &streams);
  if (c->options->until_caught_up && !news) look_at_end(c, &streams);
  ks_streams_free(&streams);
  if (!news) return true;
  ks_log(KS_LOG_INFO, "streams have become live; taking them", NULL);
  return ks_assignment_take(c, err);
}
