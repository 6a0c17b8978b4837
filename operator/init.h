// The steps of `keepsake init`, each safe to repeat and to be run by two at once.
#ifndef KS_OPERATOR_INIT_H
#define KS_OPERATOR_INIT_H

#include "../core/kafka.h"
#include "../core/store_stream.h"

struct ks_init {
  bool dry_run, json;
  const char *conninfo;
  struct ks_kafka_config config;
  struct ks_kafka *kafka;
  struct ks_store *store;       // NULL in a dry run beside a missing database
  int32_t wanted_partitions;    // 0: not said
  int wanted_replication;       // 0: not said
  bool is_shard_wanted;
  struct ks_shard wanted_shard;
  struct ks_lineage known;      // what the database belongs to
  bool is_known;
  int32_t partitions;           // of the log
  char lineage[KS_UUID_SIZE + 1];
  int32_t epoch;
  bool fresh;                   // the log begins at 0 with an epoch-1 genesis and holds neither event nor ruling
};

// One line about what was done: "topic keepsake.changes: made, 8 partitions".
void ks_init_say(const struct ks_init *init, const char *what, const char *name, const char *outcome, const char *detail);

// The database is there and can be reached; what it belongs to is known. Makes it where it is missing.
bool ks_init_database(struct ks_init *init, struct ks_error *err);
// Both topics are there with safe settings and one count. Nothing is made where the database says that there was a log.
bool ks_init_topics(struct ks_init *init, struct ks_error *err);
// Every partition begins with a genesis of one lineage, that of keepsake.changes/0.
bool ks_init_genesis(struct ks_init *init, struct ks_error *err);
// The schema is up to date, and the database belongs to the log.
bool ks_init_schema(struct ks_init *init, struct ks_error *err);

#endif
