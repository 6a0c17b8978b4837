#include "table.h"

#include <stdlib.h>
#include <string.h>

static void place(struct ks_table *table, uint64_t hash, void *entry) {
  struct ks_table_slot *slot = ks_table_first(table, hash);
  while (slot->entry) slot = ks_table_after(table, slot);
  *slot = (struct ks_table_slot){hash, entry};
}

static bool grow(struct ks_table *table) {
  struct ks_table bigger = {.count = table->count, .capacity = table->capacity ? table->capacity * 2 : 256};
  bigger.slots = calloc(bigger.capacity, sizeof *bigger.slots);
  if (!bigger.slots) return false;
  for (size_t i = 0; i < table->capacity; i++)
    if (table->slots[i].entry) place(&bigger, table->slots[i].hash, table->slots[i].entry);
  free(table->slots);
  *table = bigger;
  return true;
}

bool ks_table_add(struct ks_table *table, uint64_t hash, void *entry) {
  if ((table->count + 1) * 3 > table->capacity * 2 && !grow(table)) return false;
  place(table, hash, entry);
  table->count++;
  return true;
}

void ks_table_reset(struct ks_table *table) {
  if (table->capacity > 65536 && table->count < table->capacity / 16)
    ks_table_free(table);
  else if (table->slots)
    memset(table->slots, 0, table->capacity * sizeof *table->slots);
  table->count = 0;
}

void ks_table_free(struct ks_table *table) {
  free(table->slots);
  *table = (struct ks_table){0};
}
