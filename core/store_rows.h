// How a fold's results become rows: the one encoding for batches and for rebuilt leaves. For core/store*.c only.
#ifndef KS_CORE_STORE_ROWS_H
#define KS_CORE_STORE_ROWS_H

#include "fold.h"
#include "store.h"

// Columns of each target, in the order in which the encoders add fields.
#define KS_ROWS_ITEM "(kind, partition, user_id, item_id, revision, deleted, source, sequence, doc)"
#define KS_ROWS_SEEN "(partition, kind, user_id, source, top, mask, closed)"
#define KS_ROWS_CONFLICT "(partition, kind, revision, user_id, item_id, why, lost_revision, lost_source, lost_sequence, lost_doc)"
#define KS_ROWS_DEAD "(topic, partition, kind, \"offset\", time_ms, reason, detail, hash, user_id, source, key, headers, value)"
#define KS_ROWS_ERASURE "(topic, partition, kind, user_id, id, revision)"
#define KS_ROWS_RULING "(topic, partition, \"offset\", act, operands)"
#define KS_ROWS_BLOB "(partition, user_id, sha256, chunks, size, present, complete)"
#define KS_ROWS_CHUNK "(partition, user_id, sha256, chunks, size, chunk, revision, bytes)"

void ks_row_item(struct ks_copy *copy, int32_t partition, const struct ks_fold_item *item);
void ks_row_seen(struct ks_copy *copy, int32_t partition, const struct ks_fold_window *window);
void ks_row_conflict(struct ks_copy *copy, int32_t partition, const struct ks_fold_conflict *conflict);
void ks_row_dead(struct ks_copy *copy, const struct ks_fold_dead *dead);
void ks_row_erasure(struct ks_copy *copy, enum ks_topic topic, int32_t partition, const struct ks_fold_mark *mark);
void ks_row_ruling(struct ks_copy *copy, const struct ks_packed *record);
void ks_row_blob(struct ks_copy *copy, int32_t partition, const struct ks_fold_blob *blob);
void ks_row_chunk(struct ks_copy *copy, int32_t partition, const struct ks_fold_blob *blob, int32_t chunk);

// Sorts a fold's items and windows by (kind, user, item | source), as bytes.
void ks_rows_sort(struct ks_fold *fold);

// The table rows, without items and windows, that every write ends with: conflicts, dead letters, fresh marks, rulings, blobs (rows that are dirty) and fresh chunks.
bool ks_rows_copy_rest(struct ks_store *store, struct ks_fold *const *folds, int count, struct ks_error *err);

#endif
