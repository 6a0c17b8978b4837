// One pass over the log, from each partition's first record: every record is judged once, packed, and set apart by stream and user in a spill, so that streams can be
// folded afterwards in any order and in bounded memory. On the way everything is learned that a fold must know first: rulings, gaps, genesis, anchors. It writes
// nothing but temporary files. The caller's thread runs it and is told now and then; the reading is done by threads of its own.
#ifndef KS_RESTORER_GATHER_H
#define KS_RESTORER_GATHER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../core/fold.h"
#include "../core/kafka.h"
#include "../core/source.h"
#include "../core/spill.h"
#include "../core/store_stream.h"
#include "distinct.h"

struct ks_gap { int64_t from, to; };

// One topic partition.
struct ks_gather_part {
  // Set by the caller.
  enum ks_topic topic;
  int32_t partition;
  int64_t to;                        // offsets 0 <= o < to are read
  int64_t upto[KS_KIND_COUNT];       // by stream: records below are kept; 0: the stream is not wanted
  int64_t anchor_at[KS_KIND_COUNT];  // by stream: the offset whose record is to be hashed; -1: none

  // Learned.
  struct ks_genesis genesis;
  bool has_genesis;
  struct ks_rulings rulings;              // all, wherever they stand
  struct ks_anchor anchor[KS_KIND_COUNT]; // offset -1: the log gave no such record
  int64_t records[KS_KIND_COUNT], bytes[KS_KIND_COUNT];
  int64_t mark_at;  // the last mark of the wanted name; -1

  // Its own.
  int64_t read;  // has been read up to there
  struct ks_spill *spill;
  int first_bucket;
  struct ks_gap *gaps;
  int gap_count;
  int64_t unknown_at;  // the first control record that nobody may pass; -1
};

struct ks_gather {
  // Set by the caller; the parts are the caller's.
  struct ks_source *(*open)(const struct ks_kafka_config *config, const struct ks_range *ranges, int count, struct ks_error *err);  // NULL: the live log
  const struct ks_kafka_config *kafka;
  int32_t partitions;
  int readers;
  int64_t max_rate;  // records a second; 0: no limit
  size_t memory_bytes;
  const char *folder;
  struct ks_gather_part *parts;
  int part_count;
  int fan;                                       // buckets of each stream; 0: chosen by the log's length
  bool (*wants)(const void *arg, struct ks_bytes user);  // NULL: everybody, and what has no user
  const void *wants_arg;
  const char *mark;      // a mark's name, or NULL
  bool keep;             // folding leaves the records in place: they will be folded again
  struct ks_distinct *users, *items;  // NULL: not counted; items: KS_KIND_COUNT of them

  atomic_int_fast64_t done;
  struct ks_spill *spills[2];
  int spill_count;
};

// Called in the caller's thread about ten times a second while reading. False ends the pass with *err.
typedef bool ks_gather_tick(void *arg, int64_t done, int64_t total, struct ks_error *err);

// Reads it all; called again, what has come since, where a part's `to` has grown. False: cannot be read or stopped (as the source says), exit 7 for a gap that no ruling accepts or a log without genesis, 6 for a record that this
// program may not pass.
bool ks_gather_run(struct ks_gather *gather, ks_gather_tick *tick, void *arg, struct ks_error *err);
// So many buckets a stream that one of them is about a sixteenth of the memory.
int ks_gather_fan(int64_t records, enum ks_topic topic, size_t memory_bytes);
int64_t ks_gather_total(const struct ks_gather *gather);
int64_t ks_gather_spilled(const struct ks_gather *gather);
// Frees what it has learned and kept, not the list of parts.
void ks_gather_free(struct ks_gather *gather);

// In which of `fan` buckets a user's records of a stream are; blobs are set apart by set, since one person's photos may be larger than memory. *everywhere: an
// erasure of blobs goes to every bucket, and counts in the user's own.
uint64_t ks_gather_hash(const struct ks_packed *record, enum ks_kind stream, bool *everywhere);
uint64_t ks_gather_hash_user(struct ks_bytes user);
uint64_t ks_gather_hash_set(struct ks_bytes user, struct ks_bytes sha256, int32_t chunks, int64_t size_bytes);
static inline int ks_gather_bucket(uint64_t hash, int fan) { return (int)((hash & 0xffffffff) % (unsigned)fan); }
static inline int ks_gather_subbucket(uint64_t hash, int fan) { return (int)((hash >> 32) % (unsigned)fan); }

#endif
