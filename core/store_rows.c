#include "store_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_sequence(struct ks_copy *copy, int64_t sequence) {
  if (sequence < 0)
    ks_copy_null(copy);
  else
    ks_copy_int8(copy, sequence);
}

static void add_kind(struct ks_copy *copy, int kind) { ks_copy_bytes(copy, ks_bytes_string(ks_kind_name(kind))); }

void ks_row_item(struct ks_copy *copy, int32_t partition, const struct ks_fold_item *item) {
  ks_copy_row(copy, 9);
  add_kind(copy, item->user->kind);
  ks_copy_int4(copy, partition);
  ks_copy_bytes(copy, item->user->user);
  ks_copy_bytes(copy, item->item);
  ks_copy_int8(copy, item->revision);
  ks_copy_bool(copy, item->deleted);
  ks_copy_bytes(copy, item->source);
  add_sequence(copy, item->sequence);
  ks_copy_bytes(copy, item->doc);
}

void ks_row_seen(struct ks_copy *copy, int32_t partition, const struct ks_fold_window *window) {
  ks_copy_row(copy, 7);
  ks_copy_int4(copy, partition);
  add_kind(copy, window->user->kind);
  ks_copy_bytes(copy, window->user->user);
  ks_copy_bytes(copy, window->source);
  ks_copy_int8(copy, window->top);
  ks_copy_int8(copy, (int64_t)window->mask);
  add_sequence(copy, window->closed);
}

void ks_row_conflict(struct ks_copy *copy, int32_t partition, const struct ks_fold_conflict *conflict) {
  ks_copy_row(copy, 10);
  ks_copy_int4(copy, partition);
  add_kind(copy, conflict->user->kind);
  ks_copy_int8(copy, conflict->revision);
  ks_copy_bytes(copy, conflict->user->user);
  ks_copy_bytes(copy, conflict->item);
  ks_copy_bytes(copy, ks_bytes_string(ks_conflict_why_name(conflict->why)));
  ks_copy_int8(copy, conflict->lost_revision);
  ks_copy_bytes(copy, conflict->lost_source);
  add_sequence(copy, conflict->lost_sequence);
  ks_copy_bytes(copy, conflict->lost_doc);
}

void ks_row_dead(struct ks_copy *copy, const struct ks_fold_dead *dead) {
  const struct ks_packed *record = dead->record;
  const struct ks_bytes none = {NULL, 0};
  uint8_t hash[KS_HASH_BYTES];
  ks_packed_hash(record, hash);
  // The fold's own reasons carry no detail from the verdict.
  struct ks_bytes detail = dead->reason == (enum ks_reason)record->reason ? ks_packed_run(record, record->detail) : none;
  struct ks_bytes source = ks_packed_run(record, record->source);
  ks_copy_row(copy, 13);
  ks_copy_bytes(copy, ks_bytes_string(ks_topic_name(record->topic)));
  ks_copy_int4(copy, record->partition);
  add_kind(copy, dead->stream);
  ks_copy_int8(copy, record->offset);
  ks_copy_int8(copy, record->time_ms);
  ks_copy_bytes(copy, ks_bytes_string(ks_reason_code(dead->reason)));
  ks_copy_bytes(copy, detail.data && !dead->forgotten ? detail : KS_BYTES(""));
  ks_copy_bytes(copy, (struct ks_bytes){(const char *)hash, sizeof hash});
  ks_copy_bytes(copy, ks_packed_run(record, record->user));
  ks_copy_bytes(copy, ks_name_valid(source) && !dead->forgotten ? source : none);  // for the list of sources: an invalid one may not even be text
  ks_copy_bytes(copy, dead->keep_bytes ? ks_packed_run(record, record->key) : none);
  ks_copy_bytes(copy, dead->keep_bytes ? ks_packed_run(record, record->headers) : none);
  ks_copy_bytes(copy, dead->keep_bytes ? ks_packed_run(record, record->value) : none);
}

