// Which log this is: the revision in a receipt needs its epoch, and an event must never go to another log than the one that was opened.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "publisher_internal.h"

static bool no_log(struct ks_error *err, const char *what) {
  ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "%s", what);
  return ks_error_hint(err, "Make the log, or complete it, with: keepsake init");
}

static bool read_topic(struct ks_kafka *kafka, enum ks_topic topic, struct ks_genesis *genesis, int64_t **last_offset,
                       struct ks_error *err) {
  char what[200];
  int32_t partitions = 0;
  if (!ks_kafka_partitions_of_log(kafka, topic, &partitions, err)) return false;
  if (partitions == 0) {
    snprintf(what, sizeof what, "the topic %s does not exist", ks_topic_name(topic));
    return no_log(err, what);
  }
  bool found = false;
  if (!ks_kafka_genesis(kafka, topic, 0, genesis, &found, err)) return false;
  if (!found) {
    snprintf(what, sizeof what, "partition 0 of %s has no genesis record", ks_topic_name(topic));
    return no_log(err, what);
  }
  if (genesis->partitions != partitions) {
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "%s has %d partitions, its genesis says %d", ks_topic_name(topic), (int)partitions,
                 (int)genesis->partitions);
    return ks_error_hint(err, "Partitions must never be added: users would move to other ones. Run: keepsake doctor");
  }
  *last_offset = calloc((size_t)partitions, sizeof **last_offset);
  if (!*last_offset) return ks_error_memory(err);
  // Partition 0 gets its genesis first; one that is empty still waits for its own, which must stand before all events.
  for (int32_t partition = 0; partition < partitions; partition++) {
    int64_t low, high;
    if (!ks_kafka_watermarks(kafka, topic, partition, &low, &high, err)) return false;
    (*last_offset)[partition] = high - 1;
    if (high > 0) continue;
    snprintf(what, sizeof what, "partition %d of %s has no genesis record", (int)partition, ks_topic_name(topic));
    return no_log(err, what);
  }
  return true;
}

bool ks_publisher_read_log(const struct ks_kafka_config *config, int timeout_ms, const struct ks_genesis *expected,
                           struct ks_genesis *genesis, int64_t *last_offset[KS_TOPIC_COUNT], struct ks_error *err) {
  struct ks_genesis blobs;
  int64_t *last[KS_TOPIC_COUNT] = {NULL};
  struct ks_kafka *kafka = ks_kafka_open(config, timeout_ms, err);
  if (!kafka) return false;
  bool ok = read_topic(kafka, KS_TOPIC_CHANGES, genesis, &last[KS_TOPIC_CHANGES], err) &&
            read_topic(kafka, KS_TOPIC_BLOBS, &blobs, &last[KS_TOPIC_BLOBS], err);
  ks_kafka_close(kafka);
  if (ok && (strcmp(genesis->lineage, blobs.lineage) != 0 || genesis->epoch != blobs.epoch || genesis->partitions != blobs.partitions)) {
    ok = ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "the topics are of different logs: lineage %s and %s", genesis->lineage,
                      blobs.lineage);
    ks_error_hint(err, "Run: keepsake doctor");
  }
  if (ok && expected && (strcmp(genesis->lineage, expected->lineage) != 0 || genesis->epoch != expected->epoch)) {
    ok = ks_error_set(err, KS_ERROR_LOST, KS_EXIT_REFUSED,
                      "the log was replaced while it was published to: lineage %s epoch %d before, %s epoch %d now", expected->lineage,
                      (int)expected->epoch, genesis->lineage, (int)genesis->epoch);
    ks_error_hint(err, "What was acknowledged before stood in the former log. Run: keepsake doctor");
  }
  for (int topic = 0; topic < KS_TOPIC_COUNT; topic++) {
    if (last_offset) last_offset[topic] = ok ? last[topic] : NULL;
    if (!ok || !last_offset) free(last[topic]);
  }
  return ok;
}
