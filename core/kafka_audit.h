// What the settings of topics and brokers mean for Keepsake's promises: one table of rules for init, doctor and the consumer's own audit. Pure: it judges
// what core/kafka.h has read. Any thread.
#ifndef KS_CORE_KAFKA_AUDIT_H
#define KS_CORE_KAFKA_AUDIT_H

#include "kafka.h"

enum ks_verdict {
  KS_VERDICT_OK,
  KS_VERDICT_WARNING,  // works, but a fault could cost more than it should
  KS_VERDICT_UNSAFE,   // a promise does not hold
};

struct ks_audit {
  const char *setting;
  char value[128], source[16];
  enum ks_verdict verdict;
  const char *consequence;  // "" where the verdict is ok
  char mend[320];           // the command or setting that mends it, or ""
};

enum { KS_AUDIT_MAX = 16 };

// Judges a topic's settings given how many replicas its partitions have; `brokers` goes into the commands. Returns how many findings there are.
int ks_audit_topic(const struct ks_kafka_settings *settings, enum ks_topic topic, int replicas, const char *brokers, struct ks_audit findings[KS_AUDIT_MAX]);
// The same for a broker among `count`.
int ks_audit_broker(const struct ks_kafka_settings *settings, int32_t broker, int count, struct ks_audit findings[KS_AUDIT_MAX]);

#endif