void ks_row_erasure(struct ks_copy *copy, enum ks_topic topic, int32_t partition, const struct ks_fold_mark *mark) {
  ks_copy_row(copy, 6);
  ks_copy_bytes(copy, ks_bytes_string(ks_topic_name(topic)));
  ks_copy_int4(copy, partition);
  add_kind(copy, mark->user->kind);
  ks_copy_bytes(copy, mark->user->user);
  ks_copy_bytes(copy, mark->id);
  ks_copy_int8(copy, mark->revision);
}

void ks_row_ruling(struct ks_copy *copy, const struct ks_packed *record) {
  struct ks_ruling ruling;
  ks_packed_ruling(record, &ruling);
  ks_copy_row(copy, 5);
  ks_copy_bytes(copy, ks_bytes_string(ks_topic_name(record->topic)));
  ks_copy_int4(copy, record->partition);
  ks_copy_int8(copy, record->offset);
  ks_copy_bytes(copy, ruling.accept_gap ? KS_BYTES("accept-gap") : KS_BYTES("exclude"));
  ks_copy_bytes(copy, ks_packed_run(record, record->value));
}

void ks_row_blob(struct ks_copy *copy, int32_t partition, const struct ks_fold_blob *blob) {
  ks_copy_row(copy, 7);
  ks_copy_int4(copy, partition);
  ks_copy_bytes(copy, blob->user->user);
  ks_copy_bytes(copy, blob->sha256);
  ks_copy_int4(copy, blob->chunks);
  ks_copy_int8(copy, blob->size_bytes);
  ks_copy_int4(copy, blob->present_count);
  ks_copy_bool(copy, blob->complete);
}

void ks_row_chunk(struct ks_copy *copy, int32_t partition, const struct ks_fold_blob *blob, int32_t chunk) {
  ks_copy_row(copy, 8);
  ks_copy_int4(copy, partition);
  ks_copy_bytes(copy, blob->user->user);
  ks_copy_bytes(copy, blob->sha256);
  ks_copy_int4(copy, blob->chunks);
  ks_copy_int8(copy, blob->size_bytes);
  ks_copy_int4(copy, chunk);
  ks_copy_int8(copy, blob->chunk[chunk].revision);
  ks_copy_bytes(copy, blob->chunk[chunk].bytes);
}

static int compare_users(const struct ks_fold_user *a, const struct ks_fold_user *b) {
  if (a == b) return 0;
  return a->kind != b->kind ? a->kind - b->kind : ks_bytes_compare(a->user, b->user);
}

static int compare_items(const void *a, const void *b) {
  const struct ks_fold_item *x = *(struct ks_fold_item *const *)a, *y = *(struct ks_fold_item *const *)b;
  int users = compare_users(x->user, y->user);
  return users ? users : ks_bytes_compare(x->item, y->item);
}

static int compare_windows(const void *a, const void *b) {
  const struct ks_fold_window *x = *(struct ks_fold_window *const *)a, *y = *(struct ks_fold_window *const *)b;
  int users = compare_users(x->user, y->user);
  return users ? users : ks_bytes_compare(x->source, y->source);
}

void ks_rows_sort(struct ks_fold *fold) {
  if (fold->items.count) qsort(fold->items.data, fold->items.count, sizeof(void *), compare_items);
  if (fold->windows.count) qsort(fold->windows.data, fold->windows.count, sizeof(void *), compare_windows);
}

// The rows of one table for all folds, or nothing sent where there are none. PostgreSQL refuses COPY into a table with row security, so those go to
// their leaves, one COPY a fold.
struct table {
  const char *name, *columns;
  bool by_leaf;
  size_t (*count)(const struct ks_fold *fold);
  void (*rows)(struct ks_copy *copy, const struct ks_fold *fold);
};

