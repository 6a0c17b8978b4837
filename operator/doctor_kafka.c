#include <stdio.h>
#include <string.h>

#include "doctor.h"

static enum ks_found found_of(enum ks_verdict verdict) {
  return verdict == KS_VERDICT_OK ? KS_FOUND_OK : verdict == KS_VERDICT_WARNING ? KS_FOUND_WARNING : KS_FOUND_UNSAFE;
}

static void add_audit(struct ks_doctor *doctor, const char *subject, const struct ks_audit *findings, int count) {
  for (int i = 0; i < count; i++) {
    const struct ks_audit *f = &findings[i];
    ks_doctor_add(doctor, subject, f->setting, f->value, f->source, found_of(f->verdict), f->consequence, f->mend);
  }
}

// Who holds the partitions, and how many of them are in sync. Returns the replicas of the partition that has the fewest.
static int look_at_replicas(struct ks_doctor *doctor, enum ks_topic topic, int32_t partitions) {
  int fewest = 1000, behind = 0, leaderless = 0;
  char value[64];
  struct ks_error err;
  for (int32_t p = 0; p < partitions; p++) {
    int replicas, in_sync;
    int32_t leader;
    if (!ks_kafka_replicas(doctor->kafka, topic, p, &replicas, &in_sync, &leader, &err)) {
      ks_doctor_add_error(doctor, ks_topic_name(topic), "replicas", KS_FOUND_UNKNOWN, &err);
      return 1;
    }
    if (replicas < fewest) fewest = replicas;
    behind += in_sync < replicas;
    leaderless += leader < 0;
  }
  snprintf(value, sizeof value, "%d", fewest);
  ks_doctor_add(doctor, ks_topic_name(topic), "replicas", value, "brokers", fewest >= 3 ? KS_FOUND_OK : KS_FOUND_WARNING,
                fewest == 1 ? "one disk holds the only copy: its loss loses the log" : "the loss of one broker leaves one copy", "kafka-reassign-partitions.sh: three replicas, on three brokers");
  snprintf(value, sizeof value, "%d of %d", (int)partitions - behind, (int)partitions);
  ks_doctor_add(doctor, ks_topic_name(topic), "partitions in sync", value, "brokers", leaderless ? KS_FOUND_UNSAFE : behind ? KS_FOUND_WARNING : KS_FOUND_OK,
                leaderless ? "partitions without a leader can be neither published to nor read" : "a broker is away or behind: another loss may stop publishing",
                "start the brokers that are down, and look at their logs");
  return fewest;
}

static void look_at_topic(struct ks_doctor *doctor, enum ks_topic topic) {
  struct ks_kafka_settings settings;
  struct ks_audit findings[KS_AUDIT_MAX];
  struct ks_error err;
  char value[32], wanted[200];
  int32_t partitions;
  if (!ks_kafka_partitions(doctor->kafka, topic, &partitions, &err)) {
    ks_doctor_add_error(doctor, ks_topic_name(topic), "partitions", KS_FOUND_UNKNOWN, &err);
    return;
  }
  if (partitions == 0) {
    ks_doctor_add(doctor, ks_topic_name(topic), "topic", "not there", "brokers", doctor->has_lineage ? KS_FOUND_LOST : KS_FOUND_UNSAFE,
                  doctor->has_lineage ? "the database was made from a log that is not here: it was deleted, or this is another cluster" : "there is no log",
                  doctor->has_lineage ? "keep the database: it is the last copy; docs/operations.md, \"The log has lost records\"" : "keepsake init");
    return;
  }
  int32_t expected = doctor->has_lineage ? doctor->lineage.partitions : doctor->partitions ? doctor->partitions : partitions;
  if (topic == KS_TOPIC_CHANGES) doctor->partitions = partitions;
  snprintf(value, sizeof value, "%d", (int)partitions);
  snprintf(wanted, sizeof wanted, "people's changes are looked for in other partitions than they are in: %d were and must be there", (int)expected);
  ks_doctor_add(doctor, ks_topic_name(topic), "partitions", value, "brokers", partitions == expected ? KS_FOUND_OK : KS_FOUND_UNSAFE, wanted,
                "partitions cannot be taken away: stop publishing; docs/operations.md, \"The number of partitions changed\"");
  int replicas = look_at_replicas(doctor, topic, partitions);
  if (!ks_kafka_topic_settings(doctor->kafka, topic, &settings, &err)) {
    ks_doctor_add_error(doctor, ks_topic_name(topic), "settings", KS_FOUND_UNKNOWN, &err);
    return;
  }
  add_audit(doctor, ks_topic_name(topic), findings, ks_audit_topic(&settings, topic, replicas, doctor->config.brokers, findings));
  ks_kafka_settings_free(&settings);
}

static void look_at_brokers(struct ks_doctor *doctor) {
  enum { MAX = 64 };
  int32_t ids[MAX];
  int count;
  char subject[32], value[32];
  struct ks_error err;
  if (!ks_kafka_brokers(doctor->kafka, ids, MAX, &count, &err)) {
    ks_doctor_add_error(doctor, "kafka", "brokers", KS_FOUND_UNKNOWN, &err);
    return;
  }
  snprintf(value, sizeof value, "%d", count);
  ks_doctor_add(doctor, "kafka", "cluster", ks_kafka_cluster_id(doctor->kafka), "brokers", KS_FOUND_OK, NULL, NULL);
  ks_doctor_add(doctor, "kafka", "brokers", value, "brokers", count >= 3 ? KS_FOUND_OK : KS_FOUND_WARNING, "fewer than three brokers cannot hold three copies", "add brokers");
  for (int i = 0; i < count; i++) {
    struct ks_kafka_settings settings;
    struct ks_audit findings[KS_AUDIT_MAX];
    snprintf(subject, sizeof subject, "broker %d", (int)ids[i]);
    if (!ks_kafka_broker_settings(doctor->kafka, ids[i], &settings, &err)) {
      ks_doctor_add_error(doctor, subject, "settings", KS_FOUND_UNKNOWN, &err);
      continue;
    }
    add_audit(doctor, subject, findings, ks_audit_broker(&settings, ids[i], count, findings));
    ks_kafka_settings_free(&settings);
  }
}

void ks_doctor_look_at_kafka(struct ks_doctor *doctor) {
  if (!doctor->kafka) return;
  look_at_brokers(doctor);
  for (int t = 0; t < KS_TOPIC_COUNT; t++) look_at_topic(doctor, (enum ks_topic)t);
}
