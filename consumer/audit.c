#include "audit.h"

#include "../core/clock.h"
#include "../core/kafka_audit.h"
#include "../core/log.h"

// The first unsafe finding, or NULL.
static const struct ks_audit *first_unsafe(const struct ks_audit *findings, int count) {
  for (int i = 0; i < count; i++)
    if (findings[i].verdict == KS_VERDICT_UNSAFE) return &findings[i];
  return NULL;
}

static bool audit_topic(struct ks_consumer *c, enum ks_topic topic, bool at_start, struct ks_error *err) {
  struct ks_kafka_settings settings;
  struct ks_audit findings[KS_AUDIT_MAX];
  struct ks_error why = {0};
  int replicas, in_sync;
  int32_t leader;
  const char *name = ks_topic_name(topic);
  if (!ks_kafka_replicas(c->kafka, topic, 0, &replicas, &in_sync, &leader, &why) || !ks_kafka_topic_settings(c->kafka, topic, &settings, &why)) {
    ks_log_error(KS_LOG_WARNING, "cannot look at the topic's settings", &why);
    return true;
  }
  const struct ks_audit *unsafe = first_unsafe(findings, ks_audit_topic(&settings, topic, replicas, c->options->kafka.brokers, findings));
  ks_kafka_settings_free(&settings);
  if (unsafe && at_start) {
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "%s has %s=%s: %s", name, unsafe->setting, unsafe->value, unsafe->consequence);
    return ks_error_hint(err, "Mend it: %s", unsafe->mend);
  }
  if (unsafe && !c->unsafe[topic])
    ks_log(KS_LOG_ERROR, "the topic's settings have become unsafe", "topic", name, "setting", unsafe->setting, "value", unsafe->value, "consequence", unsafe->consequence, "mend",
           unsafe->mend, NULL);
  if (!unsafe && c->unsafe[topic]) ks_log(KS_LOG_INFO, "the topic's settings are safe again", "topic", name, NULL);
  c->unsafe[topic] = unsafe;
  return true;
}

bool ks_consumer_audit(struct ks_consumer *c, bool at_start, struct ks_error *err) {
  c->audited_ms = ks_clock_monotonic_ms();
  for (int t = 0; t < KS_TOPIC_COUNT; t++)
    if (!audit_topic(c, t, at_start, err)) return false;
  return true;
}
