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
    ok = ks_kafka_committed(c->kafka, c->group_name, t, c->lineage.partitions, committed, err);
    for (int32_t p = 0; ok && p < c->lineage.partitions; p++) {
      const struct ks_lane *lane = c->lanes[t][p];
      ks_group_note(c->group, &(struct ks_place){t, p, committed[p]});
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
  bool same = found && strcmp(now.lineage, c->lineage.lineage) == 0 && now.epoch == c->lineage.epoch && now.partitions == c->lineage.partitions;
  if (same && now.shard.first == c->lineage.shard.first && now.shard.last == c->lineage.shard.last) return true;
  if (same) {
    char range[KS_SHARD_TEXT], before[KS_SHARD_TEXT];
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_REFUSED, "the database holds partitions %s now, it held %s: it was exchanged for another one", ks_shard_text(now.shard, range),
                 ks_shard_text(c->lineage.shard, before));
    return ks_error_hint(err, "Start keepsake consume anew if that is meant: each shard has a consumer group of its own. Nothing was applied.");
  }
  ks_error_set(err, KS_ERROR_LOST, KS_EXIT_REFUSED, "the database belongs to another log now: its lineage is %s, it was %s", found ? now.lineage : "not set", c->lineage.lineage);
  return ks_error_hint(err, "Check -b/--brokers and -d/--database: they must belong together. Nothing was applied; `keepsake doctor` shows both.");
}

// Claims one partition of both topics.
static bool take_partition(struct ks_consumer *c, int32_t partition, int worker, struct ks_place *places, int *started, struct ks_error *err) {
  c->worker_of[partition] = worker;
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    struct ks_lane *lane = ks_lane_open(c->store, c->kafka, t, partition, &c->lineage, c->owner, c->options->takeover_after_ms, err);
    if (!lane) return false;
    c->lanes[t][partition] = lane;
    ks_worker_set_lane(ks_consumer_worker(c, partition), t, partition, lane);
    if (lane->start >= 0) places[(*started)++] = (struct ks_place){t, partition, lane->start};
  }
  return true;
}

// Whoever is given a partition of keepsake.changes has it of both topics: so a user's streams are on one member, however the group divides keepsake.blobs. Of a shard only the
// range's partitions are taken; each of them has one owner, since each has one in the group.
static bool take_list(struct ks_consumer *c, const struct ks_place *list, int count, struct ks_place *places, int *taken, int *started, struct ks_error *err) {
  for (int i = 0; i < count; i++) {
    if (list[i].partition < c->lineage.partitions) continue;
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_REFUSED, "the topic %s has grown to more than the %d partitions of the database", ks_topic_name(list[i].topic), c->lineage.partitions);
    return ks_error_hint(err, "The number is fixed for a log's life: users' keys now go elsewhere. Nothing was applied; see docs/operations.md.");
  }
  for (int i = 0; i < count; i++) {
    if (list[i].topic != KS_TOPIC_CHANGES || !ks_shard_holds(c->lineage.shard, list[i].partition)) continue;
    if (!take_partition(c, list[i].partition, *taken / KS_TOPIC_COUNT % c->options->connections, places, started, err)) return false;
    *taken += KS_TOPIC_COUNT;
  }
  return true;
}

// Our partitions of this database are not older than what readers have heard, or known to be.
static bool settle(const struct ks_consumer *c, struct ks_error *err) {
  for (int t = 0; t < KS_TOPIC_COUNT; t++)
    for (int32_t p = 0; p < c->lineage.partitions; p++)
      if (c->lanes[t][p] && !ks_store_settle(c->store, t, p, err)) return false;
  return true;
}

static bool take_once(struct ks_consumer *c, struct ks_error *err) {
  int count, taken = 0, started = 0;
  const struct ks_place *list = ks_group_list(c->group, &count);
  struct ks_place *places = calloc((size_t)count * KS_TOPIC_COUNT + 1, sizeof *places);
  bool ok = places || ks_error_memory(err);
  ks_assignment_drop(c, false);
  if (ok && !ks_store_can_write(c->store)) ok = ks_store_reopen(c->store, err);
  ok = ok && same_lineage(c, err) && take_list(c, list, count, places, &taken, &started, err) && raise_live_at(c, err) && settle(c, err) && ks_group_start(c->group, places, started, err);
  free(places);
  if (ok) {
    c->assigned = true;
    c->fenced = c->torn = false;
    ks_log(KS_LOG_INFO, "partitions assigned", "count", KS_LOG_INT(taken), "fetching", KS_LOG_INT(started), NULL);
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
      // An assignment that is not answered keeps librdkafka from ever joining again; giving back what was not taken yet is no answer to it.
      if (!ks_group_start(c->group, NULL, 0, err)) return false;
      ks_group_leave(c->group);
      c->left = true;
      return true;
    }
    if (ks_stop_wait(ks_backoff_next(&backoff))) return true;
  }
  return true;
}
