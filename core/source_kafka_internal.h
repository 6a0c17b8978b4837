// What the two files of the live log share: source_kafka.c reads, source_kafka_watch.c asks whether what is read is still there. Nobody else includes it.
#ifndef KS_CORE_SOURCE_KAFKA_INTERNAL_H
#define KS_CORE_SOURCE_KAFKA_INTERNAL_H

#include "kafka_handle.h"
#include "source.h"

struct ks_log_part {
  struct ks_range range;
  int64_t next;         // the offset that comes next
  rd_kafka_topic_t *rkt;
  bool started;
  bool done;
  bool stuck_said;
  int64_t short_since_ms;  // the log has been shorter than `to` since; 0: it is not
};

struct ks_log_source {
  struct ks_source base;
  const struct ks_kafka_config *config;
  rd_kafka_t *rk;
  rd_kafka_t *ends;  // asked where partitions truly end; NULL until a range goes beyond what can be read
  rd_kafka_queue_t *queue;
  struct ks_log_part *parts;
  int count, undone;
  int *index[KS_TOPIC_COUNT];  // partition -> part, -1
  int32_t index_size[KS_TOPIC_COUNT];
  rd_kafka_message_t *message;
  struct ks_kafka_headers headers;
  struct ks_kafka_trouble trouble;
  int64_t last_message_ms, last_suspect_ms, down_since_ms;
  bool fresh;           // a message has come since the last wait
  bool failed;
};


// Fills *err with a loss that names what is missing of the part, given what the log holds; returns false.
bool ks_log_lost(struct ks_error *err, const struct ks_log_part *part, int64_t low, int64_t high);
// What the log holds of the part (*high also beyond a transaction that hangs), with patience: an error only where nothing could be learnt, a loss where the topic is gone.
bool ks_log_ask(struct ks_log_source *source, const struct ks_log_part *part, int64_t *low, int64_t *high, struct ks_error *err);
// Does the log hold all that is still to be read of the part? If not: a loss.
bool ks_log_covers(struct ks_log_source *source, const struct ks_log_part *part, struct ks_error *err);
// Waits for source->message, up to timeout_ms; true without one when nothing came. False: *err is set.
bool ks_log_wait(struct ks_log_source *source, int timeout_ms, struct ks_error *err);

#endif
