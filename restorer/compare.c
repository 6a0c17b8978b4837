#include "compare.h"

#include <stdlib.h>

#include "../core/table.h"

enum { FIELD_REVISION = 4 };  // of an item

struct found { const struct ks_row *row; bool met; };

const char *ks_difference_name(enum ks_difference what) {
  static const char *const NAMES[] = {"missing", "stale", "extra", "altered", "whole"};
  return NAMES[what];
}

bool ks_compare_collect(void *buf, const struct ks_row *row, struct ks_error *err) { return ks_buf_add(buf, row, row->size) || ks_error_memory(err); }

static const struct ks_row *row_at(struct ks_bytes run, size_t at) { return (const struct ks_row *)(const void *)(run.data + at); }

static struct found *find(const struct ks_table *table, const struct ks_row *row) {
  uint64_t hash = ks_row_hash(row);
  for (struct ks_table_slot *s = ks_table_first(table, hash); s && s->entry; s = ks_table_after(table, s)) {
    struct found *found = s->entry;
    if (s->hash == hash && !found->met && ks_row_same_key(found->row, row)) return found;
  }
  return NULL;
}

static enum ks_difference kind_of_difference(const struct ks_row *expected, const struct ks_row *found) {
  bool older = expected->table == KS_ROW_ITEM && ks_row_int(found, FIELD_REVISION) < ks_row_int(expected, FIELD_REVISION);
  return older ? KS_STALE : KS_ALTERED;
}

static bool index_found(struct ks_table *table, struct found *list, const struct ks_bytes *runs, int count) {
  size_t n = 0;
  for (int r = 0; r < count; r++)
    for (size_t at = 0; at < runs[r].size; at += row_at(runs[r], at)->size) {
      list[n].row = row_at(runs[r], at);
      if (!ks_table_add(table, ks_row_hash(list[n].row), &list[n])) return false;
      n++;
    }
  return true;
}

bool ks_compare(const struct ks_bytes *expected, int expected_count, const struct ks_bytes *found, int found_count, bool same, ks_compare_on *on, void *arg, int64_t *rows,
                struct ks_error *err) {
  struct ks_table table = {0};
  size_t count = 0;
  for (int r = 0; r < found_count; r++)
    for (size_t at = 0; at < found[r].size; at += row_at(found[r], at)->size) count++;
  struct found *list = calloc(count + 1, sizeof *list);
  bool ok = (list && index_found(&table, list, found, found_count)) || ks_error_memory(err);
  for (int r = 0; ok && r < expected_count; r++)
    for (size_t at = 0; ok && at < expected[r].size; at += row_at(expected[r], at)->size) {
      const struct ks_row *row = row_at(expected[r], at);
      struct found *other = find(&table, row);
      (*rows)++;
      if (other) other->met = true;
      if (!other)
        ok = on(arg, KS_MISSING, row, NULL, err);
      else if (!ks_row_equal(row, other->row))
        ok = on(arg, kind_of_difference(row, other->row), row, other->row, err);
      else if (same)
        ok = on(arg, KS_SAME, row, other->row, err);
    }
  for (size_t i = 0; ok && i < count; i++) {
    if (list[i].met) continue;
    (*rows)++;
    ok = on(arg, KS_EXTRA, NULL, list[i].row, err);
  }
  ks_table_free(&table);
  free(list);
  return ok;
}
