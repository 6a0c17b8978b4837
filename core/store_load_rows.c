// Reading the rows that a batch touches. Leaves are addressed by name: a statement over the partitioned parent would plan and lock every leaf.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_fold.h"
#include "store_internal.h"
#include "store_params.h"

// Small random reads by primary key, whatever the planner thinks of tables that were never analyzed: set for the transaction.
static const char BY_KEY[] = "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off";

static bool load_items(struct ks_store *store, struct ks_fold *fold, int kind, struct ks_error *err) {
  struct ks_fold_item **items = fold->items.data, **wanted = malloc((fold->items.count + 1) * sizeof *wanted);
  if (!wanted) return ks_error_memory(err);
  struct ks_params params = {0};
  int users = ks_params_text_array(&params), ids = ks_params_text_array(&params);
  size_t count = 0;
  for (size_t i = 0; i < fold->items.count; i++) {
    if (items[i]->loaded || items[i]->user->kind != kind) continue;
    ks_params_add_text(&params, users, items[i]->user->user);
    ks_params_add_text(&params, ids, items[i]->item);
    wanted[count++] = items[i];
  }
  char sql[400];
  snprintf(sql, sizeof sql,
           "SELECT k.n, i.revision, i.deleted, i.source, i.sequence FROM unnest($1, $2) WITH ORDINALITY k(user_id, item_id, n)"
           " JOIN keepsake.item_%s_%d i ON i.user_id = k.user_id COLLATE \"C\" AND i.item_id = k.item_id COLLATE \"C\"",
           ks_kind_name(kind), fold->partition);
  PGresult *result = count ? ks_params_query(store, sql, &params, err) : NULL;
  bool ok = !count || result;
  for (int row = 0; ok && result && row < PQntuples(result); row++) {
    struct ks_fold_item *item = wanted[ks_result_int(result, row, 0) - 1];
    item->stored = item->present = true;
    item->revision = ks_result_int(result, row, 1);
    item->deleted = *PQgetvalue(result, row, 2) != 0;
    item->source = ks_arena_copy(&fold->arena, ks_result_bytes(result, row, 3), &ok);
    item->sequence = PQgetisnull(result, row, 4) ? -1 : ks_result_int(result, row, 4);
    item->has_doc = item->deleted;
    if (!ok) ks_error_memory(err);
  }
  for (size_t i = 0; ok && i < count; i++) wanted[i]->loaded = true;
  PQclear(result);
  ks_params_free(&params);
  free(wanted);
  return ok;
}

static void take_window(struct ks_fold_window *window, const PGresult *result, int row, int column) {
  window->stored = window->present = true;
  window->top = ks_result_int(result, row, column);
  window->mask = (uint64_t)ks_result_int(result, row, column + 1);
  window->closed = PQgetisnull(result, row, column + 2) ? -1 : ks_result_int(result, row, column + 2);
}

static bool load_windows(struct ks_store *store, struct ks_fold *fold, struct ks_error *err) {
  struct ks_fold_window **windows = fold->windows.data, **wanted = malloc((fold->windows.count + 1) * sizeof *wanted);
  if (!wanted) return ks_error_memory(err);
  struct ks_params params = {0};
  int kinds = ks_params_text_array(&params), users = ks_params_text_array(&params), sources = ks_params_text_array(&params);
  size_t count = 0;
  for (size_t i = 0; i < fold->windows.count; i++) {
    if (windows[i]->loaded) continue;
    ks_params_add_text(&params, kinds, ks_bytes_string(ks_kind_name(windows[i]->user->kind)));
    ks_params_add_text(&params, users, windows[i]->user->user);
    ks_params_add_text(&params, sources, windows[i]->source);
    wanted[count++] = windows[i];
  }
  char sql[400];
  snprintf(sql, sizeof sql,
           "SELECT k.n, w.top, w.mask, w.closed FROM unnest($1, $2, $3) WITH ORDINALITY k(kind, user_id, source, n)"
           " JOIN keepsake.seen_%d w ON w.kind = k.kind::keepsake.kind AND w.user_id = k.user_id COLLATE \"C\" AND w.source = k.source COLLATE \"C\"",
           fold->partition);
  PGresult *result = count ? ks_params_query(store, sql, &params, err) : NULL;
  bool ok = !count || result;
  for (int row = 0; ok && result && row < PQntuples(result); row++) take_window(wanted[ks_result_int(result, row, 0) - 1], result, row, 1);
  for (size_t i = 0; ok && i < count; i++) wanted[i]->loaded = true;
  PQclear(result);
  ks_params_free(&params);
  free(wanted);
  return ok;
}

