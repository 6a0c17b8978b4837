// One topic partition that is ours: its streams as the database has them, its rulings, its fold, and the watch on its dead letters. Made at an assignment
// after everything about its log was checked; from then on it is its worker's alone, until the worker has been drained.
#ifndef KS_CONSUMER_LANE_H
#define KS_CONSUMER_LANE_H

#include <stdatomic.h>

#include "../core/fold.h"
#include "../core/kafka.h"
#include "../core/store_fold.h"
#include "../core/store_stream.h"
#include "health.h"

// How the reasons begin that are written beside stopped streams.
#define KS_STOP_GAP "gap"
#define KS_STOP_REFUSED "refused-by-postgresql"

enum ks_lane_end { KS_LANE_GOES_ON, KS_LANE_STOPPED, KS_LANE_FENCED };

struct ks_lane {
  enum ks_topic topic;
  int32_t partition;
  struct ks_stream streams[KS_KIND_COUNT];
  unsigned kinds;             // which of them there are
  struct ks_fold *fold;
  struct ks_rulings rulings;
  struct ks_health health;
  int64_t expected;           // next offset from Kafka; main thread's
  bool torn;                  // a record could not be taken: nothing after it is, until the partition is taken anew; main thread's
  int64_t start;              // where fetching began: the lowest live stream's position
  int64_t end_seen, stuck_at, stuck_since_ms;  // the end up to which it was read; since when nothing has come though the log holds more (stuck.h); main thread's
  bool stuck_said;
  // What the main thread may look at while the worker works.
  _Atomic unsigned live;      // ks_lane_live, as of the last change
  _Atomic int64_t reached[KS_KIND_COUNT];  // the streams' positions after the last commit; -1: none
  _Atomic int ended;          // enum ks_lane_end: nothing of it is applied any more
  // Of the batch being applied.
  const struct ks_packed *last;
  int64_t until;              // records at or above it are left alone: the partition stops there
  const char *stop_reason;    // why, NULL: it does not
};

// Claims the topic partition and checks its log: lineage, partition count, watermarks, every stream's anchor. A lane without live stream has start -1. NULL on failure: exit 6
// (another lineage or count), 7 (shorter or expired log, anchor mismatch), or what the servers said.
struct ks_lane *ks_lane_open(struct ks_store *store, struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, const struct ks_lineage *lineage, const char *owner,
                             int lock_timeout_ms, struct ks_error *err);
// The same checks without claiming anything: for a run that is to say that all is well, though it may get no partition, or find nothing to do.
bool ks_lane_check(struct ks_store *store, struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, const struct ks_lineage *lineage, struct ks_error *err);
void ks_lane_free(struct ks_lane *lane);

// The live streams of the lane, as a set of kinds.
unsigned ks_lane_live(const struct ks_lane *lane);
// Sets the state of these streams as the database has it now.
void ks_lane_set_state(struct ks_lane *lane, unsigned kinds, enum ks_state state);
// Sets it in the database, within the caller's transaction, each stream under its own generation. *ours false: one of them has another owner, do not commit.
bool ks_lane_store_state(struct ks_store *store, const struct ks_lane *lane, unsigned kinds, enum ks_state state, const char *reason, bool *ours, struct ks_error *err);

#endif
