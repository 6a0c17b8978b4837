// The consumer: follows both topics as a member of the group and keeps the database equal to the fold of the log up to its positions. Reads on one thread, applies
// on `connections` others; what it may not pass (a gap, an unknown control record, a foreign log) it stops before.
#ifndef KS_CONSUMER_CONSUMER_H
#define KS_CONSUMER_CONSUMER_H

#include "../core/kafka.h"
#include "../core/store_stream.h"

struct ks_consumer_options {
  struct ks_kafka_config kafka;
  const char *conninfo, *group, *instance_id;
  int connections, batch_ms, session_timeout_ms, poll_interval_ms, leave_after_ms, takeover_after_ms, statement_timeout_ms, backoff_max_ms, audit_interval_ms;
  int64_t batch_events, memory_bytes, dead_letter_limit;
  bool until_caught_up, quiet;
};

struct ks_consumer_result {
  int64_t events, batches, dead;
  int restoring, stopped;  // streams, at the end (until_caught_up only)
};

// Runs until a stop is asked (exit DONE), until caught up, or until something ends it (*err). Main thread.
enum ks_exit ks_consumer_run(const struct ks_consumer_options *options, struct ks_consumer_result *result, struct ks_error *err);

#endif
