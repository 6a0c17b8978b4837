// Between core/store_compare*.c only.
#ifndef KS_CORE_STORE_COMPARE_INTERNAL_H
#define KS_CORE_STORE_COMPARE_INTERNAL_H

#include "store_compare.h"

enum { KS_ROW_FIELDS_MAX = 13 };

struct ks_row_shape {
  const char *name, *columns;
  int count;
  signed char key[6];  // fields, ended by -1
  signed char user;    // field, -1: nobody's
  signed char about;   // the field that tells people which
  unsigned heavy;      // fields (1 << field) that are left out of shallow rows
};
extern const struct ks_row_shape ks_row_shapes[KS_ROW_TABLES];

struct ks_row_maker {
  const struct ks_rows_wanted *wanted;
  ks_row_take *take;
  void *arg;
  enum ks_row_table table;
  struct ks_buf buf;
};

// Makes a row of its fields and hands it on.
bool ks_row_make(struct ks_row_maker *maker, enum ks_row_table table, const struct ks_bytes *fields, struct ks_bytes ctid, struct ks_error *err);

#endif
