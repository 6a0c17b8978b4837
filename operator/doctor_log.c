// The log's own part: its lineage, and that every partition begins where it began.
#include <stdio.h>
#include <string.h>

#include "doctor.h"

#define LOST_LOG "docs/operations.md, \"The log has lost records\""
#define OTHER_LOG "docs/operations.md, \"It is not the log of this database\""

struct seen {
  char lineage[KS_UUID_SIZE + 1];
  int32_t epoch;
  int good;
};

static void look_at_genesis(struct ks_doctor *doctor, enum ks_topic topic, int32_t partition, struct seen *seen) {
  char place[64], value[128];
  int64_t low, high;
  struct ks_genesis genesis;
  struct ks_error err;
  bool found;
  snprintf(place, sizeof place, "%s/%d", ks_topic_name(topic), (int)partition);
  if (!ks_kafka_watermarks(doctor->kafka, topic, partition, &low, &high, &err)) {
    ks_doctor_add_error(doctor, place, "first offset", KS_FOUND_UNKNOWN, &err);
    return;
  }
  if (low > 0) {
    snprintf(value, sizeof value, "%lld", (long long)low);
    ks_doctor_add(doctor, place, "first offset", value, "log", KS_FOUND_LOST, "the records below are gone: nothing that needs them can be rebuilt from this log", LOST_LOG);
    return;
  }
  if (!ks_kafka_genesis(doctor->kafka, topic, partition, &genesis, &found, &err)) {
    ks_doctor_add_error(doctor, place, "genesis", KS_FOUND_UNKNOWN, &err);
    return;
  }
  if (!found) {
    ks_doctor_add(doctor, place, "genesis", "none", "log", doctor->has_lineage ? KS_FOUND_LOST : KS_FOUND_UNSAFE,
                  doctor->has_lineage ? "the topic was made anew: it is not the log that the database was made from" : "init was not finished", doctor->has_lineage ? OTHER_LOG : "keepsake init");
    return;
  }
  if (!seen->lineage[0]) {
    memcpy(seen->lineage, genesis.lineage, sizeof seen->lineage);
    seen->epoch = genesis.epoch;
  }
  bool same = strcmp(seen->lineage, genesis.lineage) == 0 && seen->epoch == genesis.epoch;
  if (same && genesis.partition == partition && genesis.partitions == doctor->partitions) {
    seen->good++;
    return;
  }
  snprintf(value, sizeof value, "%s epoch %d, %d of %d", genesis.lineage, (int)genesis.epoch, (int)genesis.partition, (int)genesis.partitions);
  ks_doctor_add(doctor, place, "genesis", value, "log", KS_FOUND_UNSAFE, "it is not that of keepsake.changes/0: a topic was made anew, grown, or copied from elsewhere", OTHER_LOG);
}

void ks_doctor_look_at_log(struct ks_doctor *doctor) {
  struct seen seen = {0};
  char value[128];
  if (!doctor->kafka || doctor->partitions == 0) return;
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    int32_t have = 0;
    struct ks_error err;
    if (!ks_kafka_partitions(doctor->kafka, (enum ks_topic)t, &have, &err)) continue;  // told already
    for (int32_t p = 0; p < have; p++) look_at_genesis(doctor, (enum ks_topic)t, p, &seen);
  }
  if (seen.lineage[0]) {
    bool same = !doctor->has_lineage || (strcmp(seen.lineage, doctor->lineage.lineage) == 0 && seen.epoch == doctor->lineage.epoch);
    snprintf(value, sizeof value, "%s epoch %d", seen.lineage, (int)seen.epoch);
    ks_doctor_add(doctor, "log", "lineage", value, "log", same ? KS_FOUND_OK : KS_FOUND_UNSAFE, "it is not the log that the database was made from", OTHER_LOG);
    snprintf(value, sizeof value, "%d of %d", seen.good, (int)doctor->partitions * KS_TOPIC_COUNT);
    ks_doctor_add(doctor, "log", "genesis records", value, "log", KS_FOUND_OK, NULL, NULL);
  }
  ks_doctor_add(doctor, "log", "trimming", "not supported", "keepsake", KS_FOUND_OK, NULL, NULL);
}
