// The watch on dead letters of one topic partition: of its last 10,000 events, how many could not be applied. Kept in the database, so that a restart does not
// forget; outside of what is compared, since it only decides when to stop and ask.
#ifndef KS_CONSUMER_HEALTH_H
#define KS_CONSUMER_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "../core/event.h"
#include "../core/store.h"

enum { KS_HEALTH_BLOCKS = 10, KS_HEALTH_BLOCK_EVENTS = 1000, KS_HEALTH_DEAD_MIN = 100 };

struct ks_health {
  int32_t events[KS_HEALTH_BLOCKS], dead[KS_HEALTH_BLOCKS];  // the newest block first
};

// Counts one event; `reason` NONE: it was no dead letter. Late and after-erase ones do not count as dead.
void ks_health_count(struct ks_health *health, enum ks_reason reason);
// Over the limit (parts per ten thousand, -1: off), and at least 100 dead letters?
bool ks_health_over(const struct ks_health *health, int64_t limit);

bool ks_health_load(struct ks_store *store, enum ks_topic topic, int32_t partition, struct ks_health *health, struct ks_error *err);
bool ks_health_save(struct ks_store *store, enum ks_topic topic, int32_t partition, const struct ks_health *health, struct ks_error *err);

#endif
