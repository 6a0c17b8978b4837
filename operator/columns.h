// A table for people: cells are collected and printed in columns as wide as their widest cell. One thread.
#ifndef KS_OPERATOR_COLUMNS_H
#define KS_OPERATOR_COLUMNS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "../core/bytes.h"

enum { KS_COLUMNS_MAX = 10 };

// Zero-initialize but for `count`; free with ks_columns_free.
struct ks_columns {
  int count;          // of columns
  unsigned right;     // bit by column: numbers, to the right
  struct ks_buf text; // the cells, each ended by a NUL
  int cells;
  bool failed;        // memory was out: no more cells are taken, and what is printed says that it is not all
};

// The next cell, row by row. Control characters become '?', so that no data steers a terminal. NULL: "-".
void ks_columns_add(struct ks_columns *columns, const char *cell);
void ks_columns_add_int(struct ks_columns *columns, int64_t value);
void ks_columns_print(const struct ks_columns *columns, FILE *file, const char *indent);
void ks_columns_free(struct ks_columns *columns);

// "1,234,567".
const char *ks_number_text(char text[32], int64_t value);
// "42 s", "3 min 20 s", "2 h 5 min", "12 days".
const char *ks_seconds_text(char text[32], int64_t seconds);
// "1.5 GiB".
const char *ks_size_text(char text[32], int64_t bytes);

#endif
