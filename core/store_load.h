// Rebuilt streams in the database: taken over, filled from folds, and put live, each in one transaction that also sets its position. A process that is killed
// leaves finished streams live and the others as they were. What a stream's rows are is store_rows.h's; which streams are rebuilt is the restorer's.
#ifndef KS_CORE_STORE_LOAD_H
#define KS_CORE_STORE_LOAD_H

#include "fold.h"
#include "store.h"
#include "store_stream.h"

// Waits for nobody: *taken false when another rebuild holds the lock. It lasts as long as the connection.
bool ks_load_lock(struct ks_store *store, bool *taken, struct ks_error *err);

// Makes the streams of these kinds (of a topic partition) that are restoring or loading ours: state loading, generation raised; a former owner can write no more. The
// streams' generation and state are updated in `streams` (any list; only those of the partition and kinds are looked at).
bool ks_load_take_over(struct ks_store *store, enum ks_topic topic, int32_t partition, unsigned kinds, const char *owner, struct ks_streams *streams, struct ks_error *err);
// Sets a stream that is still ours and loading back to restoring; one that is not is left alone.
bool ks_load_give_back(struct ks_store *store, const struct ks_stream *stream, const char *reason, struct ks_error *err);

// How many rows a stream has now: items (chunks for blobs), and windows, conflicts, dead letters, marks and the like together.
bool ks_load_count(struct ks_store *store, const struct ks_stream *stream, int64_t *items, int64_t *others, struct ks_error *err);

// Begins the transaction in which a stream that was taken over is filled: its old rows go with the commit. Everything until ks_load_end is one transaction; after a
// failure call ks_store_rollback.
bool ks_load_begin(struct ks_store *store, const struct ks_stream *stream, struct ks_error *err);
// Adds what a complete fold holds of this stream. The users (of blobs: sets) of all folds that are added must be different. *items and *others: counts rows up.
bool ks_load_add(struct ks_store *store, struct ks_fold *fold, enum ks_kind kind, int64_t *items, int64_t *others, struct ks_error *err);
// Indexes what was added, holds the number of rows against `items`, puts it in the old rows' place, sets position, anchor, counts and live_at of `stream`, state live, and
// commits (asynchronously: a later commit that is not makes it durable). A stream that is no longer ours: FENCED.
bool ks_load_end(struct ks_store *store, const struct ks_stream *stream, int64_t items, struct ks_error *err);

#endif
