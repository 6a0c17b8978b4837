// Two sets of rows held against each other: what a fold says, and what the database has.
#ifndef KS_RESTORER_COMPARE_H
#define KS_RESTORER_COMPARE_H

#include "../core/store_compare.h"

enum ks_difference {
  KS_MISSING,  // the database has it not
  KS_STALE,    // it has an older revision
  KS_EXTRA,    // it has what the log does not say
  KS_ALTERED,  // it has it otherwise
  KS_SAME,     // no difference: told to those who ask for it
};
const char *ks_difference_name(enum ks_difference what);

// `expected` is NULL for an extra row, `found` for a missing one. False ends the comparison.
typedef bool ks_compare_on(void *arg, enum ks_difference what, const struct ks_row *expected, const struct ks_row *found, struct ks_error *err);

// Rows lie one behind another in the runs. `same`: rows that are equal are told too. *rows: counts up the rows that were looked at (each pair once).
bool ks_compare(const struct ks_bytes *expected, int expected_count, const struct ks_bytes *found, int found_count, bool same, ks_compare_on *on, void *arg, int64_t *rows,
                struct ks_error *err);

// Appends a row to a buffer of rows; a ks_row_take whose arg is a struct ks_buf.
bool ks_compare_collect(void *buf, const struct ks_row *row, struct ks_error *err);

#endif
