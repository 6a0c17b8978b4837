// Rulings that operators give with `consume --exclude` and `--accept-gap`: each is held against the database and the log, shown, and published in the partition that it is
// about; consumers then meet it like any other. It writes no row but the states of streams that a ruling lets go on. What a ruling says cannot be taken back, so
// whatever is in doubt is refused. Main thread, before the consumer runs.
#ifndef KS_CONSUMER_RULING_H
#define KS_CONSUMER_RULING_H

#include "../core/kafka.h"
#include "../core/place.h"
#include "../core/store_stream.h"

struct ks_ruling_request {
  bool accept_gap;
  struct ks_place place;  // of the event, or of the first missing offset
  int64_t last;           // accept-gap: the last missing offset
  // Filled by the checks.
  int64_t standing;       // the ruling stands in the log already, there; -1: it does not
  struct ks_buf about;    // for people: lines of what is known about it
  struct ks_ruling ruling;
};

struct ks_ruling_desk {
  const struct ks_options *options;
  const struct ks_kafka_config *config;
  struct ks_kafka *kafka;
  struct ks_store *store;
  struct ks_lineage lineage;
};

// Reads --exclude and --accept-gap; *list is the caller's (ks_ruling_requests_free), *count 0 where neither was given. Usage errors only.
bool ks_ruling_requests_read(const struct ks_options *options, struct ks_ruling_request **list, int *count, struct ks_error *err);
void ks_ruling_requests_free(struct ks_ruling_request *list, int count);

// Whether the ruling may be given, or stands already; fills in the rest of the request. Else exit 6, saying why; exit 7 where the log is not the database's.
bool ks_ruling_check(const struct ks_ruling_desk *desk, struct ks_ruling_request *request, struct ks_error *err);

// Checks all, shows all, asks (unless --yes), publishes what does not stand yet, and lets streams that stood before an accepted gap go on. With --dry-run it only shows.
bool ks_rulings_give(const struct ks_ruling_desk *desk, struct ks_ruling_request *list, int count, struct ks_error *err);

#endif
