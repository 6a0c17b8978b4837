#include "columns.h"

#include <string.h>

// Characters, not bytes: continuation bytes of UTF-8 take no room.
static int width(const char *text) {
  int n = 0;
  for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
  return n;
}

void ks_columns_add(struct ks_columns *columns, const char *cell) {
  if (!cell) cell = "-";
  size_t size = strlen(cell) + 1;
  if (columns->failed) return;  // what came after a cell that is not there would stand in the wrong column
  if (!ks_buf_reserve(&columns->text, size) || !ks_buf_add(&columns->text, cell, size)) {
    columns->failed = true;
    return;
  }
  for (char *at = columns->text.data + columns->text.size - size; *at; at++) {
    if ((unsigned char)*at < 0x20 || *at == 0x7f) *at = '?';
  }
  columns->cells++;
}

void ks_columns_add_int(struct ks_columns *columns, int64_t value) {
  char text[32];
  ks_columns_add(columns, ks_number_text(text, value));
}

void ks_columns_print(const struct ks_columns *columns, FILE *file, const char *indent) {
  int widths[KS_COLUMNS_MAX] = {0};
  const char *cell = columns->text.data;
  for (int i = 0; i < columns->cells; i++, cell += strlen(cell) + 1) {
    int w = width(cell);
    if (w > widths[i % columns->count]) widths[i % columns->count] = w;
  }
  cell = columns->text.data;
  for (int i = 0; i < columns->cells; i++, cell += strlen(cell) + 1) {
    int column = i % columns->count, pad = widths[column] - width(cell);
    bool last = column == columns->count - 1;
    if (column == 0) fputs(indent, file);
    if (columns->right >> column & 1) fprintf(file, "%*s%s", pad, "", cell);
    else fprintf(file, "%s%*s", cell, last ? 0 : pad, "");
    fputs(last ? "\n" : "  ", file);
  }
  if (columns->failed) fprintf(file, "%s%sout of memory: this is not all\n", columns->cells % columns->count ? "\n" : "", indent);
}

void ks_columns_free(struct ks_columns *columns) { ks_buf_free(&columns->text); }

const char *ks_number_text(char text[32], int64_t value) {
  char digits[32];
  int size = snprintf(digits, sizeof digits, "%lld", (long long)value), out = 0;
  int sign = digits[0] == '-';
  for (int i = 0; i < size; i++) {
    if (i > sign && (size - i) % 3 == 0) text[out++] = ',';
    text[out++] = digits[i];
  }
  text[out] = 0;
  return text;
}

const char *ks_seconds_text(char text[32], int64_t seconds) {
  if (seconds < 60) snprintf(text, 32, "%lld s", (long long)seconds);
  else if (seconds < 3600) snprintf(text, 32, "%lld min %lld s", (long long)seconds / 60, (long long)seconds % 60);
  else if (seconds < 48 * 3600) snprintf(text, 32, "%lld h %lld min", (long long)seconds / 3600, (long long)seconds / 60 % 60);
  else snprintf(text, 32, "%lld days", (long long)seconds / 86400);
  return text;
}

const char *ks_size_text(char text[32], int64_t bytes) {
  static const char *const UNITS[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = (double)bytes;
  int unit = 0;
  while (value >= 1024 && unit < 6) value /= 1024, unit++;
  snprintf(text, 32, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, UNITS[unit]);
  return text;
}
