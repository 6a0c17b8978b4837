// The rulings that status and doctor list: those that the database has applied, and those that stand in the log ahead of it, as far as that is cheaply known. One thread.
#ifndef KS_OPERATOR_RULINGS_SEEN_H
#define KS_OPERATOR_RULINGS_SEEN_H

#include "../core/json.h"
#include "../core/kafka.h"
#include "../core/store_stream.h"

struct ks_ruling_seen {
  enum ks_topic topic;
  int32_t partition;
  int64_t offset;       // where it stands
  bool accept_gap;
  int64_t first, last;  // the excluded offset, or the offsets that are accepted for lost (the lowest first of any kind)
  bool applied;         // else it stands in the log only
};

struct ks_rulings_seen {
  struct ks_ruling_seen *list;
  int count;
  bool not_all;  // a partition is too far behind to be looked ahead in
};

// What the database has.
bool ks_rulings_seen_applied(struct ks_rulings_seen *seen, struct ks_store *store, struct ks_error *err);
// What stands ahead of the streams of kind none, in partitions where that is not far.
bool ks_rulings_seen_ahead(struct ks_rulings_seen *seen, const struct ks_kafka_config *config, struct ks_kafka *kafka, const struct ks_streams *streams, int32_t partitions,
                           struct ks_error *err);
void ks_rulings_seen_free(struct ks_rulings_seen *seen);

// "excludes offset 97, stands at 140".
void ks_ruling_seen_text(const struct ks_ruling_seen *ruling, char text[160]);
// {"topic":…,"partition":…,"offset":…,"act":…,"first":…,"last":…,"applied":…}; NULL: out of memory.
struct ks_json *ks_ruling_seen_json(const struct ks_ruling_seen *ruling);

#endif
