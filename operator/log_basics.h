// What mark, erase and doctor first need to know about the log.
#ifndef KS_OPERATOR_LOG_BASICS_H
#define KS_OPERATOR_LOG_BASICS_H

#include "../core/kafka.h"

struct ks_log_basics {
  int32_t partitions;
  struct ks_genesis genesis;  // of keepsake.changes/0
};

// Both topics are there with one count, and keepsake.changes/0 has its genesis; else exit 6 with the hint `keepsake init`.
bool ks_log_basics_read(struct ks_kafka *kafka, struct ks_log_basics *basics, struct ks_error *err);

#endif
