#include "assignment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/backoff.h"
#include "../core/clock.h"
#include "../core/log.h"
#include "../core/stop.h"

enum { DRAIN_MS = 10000 };

// The lowest live position of each lane, for lag tools and as the high-water mark of an old dump. Lanes must be drained.
static int positions(const struct ks_consumer *c, struct ks_place *places) {
  int count = 0;
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    for (int32_t p = 0; p < c->lineage.partitions; p++) {
      const struct ks_lane *lane = c->lanes[t][p];
      int64_t lowest = -1;
      for (int k = 0; lane && k < KS_KIND_COUNT; k++)
        if (ks_lane_live(lane) & 1u << k && (lowest < 0 || lane->streams[k].next_offset < lowest)) lowest = lane->streams[k].next_offset;
      if (lowest >= 0 && !lane->ended) places[count++] = (struct ks_place){t, p, lowest};
    }
  }
  return count;
}

void ks_assignment_drop(struct ks_consumer *c, bool discard) {
  if (!c->workers || !c->lineage.partitions) return;
  for (int w = 0; w < c->options->connections; w++)
    if (c->workers[w] && !ks_worker_drain(c->workers[w], discard, DRAIN_MS)) ks_worker_drain(c->workers[w], true, -1);
  struct ks_place *places = calloc((size_t)c->lineage.partitions * KS_TOPIC_COUNT, sizeof *places);
  if (places && c->group && c->assigned && !c->left) ks_group_commit(c->group, places, positions(c, places), true);
  free(places);
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    for (int32_t p = 0; c->lanes[t] && p < c->lineage.partitions; p++) {
      if (!c->lanes[t][p]) continue;
      ks_worker_set_lane(ks_consumer_worker(c, p), t, p, NULL);
      ks_lane_free(c->lanes[t][p]);
      c->lanes[t][p] = NULL;
    }
  }
  c->assigned = false;
}

// What the group was told before, where it is above the database's position, means that this database is older than what handsets have heard.
static bool raise_live_at(struct ks_consumer *c, struct ks_error *err) {
  int64_t *committed = calloc((size_t)c->lineage.partitions, sizeof *committed);
  bool ok = committed || ks_error_memory(err);
  for (int t = 0; ok && t < KS_TOPIC_COUNT; t++) {
    ok = ks_kafka_committed(c->kafka, c->options->group, t, c->lineage.partitions, committed, err);
    for (int32_t p = 0; ok && p < c->lineage.partitions; p++) {
      const struct ks_lane *lane = c->lanes[t][p];
      if (!lane || lane->start < 0 || committed[p] <= lane->start) continue;
      char partition[16], offset[24];
      snprintf(partition, sizeof partition, "%d", p);
      snprintf(offset, sizeof offset, "%lld", (long long)committed[p]);
      struct ks_rows rows;
      ok = ks_store_query(c->store,
                          "UPDATE keepsake.position SET live_at = $3 WHERE topic = $1 AND partition = $2 AND state = 'live' AND next_offset < $3::bigint AND live_at < $3::bigint", 3,
                          (const char *const[]){ks_topic_name(t), partition, offset}, &rows, err);
      if (!ok) break;
      if (ks_rows_affected(&rows) > 0)
        ks_log(KS_LOG_WARNING, "this database is older than what the consumers had applied; readers hear `restoring` until it has caught up", "topic", ks_topic_name(t),
               "partition", partition, "until", offset, NULL);
      ks_rows_free(&rows);
    }
  }
  free(committed);
  return ok;
}

// The database may have been exchanged for another log's since we looked.
static bool same_lineage(struct ks_consumer *c, struct ks_error *err) {
  struct ks_lineage now;
  bool found;
  if (!ks_store_lineage(c->store, &now, &found, err)) return false;
  if (found && strcmp(now.lineage, c->lineage.lineage) == 0 && now.epoch == c->lineage.epoch && now.partitions == c->lineage.partitions) return true;
  ks_error_set(err, KS_ERROR_LOST, KS_EXIT_REFUSED, "the database belongs to another log now: its lineage is %s, it was %s", found ? now.lineage : "not set", c->lineage.lineage);
  return ks_error_hint(err, "Check -b/--brokers and -d/--database: they must belong together. Nothing was applied; `keepsake doctor` shows both.");
}

static bool take_once(struct ks_consumer *c, struct ks_error *err) {
  int count;
  const struct ks_place *list = ks_group_list(c->group, &count);
  struct ks_place *places = calloc((size_t)count + 1, sizeof *places);
  int started = 0;
  bool ok = places || ks_error_memory(err);
  ks_assignment_drop(c, false);
  if (ok && !ks_store_alive(c->store)) ok = ks_store_reopen(c->store, err);
  ok = ok && same_lineage(c, err);
  for (int i = 0; ok && i < count; i++) {
    if (list[i].partition >= c->lineage.partitions) {
      ks_error_set(err, KS_ERROR_LOST, KS_EXIT_REFUSED, "the topic %s has grown to more than the %d partitions of the database", ks_topic_name(list[i].topic), c->lineage.partitions);
      ok = ks_error_hint(err, "The number is fixed for a log's life: users' keys now go elsewhere. Nothing was applied; see docs/operations.md.");
      break;
    }
    struct ks_lane *lane = ks_lane_open(c->store, c->kafka, list[i].topic, list[i].partition, &c->lineage, c->owner, c->options->takeover_after_ms, err);
    if (!(ok = lane)) break;
    c->lanes[list[i].topic][list[i].partition] = lane;
    ks_worker_set_lane(ks_consumer_worker(c, list[i].partition), list[i].topic, list[i].partition, lane);
    if (lane->start >= 0) places[started++] = (struct ks_place){list[i].topic, list[i].partition, lane->start};
  }
  ok = ok && raise_live_at(c, err) && ks_group_start(c->group, places, started, err);
  free(places);
  if (ok) {
    c->assigned = true;
    c->fenced = c->torn = false;
    ks_log(KS_LOG_INFO, "partitions assigned", "count", KS_LOG_INT(count), "fetching", KS_LOG_INT(started), NULL);
  }
  return ok;
}

bool ks_assignment_take(struct ks_consumer *c, struct ks_error *err) {
  struct ks_backoff backoff = {.first_ms = 100, .max_ms = c->options->backoff_max_ms};
  int64_t begun = ks_clock_monotonic_ms();
  bool said = false;
  while (!take_once(c, err)) {
    if (err->kind != KS_ERROR_TRANSIENT) return false;
    if (!said) ks_log_error(KS_LOG_WARNING, "waiting to take partitions", err);
    said = true;
    if (ks_clock_monotonic_ms() - begun > c->options->leave_after_ms) {
      ks_log(KS_LOG_WARNING, "leaving the group until the servers are back", NULL);
      ks_assignment_drop(c, true);
      ks_group_leave(c->group);
      c->left = true;
      return true;
    }
    if (ks_stop_wait(ks_backoff_next(&backoff))) return true;
  }
  return true;
}
