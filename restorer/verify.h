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
  int64_t upto;        // what is compared: the position; the log's end where it is not looked at
  const char *unseen;  // why it is not looked at; NULL: it is
  bool beyond;         // that is: the log ends below its position
  unsigned lost;       // tables (1 << table) of the stream that are not there
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
  bool digests;  // of dead letters' bytes suffice
  size_t memory_bytes;
  struct ks_report report;
  struct ks_distinct met;   // people
  int64_t rows, events;   // compared, folded
  int not_looked_at;      // streams that are restoring
  int beyond, unreadable;
  struct ks_census *census;  // NULL: not asked for
  int64_t max_rate, reading_ms, read;  // rows a second, since when, so far
};

bool ks_verify_wants(const void *verify, struct ks_bytes user);

// Chooses --sample people among those whom the database knows.
bool ks_verify_sample(struct ks_verify *verify, struct ks_store *store, int64_t wanted, struct ks_error *err);
// Makes room for the looks and the database's rows.
bool ks_verify_begin_database(struct ks_verify *verify, int streams, struct ks_error *err);
void ks_verify_end_database(struct ks_verify *verify);
// Reads one stream's rows, but of tables that are not there (1 << table); the caller's transaction is the snapshot.
bool ks_verify_read_stream(struct ks_verify *verify, struct ks_store *store, const struct ks_stream *stream, unsigned lost, struct ks_error *err);
// All of that for all streams that are not being restored, each partition in one snapshot.
bool ks_verify_read_database(struct ks_verify *verify, struct ks_store *store, struct ks_error *err);
bool ks_verify_partition_wanted(const struct ks_verify *verify, int32_t partition);

// Reads the log, each stream to exactly its position.
bool ks_verify_read_log(struct ks_verify *verify, struct ks_error *err);

// Folds a stream group by group and compares each with the rows that were read, both of the same people: verify->people, or everybody. `group_end` (or NULL) is called while the group's rows are still there.
struct ks_comparison {
  ks_compare_on *on;
  bool same;  // also rows that are equal are told
  bool (*group_end)(void *arg, struct ks_error *err);
  void *arg;
};
bool ks_verify_compare_stream(struct ks_verify *verify, struct ks_look *look, const struct ks_comparison *comparison, struct ks_fold_counts *counts, struct ks_error *err);
// Position, anchor, epoch and fold version against the log.
bool ks_verify_check_position(struct ks_verify *verify, const struct ks_look *look, struct ks_error *err);
// What is wrong with a stream itself: tables, position, anchor, counts; told one by one.
typedef bool ks_verify_problem(void *arg, const struct ks_look *look, const char *text, struct ks_error *err);
bool ks_verify_check_stream(struct ks_verify *verify, const struct ks_look *look, const struct ks_fold_counts *expected, ks_verify_problem *on, void *arg, struct ks_error *err);
// All streams that were read, into the report.
bool ks_verify_compare(struct ks_verify *verify, struct ks_error *err);

#endif
