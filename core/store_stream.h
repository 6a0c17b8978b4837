// Streams' positions and states in the database: who may advance what, from where, and the anchors that tie a position to its log. Every change of a position
// happens in the transaction that holds the rows it stands for.
#ifndef KS_CORE_STORE_STREAM_H
#define KS_CORE_STORE_STREAM_H

#include "event.h"
#include "fold.h"
#include "record.h"
#include "shard.h"
#include "store.h"

struct ks_lineage {
  char lineage[KS_UUID_SIZE + 1];
  int32_t epoch, partitions;
  struct ks_shard shard;  // the partitions that this database holds; all: it is no shard
};

enum ks_state { KS_STATE_RESTORING, KS_STATE_LOADING, KS_STATE_LIVE, KS_STATE_STOPPED };
const char *ks_state_name(enum ks_state state);

// The record at next_offset - 1, of whatever kind; offset -1: none yet.
struct ks_anchor {
  int64_t offset, time_ms;
  uint8_t hash[KS_HASH_BYTES];
};

struct ks_stream {
  enum ks_topic topic;
  int32_t partition;
  enum ks_kind kind;
  int32_t epoch, fold_version;
  int64_t next_offset, generation, live_at;
  struct ks_anchor anchor;
  enum ks_state state;
  bool home;  // this database is where the position was last held against the group's; false: a copy of it, which nobody has looked at yet
  char reason[400];
  struct ks_fold_counts counts;
};

struct ks_streams { struct ks_stream *list; int count; };
void ks_streams_free(struct ks_streams *streams);

// The database's lineage; *found false: `init` has not set it up.
bool ks_store_lineage(struct ks_store *store, struct ks_lineage *lineage, bool *found, struct ks_error *err);

// Refuses (exit 6) what is of a partition of which this database knows nothing because it is a shard.
bool ks_store_check_partition(struct ks_store *store, int32_t partition, const char *what, struct ks_error *err);

// All streams, or those of one topic (-1: both) and partition (-1: all), ordered by topic (changes first), partition, kind. `lock`: FOR UPDATE.
bool ks_store_streams(struct ks_store *store, int topic, int32_t partition, bool lock, struct ks_streams *streams, struct ks_error *err);

// Makes the caller the owner of a topic partition: bumps the generation of its live and stopped streams (a former owner's next batch then updates no row), and
// reads all its streams. Waits for a former owner's open transaction; when that takes longer than lock_timeout_ms, ends that backend if it is one of ours that
// has idled in its transaction for half of that time.
bool ks_store_claim(struct ks_store *store, enum ks_topic topic, int32_t partition, const char *owner, int lock_timeout_ms, struct ks_streams *streams, struct ks_error *err);

// Says that these partitions' positions were held against what the group had come to, here.
bool ks_store_settle(struct ks_store *store, enum ks_topic topic, int32_t partition, struct ks_error *err);

// The first statement of a batch: moves every stream of `streams` (at most KS_KIND_COUNT a partition) from next_offset to `next` with that anchor, if it is still
// live, ours and where we think. Any that is not: FENCED (nothing of the transaction may be committed).
struct ks_advance { const struct ks_stream *stream; int64_t next; const struct ks_anchor *anchor; };
bool ks_store_advance(struct ks_store *store, const struct ks_advance *advances, int count, struct ks_error *err);

// Adds a fold's counts to its streams' rows.
bool ks_store_add_counts(struct ks_store *store, const struct ks_fold *fold, struct ks_error *err);

// Sets a state with its reason ("" for none) on streams (set of kinds) of a partition; with generation >= 0 only where that is still the stream's. *changed: how many.
bool ks_store_set_state(struct ks_store *store, enum ks_topic topic, int32_t partition, unsigned kinds, int64_t generation, enum ks_state state, const char *reason,
                        int *changed, struct ks_error *err);

#endif
