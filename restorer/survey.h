// What there is before anything is done: the database's log, its streams and where they stand, and the log itself. It refuses what does not belong together.
#ifndef KS_RESTORER_SURVEY_H
#define KS_RESTORER_SURVEY_H

#include "../core/kafka.h"
#include "../core/options.h"
#include "../core/store.h"
#include "../core/store_stream.h"
#include "gather.h"
#include "people.h"

struct ks_survey {
  struct ks_lineage lineage;
  struct ks_streams streams;
  int32_t partitions;                  // of the log
  struct ks_shard shard;               // those that are looked at: the database's; all, where no database says
  bool readable_only;                  // ends are where reading ends for now: what a transaction that hangs hides is not waited for
  int64_t *high[KS_TOPIC_COUNT];       // the log's end by partition
  int64_t *committed[KS_TOPIC_COUNT];  // what the consumer group has committed, -1: nothing; NULL before ks_survey_group
};

void ks_survey_free(struct ks_survey *survey);

// Lineage and streams. Exit 6 when the database was not set up.
bool ks_survey_database(struct ks_store *store, struct ks_survey *survey, struct ks_error *err);

// Partition counts and ends of both topics. With survey->partitions already known (from the database): refuses another count (exit 6) and another lineage or epoch.
// A topic that is not there, or whose first records are not: exit 7. Other shards' partitions are left alone, whatever has become of them.
bool ks_survey_log(struct ks_kafka *kafka, struct ks_survey *survey, struct ks_error *err);

// People of whom this database knows nothing because it is a shard and they are another's: exit 6.
bool ks_survey_check_people(const struct ks_survey *survey, const struct ks_people *people, struct ks_error *err);

// "" for a database of all partitions; else `before`, the range and `after`, in a buffer of the caller.
const char *ks_survey_shard_text(const struct ks_survey *survey, const char *before, const char *after, char text[80]);

// How far consumers of the database that share the group had come (`group` as --group says it). A log that ends below that has lost its end: exit 7.
bool ks_survey_group(struct ks_kafka *kafka, const char *group, struct ks_survey *survey, struct ks_error *err);

// Every gathered partition's genesis must name the survey's lineage, epoch and partition count (exit 6), and epoch 1 (a later one needs the former's archive: 7).
bool ks_survey_check_genesis(const struct ks_survey *survey, const struct ks_gather *gather, struct ks_error *err);

// A set of kinds (1 << kind) from --kinds or --kind: "contact,note"; all for NULL.
unsigned ks_survey_kinds(const char *names);

// Connections and folders that several acts share.
const char *ks_spill_folder(const struct ks_options *options);

#endif
