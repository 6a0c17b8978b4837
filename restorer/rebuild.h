// A rebuild: streams that are restoring are folded from the whole log and put live, kind after kind. Between the parts of `restore rebuild` only.
#ifndef KS_RESTORER_REBUILD_H
#define KS_RESTORER_REBUILD_H

#include <stdatomic.h>

#include "../core/json.h"
#include "../core/options.h"
#include "../core/progress.h"
#include "folding.h"
#include "gather.h"
#include "journal.h"
#include "survey.h"

enum { KS_REBUILD_PHOTO_BYTES_MS = 64 << 10 };  // assumed for photo bytes: 64 MiB a second

// One stream that is rebuilt.
struct ks_target {
  struct ks_stream *stream;  // of the survey
  struct ks_gather_part *part;
  int64_t old_items, old_others;  // rows that it has now
  int64_t items, others;          // rows that were loaded
  bool live;
};

struct ks_rebuild_kind {
  int streams, live;
  int64_t events, bytes, items_about, old_items, old_others;
  int64_t items, others;
  int64_t done_ms;  // after the rebuild's beginning
  bool items_exact;
};

// Streams that --again names (set of kinds).
struct ks_again {
  enum ks_topic topic;
  int32_t partition;
  unsigned kinds;
};

struct ks_rebuild {
  const struct ks_options *options;
  struct ks_kafka_config kafka;
  struct ks_store *control;  // bookkeeping and locks
  struct ks_survey survey;
  struct ks_gather gather;
  struct ks_gather_part *parts;
  struct ks_target *targets;
  int target_count;
  struct ks_again *again;
  int again_count;
  unsigned kinds;
  struct ks_rebuild_kind kind[KS_KIND_COUNT];
  struct ks_distinct users, items[KS_KIND_COUNT];
  struct ks_journal journal;
  const char *phase;
  int64_t begun_ms, load_begun_ms, read_ms;
  int64_t total, estimate_ms, load_rate;  // records to load; of the last rebuild, 0: none
  atomic_int_fast64_t loaded;             // records
  bool json, quiet;
};

// --again: reads it (once the survey is made; usage errors, exit 6 for another shard's partition), says whether it means that stream, shows what stands and is meant, and makes
// that restoring, from where this or any later rebuild takes it.
bool ks_rebuild_again_read(struct ks_rebuild *rebuild, struct ks_error *err);
bool ks_rebuild_again_asked(const struct ks_rebuild *rebuild, const struct ks_stream *stream);
void ks_rebuild_again_print(const struct ks_rebuild *rebuild);
bool ks_rebuild_again_begin(struct ks_rebuild *rebuild, struct ks_error *err);

// The plan on stdout: for people, or one object.
bool ks_rebuild_plan_print(struct ks_rebuild *rebuild, struct ks_error *err);
struct ks_json *ks_rebuild_plan_json(struct ks_rebuild *rebuild);
// How far it is, for keepsake.restore.
struct ks_json *ks_rebuild_progress(struct ks_rebuild *rebuild);
// What was done, on stdout.
bool ks_rebuild_result_print(struct ks_rebuild *rebuild, struct ks_error *err);
// "12.3 MiB"
const char *ks_rebuild_size_text(int64_t bytes, char text[32]);

// Loads all targets, kind after kind, over --connections connections. What has been put live stays so whatever happens.
bool ks_rebuild_load(struct ks_rebuild *rebuild, struct ks_error *err);

#endif
