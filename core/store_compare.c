// Rows as values: their form, and the fold's.
#include "store_compare.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_compare_internal.h"
#include "store_rows.h"

const struct ks_row_shape ks_row_shapes[KS_ROW_TABLES] = {
    [KS_ROW_ITEM] = {"item", KS_ROWS_ITEM, 9, {0, 2, 3, -1}, 2, 3, 1u << 8},
    [KS_ROW_WINDOW] = {"window", KS_ROWS_SEEN, 7, {1, 2, 3, -1}, 2, 3, 0},
    [KS_ROW_CONFLICT] = {"conflict", KS_ROWS_CONFLICT, 10, {1, 2, -1}, 3, 4, 1u << 9},
    [KS_ROW_DEAD] = {"dead letter", KS_ROWS_DEAD, 13, {0, 2, 3, -1}, 8, 3, 1u << 10 | 1u << 11 | 1u << 12},
    [KS_ROW_MARK] = {"mark", KS_ROWS_ERASURE, 6, {0, 2, 3, 4, -1}, 3, 4, 0},
    [KS_ROW_RULING] = {"ruling", KS_ROWS_RULING, 5, {0, 2, -1}, -1, 2, 0},
    [KS_ROW_BLOB] = {"photo", KS_ROWS_BLOB, 7, {1, 2, 3, 4, -1}, 1, 2, 0},
    [KS_ROW_CHUNK] = {"photo chunk", KS_ROWS_CHUNK, 8, {1, 2, 3, 4, 5, -1}, 1, 2, 1u << 7},
};

const char *ks_row_table_name(enum ks_row_table table) { return ks_row_shapes[table].name; }

unsigned ks_row_tables(enum ks_kind kind) {
  unsigned all = 1u << KS_ROW_DEAD | 1u << KS_ROW_MARK;
  if (kind == KS_KIND_NONE) return all | 1u << KS_ROW_RULING;
  if (kind == KS_KIND_BLOB) return all | 1u << KS_ROW_BLOB | 1u << KS_ROW_CHUNK;
  return all | 1u << KS_ROW_ITEM | 1u << KS_ROW_WINDOW | 1u << KS_ROW_CONFLICT;
}

struct ks_bytes ks_row_field(const struct ks_row *row, int field) {
  const char *at = row->data;
  for (int i = 0;; i++) {
    int32_t size;
    memcpy(&size, at, sizeof size);
    if (i == field) return size < 0 ? (struct ks_bytes){NULL, 0} : (struct ks_bytes){at + sizeof size, (size_t)size};
    at += sizeof size + (size > 0 ? (size_t)size : 0);
  }
}

int64_t ks_row_int(const struct ks_row *row, int field) {
  struct ks_bytes bytes = ks_row_field(row, field);
  uint64_t value = bytes.size && (unsigned char)bytes.data[0] & 128 ? UINT64_MAX : 0;
  for (size_t i = 0; i < bytes.size; i++) value = value << 8 | (unsigned char)bytes.data[i];
  return (int64_t)value;
}

struct ks_bytes ks_row_user(const struct ks_row *row) {
  int field = ks_row_shapes[row->table].user;
  return field < 0 ? (struct ks_bytes){NULL, 0} : ks_row_field(row, field);
}

bool ks_row_describe(const struct ks_row *row, struct ks_buf *out) {
  struct ks_bytes about = ks_row_field(row, ks_row_shapes[row->table].about);
  switch ((enum ks_row_table)row->table) {
    case KS_ROW_DEAD:
    case KS_ROW_RULING:
      return ks_buf_printf(out, "offset %" PRId64, ks_row_int(row, row->table == KS_ROW_DEAD ? 3 : 2));
    case KS_ROW_CONFLICT:
      return ks_buf_add(out, about.data, about.size) && ks_buf_printf(out, " at offset %" PRId64, ks_revision_offset(ks_row_int(row, 2)));
    case KS_ROW_CHUNK:
      return ks_buf_add(out, about.data, about.size) && ks_buf_printf(out, " chunk %" PRId64, ks_row_int(row, 5));
    default:
      return ks_buf_add(out, about.data, about.size);
  }
}

