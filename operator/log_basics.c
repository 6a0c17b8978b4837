#include "log_basics.h"

bool ks_log_basics_read(struct ks_kafka *kafka, struct ks_log_basics *basics, struct ks_error *err) {
  int32_t have[KS_TOPIC_COUNT];
  bool found;
  for (int t = 0; t < KS_TOPIC_COUNT; t++) {
    if (!ks_kafka_partitions_of_log(kafka, (enum ks_topic)t, &have[t], err)) return false;
    if (have[t] > 0) continue;
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "there is no topic %s", ks_topic_name((enum ks_topic)t));
    return ks_error_hint(err, "Run keepsake init; if it was there before, run keepsake doctor.");
  }
  if (have[0] != have[1]) {
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "the topics have %d and %d partitions, which must be the same", (int)have[0], (int)have[1]);
    return ks_error_hint(err, "Run keepsake doctor.");
  }
  if (!ks_kafka_genesis(kafka, KS_TOPIC_CHANGES, 0, &basics->genesis, &found, err)) return false;
  basics->partitions = have[0];
  if (found && basics->genesis.partitions == have[0]) return true;
  if (found) ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "the log was made with %d partitions and has %d", (int)basics->genesis.partitions, (int)have[0]);
  else ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "keepsake.changes/0 has no genesis record");
  return ks_error_hint(err, found ? "Run keepsake doctor." : "Run keepsake init; if it was there before, run keepsake doctor.");
}
