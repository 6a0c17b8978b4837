// Rows of the database: read by binary COPY, deleted by where they stand, written back as they were made.
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_compare.h"
#include "store_compare_internal.h"
#include "store_internal.h"

void ks_rows_place(char text[KS_ROWS_PLACE_BYTES], enum ks_row_table table, enum ks_kind kind, int32_t partition) {
  static const char *const LEAVES[KS_ROW_TABLES] = {NULL, "seen", "conflict", "dead_letter", NULL, NULL, "blob", "blob_chunk"};
  if (table == KS_ROW_ITEM)
    snprintf(text, KS_ROWS_PLACE_BYTES, "keepsake.item_%s_%d", ks_kind_name(kind), (int)partition);
  else if (LEAVES[table])
    snprintf(text, KS_ROWS_PLACE_BYTES, "keepsake.%s_%d", LEAVES[table], (int)partition);
  else
    snprintf(text, KS_ROWS_PLACE_BYTES, "keepsake.%s", table == KS_ROW_MARK ? "erasure" : "ruling");
}

// The columns' names between the brackets, heavy ones as '' where their bytes are not wanted.
static bool add_columns(struct ks_buf *sql, const struct ks_row_shape *shape, bool heavy) {
  const char *at = shape->columns + 1;
  bool ok = true;
  for (int i = 0; ok && i < shape->count; i++) {
    size_t size = strcspn(at, ",)");
    if (shape->heavy >> i & 1 && !heavy)
      ok = ks_buf_printf(sql, "CASE WHEN %.*s IS NOT NULL THEN '' END, ", (int)size, at);
    else
      ok = ks_buf_printf(sql, "%.*s, ", (int)size, at);
    at += size + 1;
    at += strspn(at, " ");
  }
  return ok && ks_buf_add_string(sql, "ctid::text");
}

static bool add_users(struct ks_store *store, struct ks_buf *sql, const struct ks_rows_wanted *wanted) {
  bool ok = ks_buf_add_string(sql, " AND user_id IN (");
  for (int i = 0; ok && i < wanted->user_count; i++) {
    char *literal = PQescapeLiteral(store->conn, wanted->users[i].data, wanted->users[i].size);
    ok = literal && ks_buf_printf(sql, "%s%s", i ? ", " : "", literal);
    PQfreemem(literal);
  }
  return ok && ks_buf_add_string(sql, ")");
}

static bool make_query(struct ks_store *store, const struct ks_rows_wanted *wanted, enum ks_row_table table, struct ks_buf *sql, struct ks_error *err) {
  const struct ks_row_shape *shape = &ks_row_shapes[table];
  char place[KS_ROWS_PLACE_BYTES];
  ks_rows_place(place, table, wanted->kind, wanted->partition);
  bool ok = ks_buf_add_string(sql, "COPY (SELECT ") && add_columns(sql, shape, wanted->deep) && ks_buf_printf(sql, " FROM %s WHERE true", place);
  if (table == KS_ROW_WINDOW || table == KS_ROW_CONFLICT || table == KS_ROW_DEAD || table == KS_ROW_MARK)
    ok = ok && ks_buf_printf(sql, " AND kind = '%s'", ks_kind_name(wanted->kind));
  if (table == KS_ROW_DEAD || table == KS_ROW_MARK || table == KS_ROW_RULING)
    ok = ok && ks_buf_printf(sql, " AND topic = '%s' AND partition = %d", ks_topic_name(wanted->topic), (int)wanted->partition);
  if (wanted->users) ok = ok && add_users(store, sql, wanted);
  ok = ok && ks_buf_add_string(sql, ") TO STDOUT (FORMAT binary)") && ks_buf_add(sql, "", 1);
  return ok || ks_error_memory(err);
}

