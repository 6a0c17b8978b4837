// Applying a batch: one transaction that first advances the positions and then writes what the fold says. It decides what a failure means (done after all, do it
// again, narrow it down to one event, fenced) but never waits: whoever calls does.
#ifndef KS_CONSUMER_MATERIALIZE_H
#define KS_CONSUMER_MATERIALIZE_H

#include "lane.h"

struct ks_materializer {
  struct ks_store *store;
  int64_t dead_letter_limit;  // parts per ten thousand, -1: off
  int64_t docs_bytes_max;     // stored documents that one transaction may load; more: it is split
  // By topic and partition: the lanes of this worker.
  struct ks_lane **lanes[KS_TOPIC_COUNT];
  int32_t partitions;
  int64_t events, batches, dead;  // since the start
};

enum ks_outcome {
  KS_OUTCOME_DONE,       // committed, lanes moved
  KS_OUTCOME_AGAIN,      // nothing happened: the same batch again after a while (PostgreSQL is away, full, busy)
  KS_OUTCOME_FENCED,     // another owner: the lanes of the batch are marked lost
  KS_OUTCOME_FAILED,     // *err: this ends the program
};

// Applies records (pointers in log order within each partition; lanes that are lost are passed over). A record that PostgreSQL refuses although the verdict took it stops its
// stream alone; a partition over its dead-letter limit stops there; both are in the database then, and logged. After AGAIN the call is made again with the
// same records, which knows what was done of them already.
enum ks_outcome ks_materialize(struct ks_materializer *materializer, const struct ks_packed *const *records, size_t count, struct ks_error *err);

#endif
