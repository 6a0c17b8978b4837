// Judged records (or other runs of bytes) set apart into buckets, in memory while they fit and in a temporary file beyond: how a whole log is folded in bounded
// memory. Each bucket keeps the order in which it was filled. The file has no name: it goes with the process, however that ends.
// One thread fills a spill; once it is filled, different buckets may be read and dropped by different threads.
#ifndef KS_CORE_SPILL_H
#define KS_CORE_SPILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "error.h"

struct ks_spill;

// A spill of that many buckets, which keeps about memory_bytes in memory (at least one run, however large). `folder` is where the file is made, at the first
// byte that does not fit. NULL: out of memory.
struct ks_spill *ks_spill_new(const char *folder, int buckets, size_t memory_bytes, struct ks_error *err);
void ks_spill_free(struct ks_spill *spill);

// The end of a bucket, with room for `bound` more bytes at a multiple of 8: the caller appends one run whose size is a multiple of 8, or nothing, and then calls
// ks_spill_added. NULL: out of memory. The buffer is the spill's and moves with the next call.
struct ks_buf *ks_spill_tail(struct ks_spill *spill, int bucket, size_t bound, struct ks_error *err);
// Counts what was appended, and makes room in memory if there is too much. False: the file cannot be written.
bool ks_spill_added(struct ks_spill *spill, int bucket, struct ks_error *err);

// Bytes of a bucket; bytes that went to the file, in all.
int64_t ks_spill_size(const struct ks_spill *spill, int bucket);
int64_t ks_spill_written(const struct ks_spill *spill);

// A bucket's content in its order, in runs that each hold whole additions. Zero-initialize.
struct ks_spill_data {
  struct ks_bytes *runs;
  int count;
  char *read;  // what came from the file
};
// Brings a whole bucket into memory; what is there already is not copied. False: *err, and *data is empty.
bool ks_spill_read(struct ks_spill *spill, int bucket, struct ks_spill_data *data, struct ks_error *err);
void ks_spill_data_free(struct ks_spill_data *data);

// The same piece by piece, each of at most `bound` bytes unless one addition is larger: for buckets that do not fit. `size_of` says how long the addition that
// begins there is (8 bytes can be looked at). *run lives until the next call; *at begins at 0 and is opaque; run->size 0: the end.
bool ks_spill_next(struct ks_spill *spill, int bucket, size_t bound, size_t (*size_of)(const char *addition), struct ks_buf *buffer, int64_t *at,
                   struct ks_bytes *run, struct ks_error *err);

// Forgets a bucket and frees its memory and its room in the file.
void ks_spill_drop(struct ks_spill *spill, int bucket);

#endif
