// The fold over a log of changes, erasures, rulings and other records: batches whose rows are loaded say what one fold from nothing says, a stream alone says what it
// says among others, and counts add up.
//
// Input: records a batch and (bit 128) whether documents are loaded early; then five bytes a record.
#include "batches.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = input_of(data, size);
  struct records records = {.topic = KS_TOPIC_CHANGES};
  unsigned how = input_byte(&in);
  while (input_left(&in) && records.count < 200) change_add(&records, &in);
  must_fold_either_way(&records, (int)(1 + how % 16), how & 128);
  records_free(&records);
  return 0;
}
