// What the consumer's main thread holds. For consumer/*.c only.
#ifndef KS_CONSUMER_CONSUMER_INTERNAL_H
#define KS_CONSUMER_CONSUMER_INTERNAL_H

#include "../core/event.h"
#include "../core/progress.h"
#include "consumer.h"
#include "group.h"
#include "lane.h"
#include "worker.h"

struct ks_consumer {
  const struct ks_consumer_options *options;
  struct ks_consumer_result *result;
  char owner[120];
  struct ks_kafka *kafka;
  struct ks_store *store;  // for claims, states and checks; the workers have their own
  struct ks_group *group;
  struct ks_worker **workers;
  struct ks_lineage lineage;
  char group_name[KS_SHARD_GROUP];
  int32_t partitions[KS_TOPIC_COUNT];
  struct ks_lane **lanes[KS_TOPIC_COUNT];  // by partition; NULL: not ours
  int *worker_of;                          // by partition
  struct ks_scratch scratch;
  bool assigned;    // the group has given us partitions
  bool left;        // we left the group for a while
  bool fenced;      // a worker has said so since the last check
  bool torn;        // a record could not be taken: the partitions must be taken anew
  bool caught_up;
  int64_t away_ms;  // how long PostgreSQL has been away
  int64_t checked_ms, talked_ms, talked_events, committed_ms, audited_ms;
  bool unsafe[KS_TOPIC_COUNT];  // the last audit found the topic's settings unsafe
  struct ks_progress progress;  // of a finite run
  int64_t *targets[KS_TOPIC_COUNT];  // until caught up: the watermarks at the start, by partition
};

static inline struct ks_worker *ks_consumer_worker(const struct ks_consumer *c, int32_t partition) { return c->workers[c->worker_of[partition]]; }

#endif