// All windows of a person who is about to be erased: they will all be closed.
static bool load_all_windows(struct ks_store *store, struct ks_fold *fold, struct ks_fold_user *user, struct ks_error *err) {
  struct ks_params params = {0};
  ks_params_text(&params, ks_bytes_string(ks_kind_name(user->kind)));
  ks_params_text(&params, user->user);
  char sql[200];
  snprintf(sql, sizeof sql, "SELECT source, top, mask, closed FROM keepsake.seen_%d WHERE kind = $1::keepsake.kind AND user_id = $2", fold->partition);
  PGresult *result = ks_params_query(store, sql, &params, err);
  bool ok = result;
  for (int row = 0; ok && row < PQntuples(result); row++) {
    struct ks_bytes source = ks_arena_copy(&fold->arena, ks_result_bytes(result, row, 0), &ok);
    struct ks_fold_window *window = ok ? ks_fold_window(fold, user, source) : NULL;
    if (!window) {
      ok = ks_error_memory(err);
    } else if (!window->loaded) {
      take_window(window, result, row, 1);
      window->loaded = true;
    }
  }
  PQclear(result);
  ks_params_free(&params);
  return ok;
}

static bool load_marks(struct ks_store *store, struct ks_fold *fold, struct ks_error *err) {
  struct ks_fold_user **users = fold->users.data, **wanted = malloc((fold->users.count + 1) * sizeof *wanted);
  if (!wanted) return ks_error_memory(err);
  struct ks_params params = {0};
  ks_params_text(&params, ks_bytes_string(ks_topic_name(fold->topic)));
  ks_params_int(&params, fold->partition);
  int kinds = ks_params_text_array(&params), ids = ks_params_text_array(&params);
  size_t count = 0;
  for (size_t i = 0; i < fold->users.count; i++) {
    if (users[i]->loaded) continue;
    ks_params_add_text(&params, kinds, ks_bytes_string(ks_kind_name(users[i]->kind)));
    ks_params_add_text(&params, ids, users[i]->user);
    wanted[count++] = users[i];
  }
  PGresult *result = NULL;
  if (count)
    result = ks_params_query(store,
                             "SELECT k.n, e.id, e.revision FROM unnest($3, $4) WITH ORDINALITY k(kind, user_id, n) JOIN keepsake.erasure e ON e.topic = $1"
                             " AND e.partition = $2 AND e.kind = k.kind::keepsake.kind AND e.user_id = k.user_id COLLATE \"C\"",
                             &params, err);
  bool ok = !count || result;
  for (int row = 0; ok && result && row < PQntuples(result); row++) {
    struct ks_bytes id = ks_arena_copy(&fold->arena, ks_result_bytes(result, row, 1), &ok);
    if (!ok || !ks_fold_mark(fold, wanted[ks_result_int(result, row, 0) - 1], id, ks_result_int(result, row, 2), false)) ok = ks_error_memory(err);
  }
  for (size_t i = 0; ok && i < count; i++) wanted[i]->loaded = true;
  PQclear(result);
  ks_params_free(&params);
  free(wanted);
  return ok;
}

