#include "stuck.h"

#include "../core/clock.h"
#include "../core/log.h"

void ks_stuck_at_end(struct ks_lane *lane, int64_t offset) { lane->end_seen = offset; }

static void look_at(struct ks_consumer *c, struct ks_lane *lane, int64_t now_ms) {
  int64_t high = ks_group_high(c->group, lane->topic, lane->partition);
  // Behind the end that was seen it is our own work that is waited for, not the log.
  bool hidden = lane->expected == lane->end_seen && high > lane->expected;
  if (!hidden || lane->stuck_at != lane->expected) {
    lane->stuck_said = false;
    lane->stuck_at = hidden ? lane->expected : -1;
    lane->stuck_since_ms = now_ms;
    return;
  }
  if (lane->stuck_said || now_ms - lane->stuck_since_ms < c->options->kafka.stuck_after_ms) return;
  lane->stuck_said = true;
  ks_log(KS_LOG_WARNING, "last stable offset stuck: a transaction hangs and hides what comes after it", "topic", ks_topic_name(lane->topic), "partition",
         KS_LOG_INT(lane->partition), "offset", KS_LOG_INT(lane->expected), "end", KS_LOG_INT(high), "next",
         "kafka-transactions.sh find-hanging and abort; Keepsake's gateways use none, see docs/operations.md", NULL);
}

void ks_stuck_look(struct ks_consumer *c) {
  int64_t now_ms = ks_clock_monotonic_ms();
  for (int t = 0; t < KS_TOPIC_COUNT; t++)
    for (int32_t p = 0; p < c->lineage.partitions; p++) {
      struct ks_lane *lane = c->lanes[t][p];
      if (lane && !lane->ended && !lane->torn && lane->start >= 0) look_at(c, lane, now_ms);
    }
}
