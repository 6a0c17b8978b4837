// Receipts as they are given to `wait`: an argument, or a file of them. No crash, nothing that no log can have, no refusal without a message.
#include <stdio.h>

#include "input.h"
#include "operator/receipts.c"  // (targets are linked with core only)

static void read_all(const char *argument) {
  struct ks_receipts receipts = {0};
  struct ks_error err = {.message = ""};
  bool ok = ks_receipts_read(&receipts, &argument, 1, &err);
  must(ok || (err.message[0] && (err.exit == KS_EXIT_USAGE || err.exit == KS_EXIT_REFUSED)));
  for (int i = 0; i < receipts.count; i++) {
    const struct ks_receipt *receipt = &receipts.list[i];
    must(receipt->id && receipt->topic < KS_TOPIC_COUNT && receipt->partition >= 0 && receipt->partition < KS_PARTITIONS_MAX);
    must(receipt->offset >= -1 && receipt->offset < INT64_C(1) << 48);
  }
  ks_receipts_sort(&receipts);
  for (int i = 1; i < receipts.count; i++) must(compare(&receipts.list[i - 1], &receipts.list[i]) <= 0);
  ks_receipts_free(&receipts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = malloc(size + 1);
  if (!text) return 0;
  if (size) memcpy(text, data, size);
  text[size] = 0;
  if (text[0] != '@') read_all(text);
  free(text);

  char path[80];
  snprintf(path, sizeof path, "@%s", input_file(data, size));
  read_all(path);
  return 0;
}
