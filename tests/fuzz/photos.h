// Photos in chunks, right ones and wrong ones, for a log that a fuzz target makes up. Included by fuzz_*.c, and by tests/unit/test_alloc_fold.c.
#ifndef KS_TESTS_FUZZ_PHOTOS_H
#define KS_TESTS_FUZZ_PHOTOS_H

#include "core/record_hash.h"
#include "records.h"

enum { PHOTOS = 8 };

// The last photo needs more than one word of the set's bits.
static inline int chunks_of(unsigned photo) { return photo == PHOTOS - 1 ? 66 : (int)(1 + photo % 4); }

static inline struct ks_bytes bytes_of(unsigned photo, int chunk, bool wrong) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
  return (struct ks_bytes){letters + (photo + (unsigned)chunk + wrong) % 20, (size_t)(1 + (chunk & 3))};
}

static inline int64_t name_of(unsigned photo, char hex[65]) {
  static struct { char hex[65]; int64_t size_bytes; } known[PHOTOS];
  if (known[photo].size_bytes) return memcpy(hex, known[photo].hex, 65), known[photo].size_bytes;
  EVP_MD_CTX *context = ks_hash_begin();
  uint8_t hash[KS_HASH_BYTES];
  int64_t size_bytes = 0;
  for (int i = 0; i < chunks_of(photo); i++) {
    ks_hash_add(context, bytes_of(photo, i, false));
    size_bytes += (int64_t)bytes_of(photo, i, false).size;
  }
  ks_hash_end(context, hash);
  for (int i = 0; i < KS_HASH_BYTES; i++) snprintf(hex + 2 * i, 3, "%02x", hash[i]);
  memcpy(known[photo].hex, hex, 65);
  return known[photo].size_bytes = size_bytes;
}

static inline void chunk_add(struct records *records, unsigned photo, const char *user, int chunk, bool wrong, bool wrong_size) {
  char hex[65];
  int64_t size_bytes = name_of(photo, hex);
  record_begin(records, "keepsake.blob.chunk.v1");
  header_add_number(records, "ce_id", records->offset);
  header_add(records, "ce_source", "/a");
  header_add(records, "ce_subject", hex);
  header_add_number(records, "ce_chunk", chunk);
  header_add_number(records, "ce_chunks", chunks_of(photo));
  header_add_number(records, "ce_size", size_bytes + wrong_size);
  record_end(records, user, bytes_of(photo, chunk, wrong));
}

// One record of the blobs topic from three bytes: what, who and which photo, which chunk.
static inline void photo_add(struct records *records, struct input *in) {
  unsigned what = input_byte(in) % 16, who = input_byte(in), number = input_byte(in);
  unsigned photo = who >> 1 & 7;
  const char *user = users[who & 1];
  if (what == 11) add_erasure(records, user, (int)(number & 3));
  else if (what == 12) add_accepted_gap(records, records->offset < number ? records->offset : number, records->offset, who & 2 ? KS_KIND_NONE : KS_KIND_BLOB);
  else if (what == 13) add_exclusion(records, number);
  else if (what == 14) chunk_add(records, photo, user, chunks_of(photo), false, false);  // one too many
  else if (what == 15) for (int i = 0; i < chunks_of(photo); i++) chunk_add(records, photo, user, i, number == (unsigned)i + 1, false);
  else chunk_add(records, photo, user, (int)number % chunks_of(photo), what == 9, what == 10);
}

#endif
