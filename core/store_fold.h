// A fold's rows in the database: reading those that a batch touches, and writing those that it changed. Consumer and repair only come here; rebuilt leaves
// are loaded by store_load.h with the same row encoders. All of it within the caller's transaction, after ks_store_advance.
#ifndef KS_CORE_STORE_FOLD_H
#define KS_CORE_STORE_FOLD_H

#include "fold.h"
#include "store.h"

enum { KS_STORE_FOLDS_MAX = 256 };  // in one write

// Loads what ks_fold_want has asked for and is not loaded yet. Bytes go to the fold's arena.
bool ks_store_load(struct ks_store *store, struct ks_fold *fold, struct ks_error *err);

// Loads the stored documents of these items of the fold (KS_FOLD_NEEDS_DOC, ks_fold_may_need_doc); those that have theirs are left alone.
bool ks_store_load_docs(struct ks_store *store, struct ks_fold *fold, struct ks_fold_item *const *items, size_t count, struct ks_error *err);

// Loads the bytes of a blob's stored chunks (KS_FOLD_NEEDS_CHUNKS).
bool ks_store_load_chunks(struct ks_store *store, struct ks_fold *fold, struct ks_fold_blob *blob, struct ks_error *err);

// Writes what these folds (of different topic partitions) changed: erasures first, then rows in key order, conflicts, dead letters, marks, rulings, counts.
bool ks_store_write(struct ks_store *store, struct ks_fold *const *folds, int count, struct ks_error *err);

#endif