bool ks_row_same_key(const struct ks_row *a, const struct ks_row *b) {
  if (a->table != b->table) return false;
  for (const signed char *field = ks_row_shapes[a->table].key; *field >= 0; field++)
    if (!ks_bytes_equal(ks_row_field(a, *field), ks_row_field(b, *field))) return false;
  return true;
}

bool ks_row_equal(const struct ks_row *a, const struct ks_row *b) {
  return a->table == b->table && a->size == b->size && memcmp(a->data, b->data, a->size - sizeof *a) == 0;
}

uint64_t ks_row_hash(const struct ks_row *row) {
  uint64_t hash = row->table + 1u;
  for (const signed char *field = ks_row_shapes[row->table].key; *field >= 0; field++) hash = ks_bytes_hash(ks_row_field(row, *field), hash);
  return hash;
}

static bool add_digest(struct ks_buf *out, struct ks_bytes bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  return EVP_Digest(bytes.data, bytes.size, digest, &size, EVP_sha256(), NULL) == 1 && ks_buf_add(out, &(int32_t){(int32_t)size}, 4) && ks_buf_add(out, digest, size);
}

// A heavy field is left out, or told by its digest, where the comparison is not to see its bytes.
static bool add_field(struct ks_row_maker *maker, int field, struct ks_bytes bytes) {
  const struct ks_row_shape *shape = &ks_row_shapes[maker->table];
  bool heavy = shape->heavy >> field & 1;
  if (bytes.data && heavy && maker->wanted->digests && maker->table == KS_ROW_DEAD) return add_digest(&maker->buf, bytes);
  if (bytes.data && heavy && !maker->wanted->deep) bytes = KS_BYTES("");
  int32_t size = bytes.data ? (int32_t)bytes.size : -1;
  return ks_buf_add(&maker->buf, &size, sizeof size) && ks_buf_add(&maker->buf, bytes.data, bytes.size);
}

bool ks_row_make(struct ks_row_maker *maker, enum ks_row_table table, const struct ks_bytes *fields, struct ks_bytes ctid, struct ks_error *err) {
  const struct ks_row_shape *shape = &ks_row_shapes[table];
  struct ks_row head = {.table = (uint16_t)table, .kind = (uint8_t)maker->wanted->kind, .count = (uint8_t)shape->count};
  if (ctid.size < sizeof head.ctid) memcpy(head.ctid, ctid.data ? ctid.data : "", ctid.size);
  maker->buf.size = 0;
  maker->table = table;
  bool ok = ks_buf_add(&maker->buf, &head, sizeof head);
  for (int i = 0; ok && i < shape->count; i++) ok = add_field(maker, i, fields[i]);
  ok = ok && ks_buf_add(&maker->buf, "\0\0\0\0\0\0\0", -maker->buf.size & 7);
  if (!ok) return ks_error_memory(err);
  ((struct ks_row *)(void *)maker->buf.data)->size = (uint32_t)maker->buf.size;
  return maker->take(maker->arg, (const struct ks_row *)(const void *)maker->buf.data, err);
}

// The row that an encoder has just put into the copy's buffer: the same code writes and is compared.
static bool take_encoded(struct ks_row_maker *maker, struct ks_copy *copy, enum ks_row_table table, struct ks_error *err) {
  struct ks_bytes fields[KS_ROW_FIELDS_MAX];
  const unsigned char *at = (const unsigned char *)copy->buf.data + 2;
  if (copy->failed) {
    *err = copy->error;
    return false;
  }
  for (int i = 0; i < ks_row_shapes[table].count; i++) {
    uint32_t size = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    at += 4;
    fields[i] = size == UINT32_MAX ? (struct ks_bytes){NULL, 0} : (struct ks_bytes){(const char *)at, size};
    if (size != UINT32_MAX) at += size;
  }
  copy->buf.size = 0;  // one row at a time: the encoders send nothing
  return ks_row_make(maker, table, fields, (struct ks_bytes){NULL, 0}, err);
}

