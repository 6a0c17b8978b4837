// The fold: what a log's prefix means (docs/fold.md). Pure: no I/O, no clock, nothing random. Consumer, rebuild, repair, verify and show all apply records
// here and write what it holds. One fold is one topic partition: all its streams, or some, of all users or of some; its memory is what it is given.
// It borrows all bytes of the packed records that are applied and of the rows that are loaded: they must live until reset. One thread.
//
// A *complete* fold starts from nothing (rebuild, verify): what it has not seen does not exist. Another starts in the middle (consumer, repair): ks_fold_want says
// which rows an event touches, the caller loads these, and only then applies it.
#ifndef KS_CORE_FOLD_H
#define KS_CORE_FOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "event.h"
#include "packed.h"
#include "table.h"

// Rulings on one topic partition, gathered before and while folding. Zero-initialize. A ruling that itself stands in a range which a later one accepts does not
// count: the fold is the same whether a source has the accepted offsets or not.
struct ks_rulings {
  struct ks_ruling_met { int64_t offset; struct ks_ruling ruling; } *met;  // by where they stand, the highest first
  int met_count;
  bool settled;       // the two lists below are made from `met`
  int64_t *excluded;  // sorted offsets
  int excluded_count;
  struct ks_accepted_gap { int64_t from[KS_KIND_COUNT], to; } *gaps;
  int gap_count;
};
// Adds the ruling that stands at that offset; a known one is no error. False: out of memory.
bool ks_rulings_add(struct ks_rulings *rulings, int64_t offset, const struct ks_ruling *ruling);
bool ks_rulings_excluded(struct ks_rulings *rulings, int64_t offset);
// True when that offset of that stream is to be skipped.
bool ks_rulings_accepted(struct ks_rulings *rulings, enum ks_kind stream, int64_t offset);
// True when a ruling accepts that the offsets from <= o < to are missing for each of these streams (set of kinds).
bool ks_rulings_explain(struct ks_rulings *rulings, unsigned kinds, int64_t from, int64_t to);
void ks_rulings_free(struct ks_rulings *rulings);

// One user's rows in one stream.
struct ks_fold_user {
  uint64_t hash;
  struct ks_bytes user;
  uint8_t kind;        // the stream's
  bool loaded;         // marks (and, where an erasure is wanted, windows) are known
  bool wants_all;      // an erasure is about to be applied: all windows must be loaded
  bool erased;         // an erasure was applied since reset: the store deletes the user's rows of the stream before it writes ours
  int64_t mark;        // revision of the newest mark; 0: none
  struct ks_fold_mark *marks;
  struct ks_fold_item *items;
  struct ks_fold_window *windows;
  struct ks_fold_blob *blobs;
};

struct ks_fold_item {
  struct ks_fold_user *user;
  struct ks_fold_item *next;  // of the user
  struct ks_bytes item, source, doc;
  int64_t revision, sequence;  // sequence -1: none
  bool loaded;    // what the store holds is known
  bool stored;    // the store holds a row
  bool present;   // there is a state now (document or tombstone)
  bool deleted;
  bool has_doc;   // `doc` is known (always, but for a loaded document that nobody asked for)
  bool dirty;     // differs from what the store holds
  bool asked;     // whoever loads documents has asked for this one
};

struct ks_fold_window {
  struct ks_fold_user *user;
  struct ks_fold_window *next;
  struct ks_bytes source;
  int64_t top, closed;  // closed -1: never
  uint64_t mask;
  bool loaded, stored, present, dirty;
};

struct ks_fold_mark {
  struct ks_fold_mark *next;
  struct ks_fold_user *user;
  struct ks_bytes id;
  int64_t revision;
  bool fresh;  // applied here, to be written
};

struct ks_fold_chunk {
  struct ks_bytes bytes;  // null: in the store
  int64_t revision;
  bool fresh;
};

struct ks_fold_blob {
  struct ks_fold_user *user;
  struct ks_fold_blob *next;
  struct ks_bytes sha256;
  int32_t chunks, present_count;
  int64_t size_bytes;
  bool loaded, stored, complete, dirty;
  bool emptied;  // was emptied since reset: the store deletes its chunks before it writes ours
  uint64_t present[KS_CHUNKS_MAX / 64];
  struct ks_fold_chunk *chunk;  // `chunks` of them, or NULL while none is there
};

enum ks_conflict_why { KS_CONFLICT_PUT_PUT, KS_CONFLICT_PUT_OVER_DELETE, KS_CONFLICT_DELETE_LOST };
const char *ks_conflict_why_name(enum ks_conflict_why why);

