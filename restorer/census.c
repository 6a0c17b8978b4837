#include "census.h"

#include <stdlib.h>

enum { SLOTS = 2 * KS_CENSUS_EXACT_MAX, REGISTERS = 1 << KS_CENSUS_BITS };

static void give_up_exactness(struct ks_census *census) {
  free(census->set);
  census->set = NULL;
  census->estimated = true;
}

static void add_exact(struct ks_census *census, uint64_t hash) {
  if (!census->set && !(census->set = calloc(SLOTS, sizeof *census->set))) {
    give_up_exactness(census);
    return;
  }
  uint32_t at = (uint32_t)(hash >> 40) % SLOTS;
  while (census->set[at] && census->set[at] != hash) at = (at + 1) % SLOTS;
  if (census->set[at]) return;
  if (census->count == KS_CENSUS_EXACT_MAX) {
    give_up_exactness(census);
    return;
  }
  census->set[at] = hash;
  census->count++;
}

void ks_census_add(struct ks_census *census, uint64_t hash) {
  if (hash == 0) hash = 1;
  uint32_t at = (uint32_t)(hash & (REGISTERS - 1));
  uint64_t rest = hash >> KS_CENSUS_BITS;
  uint8_t rank = (uint8_t)(rest ? __builtin_ctzll(rest) + 1 : 64 - KS_CENSUS_BITS + 1);
  if (rank > census->registers[at]) census->registers[at] = rank;
  if (!census->estimated) add_exact(census, hash);
}

void ks_census_merge(struct ks_census *into, const struct ks_census *from) {
  for (int i = 0; i < REGISTERS; i++)
    if (from->registers[i] > into->registers[i]) into->registers[i] = from->registers[i];
  if (from->estimated) give_up_exactness(into);
  for (int i = 0; !into->estimated && from->set && i < SLOTS; i++)
    if (from->set[i]) add_exact(into, from->set[i]);
}

int64_t ks_census_count(const struct ks_census *census) {
  if (!census->estimated) return census->count;
  double sum = 0;
  for (int i = 0; i < REGISTERS; i++) sum += 1.0 / (double)(UINT64_C(1) << census->registers[i]);
  const double alpha = 0.7213 / (1 + 1.079 / REGISTERS);
  return (int64_t)(alpha * REGISTERS * REGISTERS / sum);  // the small-range correction is never needed: below it the count is exact
}

void ks_census_free(struct ks_census *census) {
  free(census->set);
  census->set = NULL;
}
