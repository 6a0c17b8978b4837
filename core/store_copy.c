#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "store.h"
#include "store_internal.h"

// PostgreSQL documentation, COPY, "Binary Format".
static const char SIGNATURE[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";  // 11 bytes, flags, length of the extension
enum { SIGNATURE_SIZE = 19, SEND_SIZE = 64 * 1024 };

static void add(struct ks_copy *copy, const void *data, size_t size) {
  if (!copy->failed && !ks_buf_add(&copy->buf, data, size)) {
    copy->failed = true;
    ks_error_memory(&copy->error);
  }
}

static void add_int16(struct ks_copy *copy, int value) {
  add(copy, (unsigned char[]){(unsigned char)(value >> 8), (unsigned char)value}, 2);
}

static void put_int32(unsigned char *out, uint32_t value) {
  out[0] = (unsigned char)(value >> 24), out[1] = (unsigned char)(value >> 16), out[2] = (unsigned char)(value >> 8), out[3] = (unsigned char)value;
}

static void send_buffer(struct ks_copy *copy) {
  if (!copy->failed && PQputCopyData(copy->store->conn, copy->buf.data, (int)copy->buf.size) != 1) {
    copy->failed = true;
    ks_store_error(&copy->error, copy->store->conn, NULL, "postgresql, while copying rows");
  }
  copy->buf.size = 0;
}

bool ks_copy_begin(struct ks_copy *copy, struct ks_store *store, const char *target, bool freeze, struct ks_error *err) {
  *copy = (struct ks_copy){.store = store};
  char sql[400];
  snprintf(sql, sizeof sql, "COPY %s FROM STDIN (FORMAT binary%s)", target, freeze ? ", FREEZE" : "");
  PGresult *result = PQexec(store->conn, sql);
  bool ok = PQresultStatus(result) == PGRES_COPY_IN;
  if (!ok) ks_store_error(err, store->conn, result, "postgresql");
  PQclear(result);
  if (ok) add(copy, SIGNATURE, SIGNATURE_SIZE);
  return ok;
}

void ks_copy_row(struct ks_copy *copy, int fields) {
  if (copy->buf.size >= SEND_SIZE) send_buffer(copy);
  copy->rows++;
  add_int16(copy, fields);
}

void ks_copy_null(struct ks_copy *copy) { add(copy, "\377\377\377\377", 4); }

void ks_copy_int4(struct ks_copy *copy, int32_t value) {
  unsigned char field[8] = {0, 0, 0, 4};
  put_int32(field + 4, (uint32_t)value);
  add(copy, field, 8);
}

void ks_copy_int8(struct ks_copy *copy, int64_t value) {
  unsigned char field[12] = {0, 0, 0, 8};
  put_int32(field + 4, (uint32_t)((uint64_t)value >> 32));
  put_int32(field + 8, (uint32_t)value);
  add(copy, field, 12);
}

void ks_copy_bool(struct ks_copy *copy, bool value) { add(copy, (unsigned char[]){0, 0, 0, 1, value}, 5); }

void ks_copy_bytes(struct ks_copy *copy, struct ks_bytes value) {
  if (!value.data) {
    ks_copy_null(copy);
    return;
  }
  unsigned char size[4];
  put_int32(size, (uint32_t)value.size);
  add(copy, size, 4);
  add(copy, value.data, value.size);
}

bool ks_copy_end(struct ks_copy *copy, struct ks_error *err) {
  PGconn *conn = copy->store->conn;
  add_int16(copy, -1);
  send_buffer(copy);
  ks_buf_free(&copy->buf);
  bool sent = PQputCopyEnd(conn, copy->failed ? "keepsake gave up" : NULL) == 1;
  bool ok = sent && !copy->failed;
  if (!sent && !copy->failed) ks_store_error(&copy->error, conn, NULL, "postgresql, while copying rows");
  for (PGresult *result; (result = PQgetResult(conn)); PQclear(result)) {
    if (PQresultStatus(result) == PGRES_COMMAND_OK) continue;
    if (!copy->failed) ks_store_error(&copy->error, conn, result, "postgresql, while copying rows");
    ok = false;
    if (PQresultStatus(result) == PGRES_COPY_IN) {  // the end was not taken: the connection is of no more use
      PQclear(result);
      break;
    }
  }
  if (!ok && err) *err = copy->error;
  return ok;
}
