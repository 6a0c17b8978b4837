#include "store_params.h"

#include <string.h>

#include "fold.h"
#include "store_internal.h"

// Type OIDs, fixed in PostgreSQL's pg_type.dat.
enum { OID_INT8 = 20, OID_TEXT = 25, OID_TEXT_ARRAY = 1009 };

static void add_int32(struct ks_params *params, struct ks_buf *buf, uint32_t value) {
  unsigned char bytes[4] = {(unsigned char)(value >> 24), (unsigned char)(value >> 16), (unsigned char)(value >> 8), (unsigned char)value};
  if (!ks_buf_add(buf, bytes, 4)) params->failed = true;
}

// array_recv: dimensions, has nulls, element type, then for the one dimension its length and lower bound; the length is filled in at the end.
int ks_params_text_array(struct ks_params *params) {
  int at = params->count++;
  params->types[at] = OID_TEXT_ARRAY;
  const uint32_t head[] = {1, 0, OID_TEXT, 0, 1};
  for (int i = 0; i < 5; i++) add_int32(params, &params->values[at], head[i]);
  return at;
}

void ks_params_add_text(struct ks_params *params, int parameter, struct ks_bytes value) {
  add_int32(params, &params->values[parameter], (uint32_t)value.size);
  if (!ks_buf_add(&params->values[parameter], value.data, value.size)) params->failed = true;
  params->elements[parameter]++;
}

void ks_params_text(struct ks_params *params, struct ks_bytes value) {
  int at = params->count++;
  params->types[at] = OID_TEXT;
  if (!ks_buf_reserve(&params->values[at], 1) || !ks_buf_add(&params->values[at], value.data, value.size)) params->failed = true;
}

void ks_params_int(struct ks_params *params, int64_t value) {
  int at = params->count++;
  params->types[at] = OID_INT8;
  add_int32(params, &params->values[at], (uint32_t)((uint64_t)value >> 32));
  add_int32(params, &params->values[at], (uint32_t)value);
}

void ks_params_blob_key(struct ks_params *params, const struct ks_fold_blob *blob) {
  ks_params_text(params, blob->user->user);
  ks_params_text(params, blob->sha256);
  ks_params_int(params, blob->chunks);
  ks_params_int(params, blob->size_bytes);
}

void ks_params_free(struct ks_params *params) {
  for (int i = 0; i < params->count; i++) ks_buf_free(&params->values[i]);
  *params = (struct ks_params){0};
}

PGresult *ks_params_query(struct ks_store *store, const char *sql, struct ks_params *params, struct ks_error *err) {
  const char *values[KS_PARAMS_MAX];
  int sizes[KS_PARAMS_MAX], formats[KS_PARAMS_MAX];
  if (params->failed) {
    ks_error_memory(err);
    return NULL;
  }
  for (int i = 0; i < params->count; i++) {
    struct ks_buf *value = &params->values[i];
    if (params->types[i] == OID_TEXT_ARRAY) {
      uint32_t n = params->elements[i];
      unsigned char length[4] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8), (unsigned char)n};
      memcpy(value->data + 12, length, 4);
    }
    values[i] = value->data;
    sizes[i] = (int)value->size;
    formats[i] = 1;
  }
  PGresult *result = PQexecParams(store->conn, sql, params->count, params->types, values, sizes, formats, 1);
  ExecStatusType status = PQresultStatus(result);
  if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) return result;
  ks_store_error(err, store->conn, result, "postgresql");
  PQclear(result);
  return NULL;
}

int64_t ks_result_int(const PGresult *result, int row, int column) {
  if (PQgetisnull(result, row, column)) return 0;
  const unsigned char *bytes = (const unsigned char *)PQgetvalue(result, row, column);
  int size = PQgetlength(result, row, column);
  uint64_t value = size && bytes[0] & 128 ? UINT64_MAX : 0;
  for (int i = 0; i < size; i++) value = value << 8 | bytes[i];
  return (int64_t)value;
}

struct ks_bytes ks_result_bytes(const PGresult *result, int row, int column) {
  if (PQgetisnull(result, row, column)) return (struct ks_bytes){NULL, 0};
  return (struct ks_bytes){PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column)};
}
