// Looking further on in the log without folding: for a ruling on a gap, and for what a ruling excludes. Main thread.
#ifndef KS_CONSUMER_LOOKAHEAD_H
#define KS_CONSUMER_LOOKAHEAD_H

#include "../core/event.h"
#include "../core/fold.h"
#include "../core/kafka.h"

// Gathers the partition's rulings that stand at or above `from`.
bool ks_lookahead_rulings(const struct ks_kafka_config *config, struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, int32_t partitions, int64_t from,
                          struct ks_rulings *rulings, struct ks_error *err);

// The streams that have records of the log, or were touched by an erasure, among the offsets that an accept-gap ruling says are lost to them (set of kinds).
bool ks_lookahead_accepted(const struct ks_kafka_config *config, enum ks_topic topic, int32_t partition, int32_t partitions, unsigned kinds, const struct ks_ruling *ruling,
                           unsigned *present, struct ks_error *err);

// The stream of the valid put or delete at that offset; KS_KIND_NONE where there is none (then an exclusion has no effect).
bool ks_lookahead_kind(struct ks_kafka *kafka, enum ks_topic topic, int32_t partition, int32_t partitions, int64_t offset, enum ks_kind *kind, struct ks_error *err);

#endif
