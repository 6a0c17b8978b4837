// verify: the database held against the log. Between verify*.c only.
#ifndef KS_RESTORER_VERIFY_H
#define KS_RESTORER_VERIFY_H

#include "../core/options.h"
#include "folding.h"
#include "gather.h"
#include "people.h"
#include "report.h"
#include "survey.h"

// A stream that is looked at, as it stood in its partition's snapshot.
struct ks_look {
  struct ks_stream stream;
  struct ks_gather_part *part;
  int lane_bucket;
  bool beyond;         // the log ends below its position
  struct ks_buf late;  // dead letters of blobs, which do not say to which photo's bucket they belong
};

struct ks_verify {
  const struct ks_options *options;
  struct ks_kafka_config kafka;
  struct ks_survey survey;
  struct ks_gather gather;
  struct ks_gather_part *parts;
  struct ks_look *looks;
  int look_count;
  struct ks_spill *lane;  // the database's rows
  struct ks_people people;
  uint64_t sample_below;  // people whose hash is not above are looked at
  bool all, deep, quiet, json;
  size_t memory_bytes;
  struct ks_report report;
  struct ks_census met;   // people
  int64_t rows, events;   // compared, folded
  int not_looked_at;      // streams that are restoring
  int beyond;
};

bool ks_verify_wants(const void *verify, struct ks_bytes user);

// Chooses --sample people among those whom the database knows.
bool ks_verify_sample(struct ks_verify *verify, struct ks_store *store, int64_t wanted, struct ks_error *err);
// Reads the rows of all streams that are not being restored, each partition in one snapshot.
bool ks_verify_read_database(struct ks_verify *verify, struct ks_store *store, struct ks_error *err);
// Reads the log and compares stream by stream.
bool ks_verify_read_log(struct ks_verify *verify, struct ks_error *err);
bool ks_verify_compare(struct ks_verify *verify, struct ks_error *err);

#endif
