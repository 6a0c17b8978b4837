// How many different things were met: exact while they are few, by HyperLogLog (Flajolet et al. 2007; 2^12 registers, standard error 1.6 %) beyond. One thread each;
// several are merged into one.
#ifndef KS_RESTORER_CENSUS_H
#define KS_RESTORER_CENSUS_H

#include <stdbool.h>
#include <stdint.h>

enum { KS_CENSUS_EXACT_MAX = 1 << 14, KS_CENSUS_BITS = 12 };

struct ks_census {  // zero-initialize
  uint64_t *set;    // open addressing, 0: free; NULL after it overflowed
  uint32_t count;
  bool estimated;
  uint8_t registers[1 << KS_CENSUS_BITS];
};

// Takes the hash of a thing; all 64 bits must be well mixed.
void ks_census_add(struct ks_census *census, uint64_t hash);
void ks_census_merge(struct ks_census *into, const struct ks_census *from);
int64_t ks_census_count(const struct ks_census *census);
void ks_census_free(struct ks_census *census);

#endif
