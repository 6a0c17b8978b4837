// Binary parameters and results for the store's own statements: arrays of text and integers out, integers in. For core/store*.c only.
#ifndef KS_CORE_STORE_PARAMS_H
#define KS_CORE_STORE_PARAMS_H

#include <libpq-fe.h>

#include "bytes.h"
#include "store.h"

enum { KS_PARAMS_MAX = 12 };

// Parameters of one statement, built one after another; the first failure is kept.
struct ks_params {
  int count;
  bool failed;
  struct ks_buf values[KS_PARAMS_MAX];
  Oid types[KS_PARAMS_MAX];
  uint32_t elements[KS_PARAMS_MAX];  // of arrays
};

// Begins an array parameter of text or bigint; elements are added to the parameter of that number.
int ks_params_text_array(struct ks_params *params);
void ks_params_add_text(struct ks_params *params, int parameter, struct ks_bytes value);
void ks_params_text(struct ks_params *params, struct ks_bytes value);
void ks_params_int(struct ks_params *params, int64_t value);
// The four parts of a set's key: user, sha256, chunks, size.
struct ks_fold_blob;
void ks_params_blob_key(struct ks_params *params, const struct ks_fold_blob *blob);
void ks_params_free(struct ks_params *params);

// Runs the statement with binary results; NULL on failure. The caller clears the result.
PGresult *ks_params_query(struct ks_store *store, const char *sql, struct ks_params *params, struct ks_error *err);

int64_t ks_result_int(const PGresult *result, int row, int column);  // int4 or int8, 0 for null
struct ks_bytes ks_result_bytes(const PGresult *result, int row, int column);

#endif
