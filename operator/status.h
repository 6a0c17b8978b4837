// What `keepsake status` knows: read once, printed as text or JSON. One thread.
#ifndef KS_OPERATOR_STATUS_H
#define KS_OPERATOR_STATUS_H

#include "../core/json.h"
#include "../core/kafka.h"
#include "../core/store_stream.h"
#include "rulings_seen.h"

struct ks_status_place {  // one partition of one topic
  int64_t position;       // the lowest of its live and stopped streams; -1: none is
  int64_t end;            // of the log; -1: not known
};

struct ks_status {
  bool has_database, has_log;
  struct ks_error database_error, log_error;
  struct ks_lineage lineage;                  // the database's
  char log_lineage[KS_UUID_SIZE + 1];         // the log's; "": not known
  struct ks_streams streams;
  int32_t partitions;                         // of the log
  struct ks_shard shard;                      // of these, the database's; all, where no database says
  struct ks_status_place *places[KS_TOPIC_COUNT];
  int64_t lag;             // -1: not known
  double applied_per_s, published_per_s;  // -1: not known
  struct ks_rows dead_letters, sources, restores;
  struct ks_rulings_seen rulings;
};

// Reads what can be read: what cannot is told by has_… and its error. False only when a stop was asked or memory is out.
bool ks_status_read(struct ks_status *status, const struct ks_options *options, struct ks_error *err);
void ks_status_free(struct ks_status *status);

void ks_status_print(const struct ks_status *status);
bool ks_status_print_json(const struct ks_status *status);

// What to do about a stopped stream, by its reason; in a buffer of the caller.
const char *ks_status_next(char text[300], const struct ks_stream *stream);
// Seconds until the positions have reached the log's end at the present rates; -1: not known, or never.
int64_t ks_status_seconds_left(const struct ks_status *status);

#endif