static size_t conflict_count(const struct ks_fold *fold) { return fold->conflicts.count; }
static void conflict_rows(struct ks_copy *copy, const struct ks_fold *fold) {
  const struct ks_fold_conflict *list = fold->conflicts.data;
  for (size_t i = 0; i < fold->conflicts.count; i++)
    if (!list[i].dropped) ks_row_conflict(copy, fold->partition, &list[i]);
}

static size_t dead_count(const struct ks_fold *fold) { return fold->dead.count; }
static void dead_rows(struct ks_copy *copy, const struct ks_fold *fold) {
  const struct ks_fold_dead *list = fold->dead.data;
  for (size_t i = 0; i < fold->dead.count; i++) ks_row_dead(copy, &list[i]);
}

static size_t mark_count(const struct ks_fold *fold) { return fold->marks.count; }
static void mark_rows(struct ks_copy *copy, const struct ks_fold *fold) {
  struct ks_fold_mark *const *list = fold->marks.data;
  for (size_t i = 0; i < fold->marks.count; i++)
    if (list[i]->fresh) ks_row_erasure(copy, fold->topic, fold->partition, list[i]);
}

static size_t ruling_count(const struct ks_fold *fold) { return fold->rulings_met.count; }
static void ruling_rows(struct ks_copy *copy, const struct ks_fold *fold) {
  const struct ks_packed *const *list = fold->rulings_met.data;
  for (size_t i = 0; i < fold->rulings_met.count; i++) ks_row_ruling(copy, list[i]);
}

static size_t blob_count(const struct ks_fold *fold) { return fold->blobs.count; }
static void blob_rows(struct ks_copy *copy, const struct ks_fold *fold) {
  struct ks_fold_blob *const *list = fold->blobs.data;
  for (size_t i = 0; i < fold->blobs.count; i++)
    if (list[i]->dirty && list[i]->present_count) ks_row_blob(copy, fold->partition, list[i]);
}
static void chunk_rows(struct ks_copy *copy, const struct ks_fold *fold) {
  struct ks_fold_blob *const *list = fold->blobs.data;
  for (size_t i = 0; i < fold->blobs.count; i++)
    for (int32_t c = 0; c < list[i]->chunks; c++)
      if (ks_fold_blob_has(list[i], c) && list[i]->chunk[c].fresh) ks_row_chunk(copy, fold->partition, list[i], c);
}

static bool copy_table(struct ks_store *store, const struct table *table, struct ks_fold *const *folds, int count, struct ks_error *err) {
  size_t rows = 0;
  for (int i = 0; i < count; i++) rows += table->count(folds[i]);
  if (rows == 0) return true;
  char target[300];
  if (table->by_leaf)
    snprintf(target, sizeof target, "keepsake.%s_%d %s", table->name, folds[0]->partition, table->columns);
  else
    snprintf(target, sizeof target, "keepsake.%s %s", table->name, table->columns);
  struct ks_copy copy;
  if (!ks_copy_begin(&copy, store, target, false, err)) return false;
  for (int i = 0; i < count; i++) table->rows(&copy, folds[i]);
  return ks_copy_end(&copy, err);
}

bool ks_rows_copy_rest(struct ks_store *store, struct ks_fold *const *folds, int count, struct ks_error *err) {
  static const struct table tables[] = {{"conflict", KS_ROWS_CONFLICT, true, conflict_count, conflict_rows},
                                        {"dead_letter", KS_ROWS_DEAD, false, dead_count, dead_rows},
                                        {"erasure", KS_ROWS_ERASURE, false, mark_count, mark_rows},
                                        {"ruling", KS_ROWS_RULING, false, ruling_count, ruling_rows},
                                        {"blob", KS_ROWS_BLOB, true, blob_count, blob_rows},
                                        {"blob_chunk", KS_ROWS_CHUNK, true, blob_count, chunk_rows}};
  for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
    int step = tables[t].by_leaf ? 1 : count;
    for (int i = 0; i < count; i += step)
      if (!copy_table(store, &tables[t], folds + i, step, err)) return false;
  }
  return true;
}
