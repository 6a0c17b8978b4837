// Writing what folds changed. Rows known to be new go by COPY straight into their leaf; known ones by COPY into a temporary table and one upsert a leaf.
#include "store_fold.h"

#include <stdio.h>
#include <string.h>

#include "store_internal.h"
#include "store_params.h"
#include "store_rows.h"
#include "store_stream.h"

static const char STAGE[] =
    "CREATE TEMPORARY TABLE keepsake_item (kind keepsake.kind, partition int, user_id text COLLATE \"C\", item_id text COLLATE \"C\", revision bigint, deleted boolean,"
    " source text, sequence bigint, doc json) ON COMMIT DELETE ROWS;"
    "CREATE TEMPORARY TABLE keepsake_seen (partition int, kind keepsake.kind, user_id text COLLATE \"C\", source text COLLATE \"C\", top bigint, mask bigint, closed bigint)"
    " ON COMMIT DELETE ROWS";

// Temporary tables of this session. Made inside the transaction: one that rolls back takes them with it, so their being there is asked each time.
static bool make_stage(struct ks_store *store, struct ks_error *err) {
  struct ks_rows rows;
  if (!ks_store_query(store, "SELECT to_regclass('pg_temp.keepsake_item') IS NOT NULL", 0, NULL, &rows, err)) return false;
  bool there = ks_rows_bool(&rows, 0, 0);
  ks_rows_free(&rows);
  return there || ks_store_exec(store, STAGE, err);
}

// Runs one statement for a person: $1 kind, $2 user, $3 topic.
static bool for_person(struct ks_store *store, const struct ks_fold *fold, const struct ks_fold_user *user, const char *sql, struct ks_error *err) {
  struct ks_params params = {0};
  ks_params_text(&params, ks_bytes_string(ks_kind_name(user->kind)));
  ks_params_text(&params, user->user);
  ks_params_text(&params, ks_bytes_string(ks_topic_name(fold->topic)));
  PGresult *result = ks_params_query(store, sql, &params, err);
  PQclear(result);
  ks_params_free(&params);
  return result;
}

// What an erasure takes from the database; what the fold holds of the person since then is written after.
static bool erase_person(struct ks_store *store, const struct ks_fold *fold, const struct ks_fold_user *user, struct ks_error *err) {
  char sql[500];
  int p = fold->partition;
  if (user->kind >= KS_KIND_CONTACT && user->kind <= KS_KIND_SCORE) {
    snprintf(sql, sizeof sql, "DELETE FROM keepsake.item_%s_%d WHERE user_id = $2 AND $1 <> '' AND $3 <> ''", ks_kind_name(user->kind), p);
    if (!for_person(store, fold, user, sql, err)) return false;
    snprintf(sql, sizeof sql, "DELETE FROM keepsake.conflict_%d WHERE kind = $1::keepsake.kind AND user_id = $2 AND $3 <> ''", p);
    if (!for_person(store, fold, user, sql, err)) return false;
  }
  if (user->kind == KS_KIND_BLOB) {
    snprintf(sql, sizeof sql, "DELETE FROM keepsake.blob_chunk_%d WHERE user_id = $2 AND $1 <> '' AND $3 <> ''", p);
    if (!for_person(store, fold, user, sql, err)) return false;
    snprintf(sql, sizeof sql, "DELETE FROM keepsake.blob_%d WHERE user_id = $2 AND $1 <> '' AND $3 <> ''", p);
    if (!for_person(store, fold, user, sql, err)) return false;
  }
  snprintf(sql, sizeof sql,
           "UPDATE keepsake.dead_letter_%d SET key = NULL, headers = NULL, value = NULL, source = NULL, detail = '' WHERE topic = $3 AND kind = $1::keepsake.kind AND user_id = $2"
           " AND (headers IS NOT NULL OR source IS NOT NULL OR detail <> '')", p);
  return for_person(store, fold, user, sql, err);
}

static bool delete_blob(struct ks_store *store, const struct ks_fold *fold, const struct ks_fold_blob *blob, const char *table, struct ks_error *err) {
  struct ks_params params = {0};
  ks_params_blob_key(&params, blob);
  char sql[200];
  snprintf(sql, sizeof sql, "DELETE FROM keepsake.%s_%d WHERE user_id = $1 AND sha256 = $2 AND chunks = $3 AND size = $4", table, fold->partition);
  PGresult *result = ks_params_query(store, sql, &params, err);
  PQclear(result);
  ks_params_free(&params);
  return result;
}

// Erased persons' rows go; so do the rows of sets that changed, which are written anew, and the chunks of sets that were emptied.
static bool erase(struct ks_store *store, struct ks_fold *fold, struct ks_error *err) {
  struct ks_fold_user *const *users = fold->users.data;
  for (size_t i = 0; i < fold->users.count; i++)
    if (users[i]->erased && !erase_person(store, fold, users[i], err)) return false;
  struct ks_fold_blob *const *blobs = fold->blobs.data;
  for (size_t i = 0; i < fold->blobs.count; i++) {
    if (!blobs[i]->dirty || !blobs[i]->stored) continue;
    if (blobs[i]->emptied && !delete_blob(store, fold, blobs[i], "blob_chunk", err)) return false;
    if (!delete_blob(store, fold, blobs[i], "blob", err)) return false;
  }
  return true;
}

