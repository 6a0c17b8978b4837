// A thread with one connection that applies the batches of its partitions, one after another, while the next one fills. It waits out PostgreSQL's absences; what
// it holds is bounded, and when that is full the reader waits. Functions are for the main thread; a lane is touched by it only while the worker is drained.
#ifndef KS_CONSUMER_WORKER_H
#define KS_CONSUMER_WORKER_H

#include "lane.h"
#include "materialize.h"

struct ks_worker;

struct ks_worker_options {
  const char *conninfo;
  int32_t partitions;
  int64_t dead_letter_limit, batch_events, batch_bytes;
  int batch_ms, backoff_max_ms, statement_timeout_ms;
};

struct ks_worker *ks_worker_start(const struct ks_worker_options *options, struct ks_error *err);

// The worker's from now on, or (lane NULL) no longer. Only while drained.
void ks_worker_set_lane(struct ks_worker *worker, enum ks_topic topic, int32_t partition, struct ks_lane *lane);

// Adds a judged record to the batch that fills; false when there is no room now (*full) or memory is out.
bool ks_worker_add(struct ks_worker *worker, const struct ks_record *record, const struct ks_event *event, bool *full);
// Waits until there is room or timeout_ms have passed.
void ks_worker_wait(struct ks_worker *worker, int timeout_ms);

// Waits until nothing is in work: all that was added has been applied, or (discard) is forgotten but for a batch already begun. False when it failed, or
// PostgreSQL is away and the rest could not be applied within timeout_ms (-1: no limit): then discard it.
bool ks_worker_drain(struct ks_worker *worker, bool discard, int timeout_ms);

struct ks_worker_report {
  bool failed, fenced;  // failed: `error` ends the program; fenced: a lane was lost to another owner, cleared by asking
  int64_t away_ms;               // how long PostgreSQL has been away, 0: it is there
  int64_t events, batches, dead;
  struct ks_error error;
};
void ks_worker_report(struct ks_worker *worker, struct ks_worker_report *report);

// Ends after the batch in work; what only waits is forgotten.
void ks_worker_stop(struct ks_worker *worker);

#endif
