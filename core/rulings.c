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

static bool in_gap(const struct ks_rulings *rulings, enum ks_kind stream, int64_t offset) {
  for (int i = 0; i < rulings->gap_count; i++) {
    int64_t from = rulings->gaps[i].from[stream];
    if (from >= 0 && offset >= from && offset < rulings->gaps[i].to) return true;
  }
  return false;
}

// Ranges end at or below their ruling's own offset: settled from the highest ruling down, each is known to count, or not, before it is used.
static void settle(struct ks_rulings *rulings) {
  if (rulings->settled) return;
  rulings->settled = true;
  rulings->excluded_count = rulings->gap_count = 0;
  for (int i = 0; i < rulings->met_count; i++) {
    const struct ks_ruling *ruling = &rulings->met[i].ruling;
    if (in_gap(rulings, KS_KIND_NONE, rulings->met[i].offset)) continue;
    if (ruling->accept_gap) {
      struct ks_accepted_gap *gap = &rulings->gaps[rulings->gap_count++];
      memcpy(gap->from, ruling->from, sizeof gap->from);
      gap->to = ruling->to;
    } else {
      int at = place_of(rulings, ruling->offset);
      if (at < rulings->excluded_count && rulings->excluded[at] == ruling->offset) continue;
      memmove(rulings->excluded + at + 1, rulings->excluded + at, (size_t)(rulings->excluded_count++ - at) * sizeof *rulings->excluded);
      rulings->excluded[at] = ruling->offset;
    }
  }
}

bool ks_rulings_excluded(struct ks_rulings *rulings, int64_t offset) {
  settle(rulings);
  int at = place_of(rulings, offset);
  return at < rulings->excluded_count && rulings->excluded[at] == offset;
}

bool ks_rulings_accepted(struct ks_rulings *rulings, enum ks_kind stream, int64_t offset) {
  settle(rulings);
  return in_gap(rulings, stream, offset);
}

bool ks_rulings_explain(struct ks_rulings *rulings, unsigned kinds, int64_t from, int64_t to) {
  settle(rulings);
  for (int i = 0; i < rulings->gap_count; i++) {
    bool all = to <= rulings->gaps[i].to;
    for (int k = 0; all && k < KS_KIND_COUNT; k++)
      if (kinds & 1u << k && (rulings->gaps[i].from[k] < 0 || rulings->gaps[i].from[k] > from)) all = false;
    if (all) return true;
  }
  return false;
}

bool ks_rulings_add(struct ks_rulings *rulings, int64_t offset, const struct ks_ruling *ruling) {
  int at = 0;
  while (at < rulings->met_count && rulings->met[at].offset > offset) at++;
  if (at < rulings->met_count && rulings->met[at].offset == offset) return true;
  size_t room = (size_t)rulings->met_count + 1;
  struct ks_ruling_met *met = realloc(rulings->met, room * sizeof *met);
  if (met) rulings->met = met;
  int64_t *excluded = realloc(rulings->excluded, room * sizeof *excluded);
  if (excluded) rulings->excluded = excluded;
  struct ks_accepted_gap *gaps = realloc(rulings->gaps, room * sizeof *gaps);
  if (gaps) rulings->gaps = gaps;
  if (!met || !excluded || !gaps) return false;
  memmove(met + at + 1, met + at, (size_t)(rulings->met_count++ - at) * sizeof *met);
  met[at] = (struct ks_ruling_met){offset, *ruling};
  rulings->settled = false;
  return true;
}

void ks_rulings_free(struct ks_rulings *rulings) {
  free(rulings->met);
  free(rulings->excluded);
  free(rulings->gaps);
  *rulings = (struct ks_rulings){0};
}