// New items of one kind straight into their leaf, in key order.
static bool copy_new_items(struct ks_store *store, const struct ks_fold *fold, int kind, struct ks_error *err) {
  struct ks_fold_item *const *items = fold->items.data;
  struct ks_copy copy;
  bool begun = false;
  for (size_t i = 0; i < fold->items.count; i++) {
    const struct ks_fold_item *item = items[i];
    if (item->user->kind != kind || !item->dirty || !item->present || item->stored) continue;
    if (!begun) {
      char target[160];
      snprintf(target, sizeof target, "keepsake.item_%s_%d " KS_ROWS_ITEM, ks_kind_name(kind), fold->partition);
      if (!ks_copy_begin(&copy, store, target, false, err)) return false;
      begun = true;
    }
    ks_row_item(&copy, fold->partition, item);
  }
  return !begun || ks_copy_end(&copy, err);
}

// Known items of all folds go to the temporary table; returns by *touched which leaves (fold index, kind) got some.
static bool stage_items(struct ks_store *store, struct ks_fold *const *folds, int count, unsigned *touched, struct ks_error *err) {
  struct ks_copy copy;
  bool begun = false;
  for (int f = 0; f < count; f++) {
    touched[f] = 0;
    struct ks_fold_item *const *items = folds[f]->items.data;
    for (size_t i = 0; i < folds[f]->items.count; i++) {
      if (!items[i]->dirty || !items[i]->present || !items[i]->stored) continue;
      if (!begun && !ks_copy_begin(&copy, store, "pg_temp.keepsake_item " KS_ROWS_ITEM, false, err)) return false;
      begun = true;
      touched[f] |= 1u << items[i]->user->kind;
      ks_row_item(&copy, folds[f]->partition, items[i]);
    }
  }
  return !begun || ks_copy_end(&copy, err);
}

static bool upsert_items(struct ks_store *store, struct ks_fold *const *folds, int count, const unsigned *touched, struct ks_error *err) {
  for (int f = 0; f < count; f++) {
    for (int kind = 0; kind < KS_KIND_COUNT; kind++) {
      if (!(touched[f] & 1u << kind)) continue;
      char sql[600];
      const char *name = ks_kind_name(kind);
      int p = folds[f]->partition;
      snprintf(sql, sizeof sql,
               "INSERT INTO keepsake.item_%s_%d AS i " KS_ROWS_ITEM " SELECT * FROM pg_temp.keepsake_item WHERE kind = '%s' AND partition = %d"
               " ON CONFLICT (user_id, item_id) DO UPDATE SET revision = excluded.revision, deleted = excluded.deleted, source = excluded.source,"
               " sequence = excluded.sequence, doc = excluded.doc",
               name, p, name, p);
      if (!ks_store_exec(store, sql, err)) return false;
    }
  }
  return true;
}

static bool write_windows(struct ks_store *store, struct ks_fold *const *folds, int count, struct ks_error *err) {
  for (int stored = 0; stored < 2; stored++) {
    struct ks_copy copy;
    bool begun = false;
    for (int f = 0; f < count; f++) {
      struct ks_fold_window *const *windows = folds[f]->windows.data;
      for (size_t i = 0; i < folds[f]->windows.count; i++) {
        if (!windows[i]->dirty || windows[i]->stored != stored) continue;
        if (!begun && !ks_copy_begin(&copy, store, stored ? "pg_temp.keepsake_seen " KS_ROWS_SEEN : "keepsake.seen " KS_ROWS_SEEN, false, err)) return false;
        begun = true;
        ks_row_seen(&copy, folds[f]->partition, windows[i]);
      }
    }
    if (begun && !ks_copy_end(&copy, err)) return false;
    for (int f = 0; begun && stored && f < count; f++) {
      char sql[400];
      int p = folds[f]->partition;
      snprintf(sql, sizeof sql,
               "INSERT INTO keepsake.seen_%d " KS_ROWS_SEEN " SELECT * FROM pg_temp.keepsake_seen WHERE partition = %d"
               " ON CONFLICT (kind, user_id, source) DO UPDATE SET top = excluded.top, mask = excluded.mask, closed = excluded.closed",
               p, p);
      if (folds[f]->windows.count && !ks_store_exec(store, sql, err)) return false;
    }
  }
  return true;
}

bool ks_store_write(struct ks_store *store, struct ks_fold *const *folds, int count, struct ks_error *err) {
  unsigned touched[KS_STORE_FOLDS_MAX];
  if (count > KS_STORE_FOLDS_MAX) return ks_error_set(err, KS_ERROR_BUG, KS_EXIT_FAILED, "%d folds in one write, at most %d", count, KS_STORE_FOLDS_MAX);
  if (!make_stage(store, err)) return false;
  for (int f = 0; f < count; f++) {
    ks_rows_sort(folds[f]);
    if (!erase(store, folds[f], err)) return false;
    for (int kind = KS_KIND_CONTACT; kind <= KS_KIND_SCORE; kind++)
      if (!copy_new_items(store, folds[f], kind, err)) return false;
  }
  if (!stage_items(store, folds, count, touched, err) || !upsert_items(store, folds, count, touched, err)) return false;
  if (!write_windows(store, folds, count, err) || !ks_rows_copy_rest(store, folds, count, err)) return false;
  for (int f = 0; f < count; f++)
    if (!ks_store_add_counts(store, folds[f], err)) return false;
  return true;
}
