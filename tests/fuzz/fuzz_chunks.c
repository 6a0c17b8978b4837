// Photos in chunks through the fold: right, wrong, repeated and missing chunks, erasures and other records. A consumer that has to load stored chunks comes to what one
// fold from nothing comes to, and a set is complete exactly when it has all its right chunks.
//
// Input: records a batch; then three bytes a record: what, who and which photo, which chunk.
#include "batches.h"
#include "photos.h"

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
  while (input_left(&in) && records.count < 400) photo_add(&records, &in);
  must_fold_either_way(&records, (int)(1 + how % 16), false);
  must_hold_photos(&records);
  records_free(&records);
  return 0;
}
