// What `keepsake doctor` looks at, in parts that each add findings. One thread.
#ifndef KS_OPERATOR_DOCTOR_H
#define KS_OPERATOR_DOCTOR_H

#include "../core/kafka_audit.h"
#include "../core/options.h"
#include "../core/store_stream.h"

enum ks_found {
  KS_FOUND_OK,
  KS_FOUND_WARNING,
  KS_FOUND_UNKNOWN,  // could not be looked at
  KS_FOUND_UNSAFE,
  KS_FOUND_LOST,
};

struct ks_finding {
  char *subject, *name, *value, *source, *consequence, *mend;  // owned, never NULL
  enum ks_found verdict;
};

struct ks_doctor {
  const struct ks_options *options;
  struct ks_kafka_config config;
  struct ks_kafka *kafka;  // NULL: not to be reached, or none given
  struct ks_store *store;  // NULL: the same
  bool has_schema, has_lineage, failed;  // failed: memory was out
  struct ks_lineage lineage;
  struct ks_streams streams;
  int32_t partitions;      // of the log; 0: no topics
  enum ks_exit unreachable;  // KS_EXIT_DONE, 8 or 9
  struct ks_finding *findings;
  int count, capacity;
};

// Adds a finding; all texts are copied, NULL is "". `consequence` and `mend` belong to verdicts that are not ok.
void ks_doctor_add(struct ks_doctor *doctor, const char *subject, const char *name, const char *value, const char *source, enum ks_found verdict, const char *consequence,
                   const char *mend);
// An error as a finding of that verdict.
void ks_doctor_add_error(struct ks_doctor *doctor, const char *subject, const char *name, enum ks_found verdict, const struct ks_error *err);

void ks_doctor_look_at_kafka(struct ks_doctor *doctor);     // brokers, topics, their settings, replicas
void ks_doctor_look_at_log(struct ks_doctor *doctor);       // lineage, genesis, first offsets
void ks_doctor_look_at_positions(struct ks_doctor *doctor); // positions, anchors, lag, states
void ks_doctor_look_at_database(struct ks_doctor *doctor);  // settings, roles, sessions
void ks_doctor_forecast(struct ks_doctor *doctor);          // disks

#endif
