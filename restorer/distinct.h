// How many different things were met: exact while they are few, by HyperLogLog (Flajolet et al. 2007; 2^12 registers, standard error 1.6 %) beyond. One thread each;
// several are merged into one.
#ifndef KS_RESTORER_DISTINCT_H
#define KS_RESTORER_DISTINCT_H

#include <stdbool.h>
#include <stdint.h>

enum { KS_DISTINCT_EXACT_MAX = 1 << 14, KS_DISTINCT_BITS = 12 };

struct ks_distinct {  // zero-initialize
  uint64_t *set;    // open addressing, 0: free; NULL after it overflowed
  uint32_t count;
  bool estimated;
  uint8_t registers[1 << KS_DISTINCT_BITS];
};

// Takes the hash of a thing; all 64 bits must be well mixed.
void ks_distinct_add(struct ks_distinct *distinct, uint64_t hash);
void ks_distinct_merge(struct ks_distinct *into, const struct ks_distinct *from);
int64_t ks_distinct_count(const struct ks_distinct *distinct);
void ks_distinct_free(struct ks_distinct *distinct);

#endif
