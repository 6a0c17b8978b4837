// Photos in chunks through the fold: right, wrong, repeated and missing chunks, erasures and other records. A consumer that has to load stored chunks comes to what one
// fold from nothing comes to, and a set is complete exactly when it has all its right chunks.
//
// Input: records a batch; then three bytes a record: what, who and which photo, which chunk.
#include "batches.h"
#include "core/record_hash.h"

enum { PHOTOS = 8 };

// The last photo needs more than one word of the set's bits.
static int chunks_of(unsigned photo) { return photo == PHOTOS - 1 ? 66 : (int)(1 + photo % 4); }

static struct ks_bytes bytes_of(unsigned photo, int chunk, bool wrong) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
  return (struct ks_bytes){letters + (photo + (unsigned)chunk + wrong) % 20, (size_t)(1 + (chunk & 3))};
}

static int64_t name_of(unsigned photo, char hex[65]) {
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

static void chunk_add(struct records *records, unsigned photo, const char *user, int chunk, bool wrong, bool wrong_size) {
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

static void record_add(struct records *records, struct input *in) {
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

// What the sets came to, from the records alone: a complete set holds its photo.
static void must_hold_photos(struct records *records) {
  struct ks_fold *fold = ks_fold_new(KS_TOPIC_BLOBS, 0, 1, true);
  must(fold != NULL);
  fold->rulings = &records->rulings;
  ks_fold_enable(fold, ks_topic_kinds(KS_TOPIC_BLOBS), 0);
  for (int i = 0; i < records->count; i++) must(ks_fold_apply(fold, records->list[i]) == KS_FOLD_DONE);
  for (size_t i = 0; i < fold->blobs.count; i++) {
    const struct ks_fold_blob *blob = ((struct ks_fold_blob **)fold->blobs.data)[i];
    bool right = false;
    for (unsigned photo = 0; photo < PHOTOS; photo++) {
      char hex[65];
      int64_t size_bytes = name_of(photo, hex);
      if (!ks_bytes_equal(blob->sha256, ks_bytes_string(hex)) || blob->size_bytes != size_bytes || blob->chunks != chunks_of(photo)) continue;
      right = blob->present_count == blob->chunks;
      for (int c = 0; right && c < blob->chunks; c++) must(ks_bytes_equal(blob->chunk[c].bytes, bytes_of(photo, c, false)));
    }
    must(blob->complete == right);
  }
  ks_fold_free(fold);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = input_of(data, size);
  struct records records = {.topic = KS_TOPIC_BLOBS};
  unsigned how = input_byte(&in);
  while (input_left(&in) && records.count < 400) record_add(&records, &in);
  must_fold_either_way(&records, (int)(1 + how % 16), false);
  must_hold_photos(&records);
  records_free(&records);
  return 0;
}
