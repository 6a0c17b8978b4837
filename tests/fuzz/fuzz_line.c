// Lines of NDJSON: no crash; a valid one is the same event after it was written and read again; and the same bytes as a structured record with that key get the
// same verdict, in every word.
#include "core/record.h"
#include "input.h"

static void must_agree_with_record(struct ks_bytes line, const struct ks_event *event) {
  struct ks_header header = {KS_BYTES("content-type"), KS_BYTES("application/cloudevents+json")};
  bool blobs = ks_bytes_equal(event->type, KS_BYTES("keepsake.blob.chunk.v1"));
  struct ks_record record = {.topic = blobs ? KS_TOPIC_BLOBS : KS_TOPIC_CHANGES, .offset = 9, .key = event->user, .value = line, .headers = &header, .header_count = 1};
  if (!record.key.data) record.key = KS_BYTES("anna");
  struct ks_scratch scratch = {0};
  struct ks_event again;
  must(ks_event_judge(&record, 1, &scratch, &again));
  must(again.reason == event->reason && strcmp(again.detail, event->detail) == 0 && again.stream == event->stream);
  if (!event->reason) {
    must_be_same(event, &again);
    must(ks_bytes_equal(event->doc, again.doc) && ks_bytes_equal(event->time, again.time) && ks_bytes_equal(event->type, again.type));
  }
  ks_scratch_free(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct ks_bytes line = {size ? (const char *)data : "", size};
  struct ks_scratch scratch = {0};
  struct ks_event event;
  must(ks_event_judge_line(line, &scratch, &event));
  must(event.reason < KS_REASON_EXCLUDED && event.reason != KS_REASON_WRONG_PARTITION && event.reason != KS_REASON_WRONG_TOPIC);
  must(event.reason != KS_REASON_PARTITIONKEY_MISMATCH && ks_utf8_valid(ks_bytes_string(event.detail)));
  must(event.reason || ks_name_valid(event.user));
  if (!event.reason) must_survive_line(&event);
  if (size && data[size - 1] == '\n') line.size--;
  if (line.size && data[line.size - 1] == '\r') line.size--;
  if (event.reason != KS_REASON_KEY_MISSING && event.reason != KS_REASON_KEY_INVALID) must_agree_with_record(line, &event);
  ks_scratch_free(&scratch);
  return 0;
}