static bool load_blob(struct ks_store *store, struct ks_fold *fold, struct ks_fold_blob *blob, bool bytes, struct ks_error *err) {
  struct ks_params params = {0};
  ks_params_blob_key(&params, blob);
  char sql[400];
  snprintf(sql, sizeof sql,
           "SELECT c.chunk, c.revision, b.complete, %s FROM keepsake.blob_%d b LEFT JOIN keepsake.blob_chunk_%d c USING (user_id, sha256, chunks, size)"
           " WHERE b.user_id = $1 AND b.sha256 = $2 AND b.chunks = $3 AND b.size = $4",
           bytes ? "c.bytes" : "NULL::bytea", fold->partition, fold->partition);
  PGresult *result = ks_params_query(store, sql, &params, err);
  bool ok = result;
  for (int row = 0; ok && row < PQntuples(result); row++) {
    blob->stored = true;
    blob->complete = *PQgetvalue(result, row, 2) != 0;
    int32_t chunk = (int32_t)ks_result_int(result, row, 0);
    if (PQgetisnull(result, row, 0) || chunk < 0 || chunk >= blob->chunks || (ks_fold_blob_has(blob, chunk) && blob->chunk[chunk].fresh)) continue;
    struct ks_bytes run = bytes ? ks_arena_copy(&fold->arena, ks_result_bytes(result, row, 3), &ok) : (struct ks_bytes){NULL, 0};
    if (!ok || !ks_fold_blob_put(fold, blob, chunk, run, ks_result_int(result, row, 1), false)) ok = ks_error_memory(err);
  }
  if (ok) blob->loaded = true;
  PQclear(result);
  ks_params_free(&params);
  return ok;
}

bool ks_store_load_chunks(struct ks_store *store, struct ks_fold *fold, struct ks_fold_blob *blob, struct ks_error *err) {
  return load_blob(store, fold, blob, true, err);
}

bool ks_store_load(struct ks_store *store, struct ks_fold *fold, struct ks_error *err) {
  if (!ks_store_exec(store, BY_KEY, err)) return false;
  for (int kind = KS_KIND_CONTACT; kind <= KS_KIND_SCORE; kind++)
    if (fold->topic == KS_TOPIC_CHANGES && !load_items(store, fold, kind, err)) return false;
  if (!load_windows(store, fold, err) || !load_marks(store, fold, err)) return false;
  struct ks_fold_user **users = fold->users.data;
  for (size_t i = 0; i < fold->users.count; i++) {
    if (!users[i]->wants_all) continue;
    if (!load_all_windows(store, fold, users[i], err)) return false;
    users[i]->wants_all = false;
  }
  struct ks_fold_blob **blobs = fold->blobs.data;
  for (size_t i = 0; i < fold->blobs.count; i++)
    if (!blobs[i]->loaded && !load_blob(store, fold, blobs[i], false, err)) return false;
  return true;
}

bool ks_store_load_docs(struct ks_store *store, struct ks_fold *fold, struct ks_fold_item *const *items, size_t count, struct ks_error *err) {
  bool ok = true;
  for (int kind = KS_KIND_CONTACT; ok && kind <= KS_KIND_SCORE; kind++) {
    struct ks_params params = {0};
    int users = ks_params_text_array(&params), ids = ks_params_text_array(&params), numbers = ks_params_text_array(&params);
    for (size_t i = 0; i < count; i++) {
      if (items[i]->has_doc || items[i]->user->kind != kind) continue;
      char number[24];
      int size = snprintf(number, sizeof number, "%zu", i);
      ks_params_add_text(&params, users, items[i]->user->user);
      ks_params_add_text(&params, ids, items[i]->item);
      ks_params_add_text(&params, numbers, (struct ks_bytes){number, (size_t)size});
    }
    char sql[400];
    snprintf(sql, sizeof sql,
             "SELECT k.n::bigint, i.doc::text FROM unnest($1, $2, $3) k(user_id, item_id, n)"
             " JOIN keepsake.item_%s_%d i ON i.user_id = k.user_id COLLATE \"C\" AND i.item_id = k.item_id COLLATE \"C\"",
             ks_kind_name(kind), fold->partition);
    PGresult *result = params.elements[users] ? ks_params_query(store, sql, &params, err) : NULL;
    ok = !params.elements[users] || result;
    for (int row = 0; ok && result && row < PQntuples(result); row++) {
      struct ks_fold_item *item = items[ks_result_int(result, row, 0)];
      item->doc = ks_arena_copy(&fold->arena, ks_result_bytes(result, row, 1), &ok);
      item->has_doc = ok;
      if (!ok) ks_error_memory(err);
    }
    PQclear(result);
    ks_params_free(&params);
  }
  return ok;
}
