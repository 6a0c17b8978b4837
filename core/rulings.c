#include <stdlib.h>
#include <string.h>

#include "fold.h"

static int place_of(const struct ks_rulings *rulings, int64_t offset) {
  int low = 0, high = rulings->excluded_count;
  while (low < high) {
    int middle = (low + high) / 2;
    if (rulings->excluded[middle] < offset)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

bool ks_rulings_excluded(const struct ks_rulings *rulings, int64_t offset) {
  int at = place_of(rulings, offset);
  return at < rulings->excluded_count && rulings->excluded[at] == offset;
}

bool ks_rulings_accepted(const struct ks_rulings *rulings, enum ks_kind stream, int64_t offset) {
  for (int i = 0; i < rulings->gap_count; i++) {
    int64_t from = rulings->gaps[i].from[stream];
    if (from >= 0 && offset >= from && offset < rulings->gaps[i].to) return true;
  }
  return false;
}

bool ks_rulings_add(struct ks_rulings *rulings, const struct ks_ruling *ruling) {
  if (ruling->accept_gap) {
    for (int i = 0; i < rulings->gap_count; i++)
      if (rulings->gaps[i].to == ruling->to && memcmp(rulings->gaps[i].from, ruling->from, sizeof ruling->from) == 0) return true;
    struct ks_accepted_gap *gaps = realloc(rulings->gaps, (size_t)(rulings->gap_count + 1) * sizeof *gaps);
    if (!gaps) return false;
    rulings->gaps = gaps;
    memcpy(gaps[rulings->gap_count].from, ruling->from, sizeof ruling->from);
    gaps[rulings->gap_count++].to = ruling->to;
    return true;
  }
  int at = place_of(rulings, ruling->offset);
  if (at < rulings->excluded_count && rulings->excluded[at] == ruling->offset) return true;
  int64_t *excluded = realloc(rulings->excluded, (size_t)(rulings->excluded_count + 1) * sizeof *excluded);
  if (!excluded) return false;
  rulings->excluded = excluded;
  memmove(excluded + at + 1, excluded + at, (size_t)(rulings->excluded_count++ - at) * sizeof *excluded);
  excluded[at] = ruling->offset;
  return true;
}

void ks_rulings_free(struct ks_rulings *rulings) {
  free(rulings->excluded);
  free(rulings->gaps);
  *rulings = (struct ks_rulings){0};
}