static bool fold_items(const struct ks_fold *fold, struct ks_row_maker *maker, struct ks_copy *copy, struct ks_error *err) {
  struct ks_fold_item *const *items = fold->items.data;
  for (size_t i = 0; i < fold->items.count; i++) {
    if (!items[i]->present || items[i]->user->kind != maker->wanted->kind) continue;
    struct ks_fold_item item = *items[i];
    if (!maker->wanted->deep && item.doc.data) item.doc = KS_BYTES("");
    ks_row_item(copy, fold->partition, &item);
    if (!take_encoded(maker, copy, KS_ROW_ITEM, err)) return false;
  }
  struct ks_fold_window *const *windows = fold->windows.data;
  for (size_t i = 0; i < fold->windows.count; i++) {
    if (!windows[i]->present || windows[i]->user->kind != maker->wanted->kind) continue;
    ks_row_seen(copy, fold->partition, windows[i]);
    if (!take_encoded(maker, copy, KS_ROW_WINDOW, err)) return false;
  }
  const struct ks_fold_conflict *conflicts = fold->conflicts.data;
  for (size_t i = 0; i < fold->conflicts.count; i++) {
    if (conflicts[i].dropped || conflicts[i].user->kind != maker->wanted->kind) continue;
    ks_row_conflict(copy, fold->partition, &conflicts[i]);
    if (!take_encoded(maker, copy, KS_ROW_CONFLICT, err)) return false;
  }
  return true;
}

static bool fold_blobs(const struct ks_fold *fold, struct ks_row_maker *maker, struct ks_copy *copy, struct ks_error *err) {
  struct ks_fold_blob *const *blobs = fold->blobs.data;
  for (size_t i = 0; i < fold->blobs.count; i++) {
    if (blobs[i]->present_count == 0 || blobs[i]->user->kind != maker->wanted->kind) continue;
    ks_row_blob(copy, fold->partition, blobs[i]);
    if (!take_encoded(maker, copy, KS_ROW_BLOB, err)) return false;
    for (int32_t c = 0; c < blobs[i]->chunks; c++) {
      if (!ks_fold_blob_has(blobs[i], c)) continue;
      ks_row_chunk(copy, fold->partition, blobs[i], c);
      if (!take_encoded(maker, copy, KS_ROW_CHUNK, err)) return false;
    }
  }
  return true;
}

static bool fold_rest(const struct ks_fold *fold, struct ks_row_maker *maker, struct ks_copy *copy, struct ks_error *err) {
  const struct ks_fold_dead *dead = fold->dead.data;
  for (size_t i = 0; i < fold->dead.count; i++) {
    if (dead[i].stream != maker->wanted->kind) continue;
    ks_row_dead(copy, &dead[i]);
    if (!take_encoded(maker, copy, KS_ROW_DEAD, err)) return false;
  }
  struct ks_fold_mark *const *marks = fold->marks.data;
  for (size_t i = 0; i < fold->marks.count; i++) {
    if (!marks[i]->fresh || marks[i]->user->kind != maker->wanted->kind) continue;
    ks_row_erasure(copy, fold->topic, fold->partition, marks[i]);
    if (!take_encoded(maker, copy, KS_ROW_MARK, err)) return false;
  }
  const struct ks_packed *const *rulings = fold->rulings_met.data;
  size_t count = maker->wanted->kind == KS_KIND_NONE ? fold->rulings_met.count : 0;  // control records are no other stream's
  for (size_t i = 0; i < count; i++) {
    ks_row_ruling(copy, rulings[i]);
    if (!take_encoded(maker, copy, KS_ROW_RULING, err)) return false;
  }
  return true;
}

bool ks_rows_of_fold(const struct ks_fold *fold, const struct ks_rows_wanted *wanted, ks_row_take *take, void *arg, struct ks_error *err) {
  struct ks_row_maker maker = {.wanted = wanted, .take = take, .arg = arg};
  struct ks_copy copy = {0};
  bool ok = fold_items(fold, &maker, &copy, err) && fold_blobs(fold, &maker, &copy, err) && fold_rest(fold, &maker, &copy, err);
  ks_buf_free(&copy.buf);
  ks_buf_free(&maker.buf);
  return ok;
}