static uint32_t read_int32(const char *at) {
  const unsigned char *b = (const unsigned char *)at;
  return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

// One row of the COPY at `at`; returns its bytes, 0 when it is not all there, SIZE_MAX at the end's mark.
static size_t parse_row(const char *at, size_t size, int count, struct ks_bytes *fields) {
  size_t used = 2;
  if (size < 2) return 0;
  if ((unsigned char)at[0] == 0xff) return SIZE_MAX;
  for (int i = 0; i < count; i++) {
    if (size - used < 4) return 0;
    uint32_t length = read_int32(at + used);
    used += 4;
    fields[i] = (struct ks_bytes){NULL, 0};
    if (length == UINT32_MAX) continue;
    if (size - used < length) return 0;
    fields[i] = (struct ks_bytes){at + used, length};
    used += length;
  }
  return used;
}

// Takes what has come so far; what is not a whole row yet stays in the buffer.
static bool take_rows(struct ks_row_maker *maker, enum ks_row_table table, struct ks_buf *in, bool *headed, struct ks_error *err) {
  enum { HEAD_BYTES = 19 };
  int count = ks_row_shapes[table].count;
  struct ks_bytes fields[KS_ROW_FIELDS_MAX + 1];
  size_t at = 0;
  if (!*headed) {
    if (in->size < HEAD_BYTES) return true;
    *headed = true;
    at = HEAD_BYTES;
  }
  for (size_t used; (used = parse_row(in->data + at, in->size - at, count + 1, fields)) != 0; at += used) {
    if (used == SIZE_MAX) {
      in->size = 0;
      return true;
    }
    if (!ks_row_make(maker, table, fields, fields[count], err)) return false;
  }
  memmove(in->data, in->data + at, in->size - at);
  in->size -= at;
  return true;
}

// Runs the COPY and hands its rows on. After a failure of ours what is left is read and thrown away, so that the connection can go on.
static bool run_copy(struct ks_store *store, const char *sql, struct ks_row_maker *maker, enum ks_row_table table, struct ks_error *err) {
  struct ks_buf in = {0};
  bool ok, headed = false;
  PGresult *result = PQexec(store->conn, sql);
  ok = PQresultStatus(result) == PGRES_COPY_OUT || ks_store_error(err, store->conn, result, "postgresql");
  PQclear(result);
  if (!ok) return false;
  for (char *piece;;) {
    int size = PQgetCopyData(store->conn, &piece, 0);
    if (size < 0) break;
    ok = ok && (ks_buf_add(&in, piece, (size_t)size) || ks_error_memory(err)) && take_rows(maker, table, &in, &headed, err);
    PQfreemem(piece);
  }
  for (; (result = PQgetResult(store->conn)); PQclear(result))
    if (ok && PQresultStatus(result) != PGRES_COMMAND_OK) ok = ks_store_error(err, store->conn, result, "postgresql, while reading rows");
  ks_buf_free(&in);
  return ok;
}

bool ks_rows_read(struct ks_store *store, const struct ks_rows_wanted *wanted, ks_row_take *take, void *arg, struct ks_error *err) {
  struct ks_row_maker maker = {.wanted = wanted, .take = take, .arg = arg};
  bool ok = true;
  for (int table = 0; ok && table < KS_ROW_TABLES; table++) {
    struct ks_buf sql = {0};
    if (!(ks_row_tables(wanted->kind) & ~wanted->without & 1u << table) || (wanted->users && (wanted->user_count == 0 || ks_row_shapes[table].user < 0))) continue;
    ok = make_query(store, wanted, table, &sql, err) && run_copy(store, sql.data, &maker, table, err);
    ks_buf_free(&sql);
  }
  ks_buf_free(&maker.buf);
  return ok;
}

bool ks_rows_people(struct ks_store *store, enum ks_kind kind, int32_t partition, bool (*take)(void *arg, struct ks_bytes user), void *arg, struct ks_error *err) {
  char sql[128];
  bool ok = true;
  snprintf(sql, sizeof sql, "SELECT DISTINCT user_id FROM keepsake.item_%s_%d", ks_kind_name(kind), (int)partition);
  ok = PQsendQueryParams(store->conn, sql, 0, NULL, NULL, NULL, NULL, 0) == 1 && PQsetSingleRowMode(store->conn) == 1;
  if (!ok) return ks_store_error(err, store->conn, NULL, "postgresql");
  for (PGresult *result; (result = PQgetResult(store->conn)); PQclear(result)) {
    ExecStatusType status = PQresultStatus(result);
    if (ok && status == PGRES_SINGLE_TUPLE && !take(arg, (struct ks_bytes){PQgetvalue(result, 0, 0), (size_t)PQgetlength(result, 0, 0)})) ok = ks_error_memory(err);
    if (ok && status != PGRES_SINGLE_TUPLE && status != PGRES_TUPLES_OK) ok = ks_store_error(err, store->conn, result, "postgresql");
  }
  return ok;
}

bool ks_rows_delete(struct ks_store *store, enum ks_kind kind, int32_t partition, const struct ks_row *const *rows, int count, struct ks_error *err) {
  bool ok = true;
  for (int table = 0; ok && table < KS_ROW_TABLES; table++) {
    struct ks_buf sql = {0};
    char place[KS_ROWS_PLACE_BYTES];
    int deleted = 0;
    ks_rows_place(place, table, kind, partition);
    ok = ks_buf_printf(&sql, "DELETE FROM %s WHERE ctid = ANY ('{", place);
    for (int i = 0; ok && i < count; i++)
      if (rows[i]->table == table) ok = ks_buf_printf(&sql, "%s\"%s\"", deleted++ ? "," : "", rows[i]->ctid);
    ok = ok && ks_buf_add(&sql, "}'::tid[])", 11);
    if (!ok) ks_error_memory(err);
    struct ks_rows result;
    if (ok && deleted && (ok = ks_store_query(store, sql.data, 0, NULL, &result, err))) {
      if (ks_rows_affected(&result) != deleted)
        ok = ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_FAILED, "%d of %d rows of %s were changed by somebody else meanwhile", deleted - ks_rows_affected(&result), deleted, place);
      ks_rows_free(&result);
    }
    ks_buf_free(&sql);
  }
  return ok;
}

bool ks_rows_insert(struct ks_store *store, const struct ks_row *const *rows, int count, struct ks_error *err) {
  static const char *const PARENTS[KS_ROW_TABLES] = {"item", "seen", "conflict", "dead_letter", "erasure", "ruling", "blob", "blob_chunk"};
  for (int table = 0; table < KS_ROW_TABLES; table++) {
    struct ks_copy copy;
    bool begun = false;
    for (int i = 0; i < count; i++) {
      char target[240];
      if (rows[i]->table != table) continue;
      snprintf(target, sizeof target, "keepsake.%s %s", PARENTS[table], ks_row_shapes[table].columns);
      if (!begun && !ks_copy_begin(&copy, store, target, false, err)) return false;
      begun = true;
      ks_copy_row(&copy, rows[i]->count);
      for (int f = 0; f < rows[i]->count; f++) ks_copy_bytes(&copy, ks_row_field(rows[i], f));
    }
    if (begun && !ks_copy_end(&copy, err)) return false;
  }
  return true;
}