struct ks_fold_conflict {
  struct ks_fold_user *user;
  struct ks_bytes item, lost_source, lost_doc;
  int64_t revision, lost_revision, lost_sequence;
  enum ks_conflict_why why;
  bool dropped;  // the person was erased since
};

struct ks_fold_dead {
  const struct ks_packed *record;
  uint8_t stream;
  enum ks_reason reason;
  bool keep_bytes;
  bool forgotten;  // of an erased person: no source either, and nothing of what the verdict saw
};

struct ks_fold_counts {
  int64_t applied, repeat, superseded, conflict, dead, erased, control;  // add up to the stream's records
  int64_t late, jump, unsequenced;
};

// A list of pointers or of structs that the fold fills; read only outside.
struct ks_fold_list {
  void *data;
  size_t count, capacity;
};

struct ks_fold {
  // Set by the caller before the first apply; kept over a reset.
  enum ks_topic topic;
  int32_t partition, epoch;
  bool complete;
  int64_t next[KS_KIND_COUNT];  // by stream: offsets below are skipped; INT64_MAX: not this stream
  struct ks_rulings *rulings;   // borrowed; may grow while folding; NULL: none

  // Results since the last reset. The pointers in users, items, windows and blobs stand in the order in which they were met.
  struct ks_fold_list users, items, windows, blobs, marks;  // of pointers
  struct ks_fold_list conflicts, dead, rulings_met;         // of struct ks_fold_conflict, ks_fold_dead, const struct ks_packed *
  struct ks_fold_counts counts[KS_KIND_COUNT];
  enum ks_reason last_dead;  // of the last apply: the reason if it became a dead letter, else NONE

  // The fold's own.
  struct ks_fold_item *needed_item;
  struct ks_fold_blob *needed_blob;
  struct ks_table user_table, item_table, window_table, blob_table;
  struct ks_arena arena;
};

enum ks_fold_result {
  KS_FOLD_DONE,
  KS_FOLD_NEEDS_DOC,  // an item's document must be loaded first: ks_fold_needed_item; then apply again
  KS_FOLD_NEEDS_CHUNKS,  // a blob's stored chunks must be loaded first: ks_fold_needed_blob; then apply again
  KS_FOLD_STOP,       // an unknown control type or fold version: nobody goes past this record (exit 6)
  KS_FOLD_MEMORY,
};

// A fold of one topic partition with no stream enabled: set next[] for those wanted. Free with ks_fold_free.
struct ks_fold *ks_fold_new(enum ks_topic topic, int32_t partition, int32_t epoch, bool complete);
void ks_fold_free(struct ks_fold *fold);
// Forgets all rows and results; keeps what the caller set.
void ks_fold_reset(struct ks_fold *fold);
// Enables the kinds of this set (1 << kind) that the topic has, from that offset on.
void ks_fold_enable(struct ks_fold *fold, unsigned kinds, int64_t next);

// Applies one record.
enum ks_fold_result ks_fold_apply(struct ks_fold *fold, const struct ks_packed *record);
struct ks_fold_item *ks_fold_needed_item(const struct ks_fold *fold);
struct ks_fold_blob *ks_fold_needed_blob(const struct ks_fold *fold);

// Makes entries, not yet loaded, for all rows that this record touches (users for marks, items, windows, blobs). False: out of memory.
bool ks_fold_want(struct ks_fold *fold, const struct ks_packed *record);
// Whether this record may need its item's stored document; call after the rows are loaded. Says yes too often rather than too seldom.
bool ks_fold_may_need_doc(struct ks_fold *fold, const struct ks_packed *record, struct ks_fold_item **item);

// The entry of a key; made if it is not there (NULL: out of memory). For loading rows and for looking at results.
struct ks_fold_user *ks_fold_user(struct ks_fold *fold, enum ks_kind stream, struct ks_bytes user);
struct ks_fold_item *ks_fold_item(struct ks_fold *fold, struct ks_fold_user *user, struct ks_bytes item);
struct ks_fold_window *ks_fold_window(struct ks_fold *fold, struct ks_fold_user *user, struct ks_bytes source);
struct ks_fold_blob *ks_fold_blob(struct ks_fold *fold, struct ks_fold_user *user, struct ks_bytes sha256, int32_t chunks, int64_t size_bytes);
bool ks_fold_blob_has(const struct ks_fold_blob *blob, int32_t chunk);
bool ks_fold_blob_put(struct ks_fold *fold, struct ks_fold_blob *blob, int32_t chunk, struct ks_bytes bytes, int64_t revision, bool fresh);
bool ks_fold_mark(struct ks_fold *fold, struct ks_fold_user *user, struct ks_bytes id, int64_t revision, bool fresh);

#endif
