// A hash table of pointers whose owner knows how to compare them. It does not own what it points to, and nothing is ever removed from it singly. One thread.
#ifndef KS_CORE_TABLE_H
#define KS_CORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ks_table_slot {
  uint64_t hash;
  void *entry;  // NULL: free
};

struct ks_table {  // zero-initialize
  struct ks_table_slot *slots;
  size_t count, capacity;  // capacity: 0 or a power of two
};

// The first slot for that hash; go on with ks_table_after until one matches or its entry is NULL (not in the table). NULL: the table is empty.
static inline struct ks_table_slot *ks_table_first(const struct ks_table *table, uint64_t hash) {
  return table->capacity ? &table->slots[hash & (table->capacity - 1)] : NULL;
}
static inline struct ks_table_slot *ks_table_after(const struct ks_table *table, struct ks_table_slot *slot) {
  return ++slot == table->slots + table->capacity ? table->slots : slot;
}

// Adds an entry that is not there yet; false when memory is out.
bool ks_table_add(struct ks_table *table, uint64_t hash, void *entry);
// Empties it and keeps its memory, unless that is large for what it held.
void ks_table_reset(struct ks_table *table);
void ks_table_free(struct ks_table *table);

#endif
