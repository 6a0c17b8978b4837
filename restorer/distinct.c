#include "distinct.h"

#include <stdlib.h>

enum { SLOTS = 2 * KS_DISTINCT_EXACT_MAX, REGISTERS = 1 << KS_DISTINCT_BITS };

static void give_up_exactness(struct ks_distinct *distinct) {
  free(distinct->set);
  distinct->set = NULL;
  distinct->estimated = true;
}

static void add_exact(struct ks_distinct *distinct, uint64_t hash) {
  if (!distinct->set && !(distinct->set = calloc(SLOTS, sizeof *distinct->set))) {
    give_up_exactness(distinct);
    return;
  }
  uint32_t at = (uint32_t)(hash >> 40) % SLOTS;
  while (distinct->set[at] && distinct->set[at] != hash) at = (at + 1) % SLOTS;
  if (distinct->set[at]) return;
  if (distinct->count == KS_DISTINCT_EXACT_MAX) {
    give_up_exactness(distinct);
    return;
  }
  distinct->set[at] = hash;
  distinct->count++;
}

void ks_distinct_add(struct ks_distinct *distinct, uint64_t hash) {
  if (hash == 0) hash = 1;
  uint32_t at = (uint32_t)(hash & (REGISTERS - 1));
  uint64_t rest = hash >> KS_DISTINCT_BITS;
  uint8_t rank = (uint8_t)(rest ? __builtin_ctzll(rest) + 1 : 64 - KS_DISTINCT_BITS + 1);
  if (rank > distinct->registers[at]) distinct->registers[at] = rank;
  if (!distinct->estimated) add_exact(distinct, hash);
}

void ks_distinct_merge(struct ks_distinct *into, const struct ks_distinct *from) {
  for (int i = 0; i < REGISTERS; i++)
    if (from->registers[i] > into->registers[i]) into->registers[i] = from->registers[i];
  if (from->estimated) give_up_exactness(into);
  for (int i = 0; !into->estimated && from->set && i < SLOTS; i++)
    if (from->set[i]) add_exact(into, from->set[i]);
}

int64_t ks_distinct_count(const struct ks_distinct *distinct) {
  if (!distinct->estimated) return distinct->count;
  double sum = 0;
  for (int i = 0; i < REGISTERS; i++) sum += 1.0 / (double)(UINT64_C(1) << distinct->registers[i]);
  const double alpha = 0.7213 / (1 + 1.079 / REGISTERS);
  return (int64_t)(alpha * REGISTERS * REGISTERS / sum);  // the small-range correction is never needed: below it the count is exact
}

void ks_distinct_free(struct ks_distinct *distinct) {
  free(distinct->set);
  distinct->set = NULL;
}
