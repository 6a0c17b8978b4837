// Packed records: everything that the verdict found comes out as it went in, the record hash included, wherever the buffer moves to.
#include "core/packed.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 300 };

static struct ks_scratch scratch;

static void same_run(struct ks_bytes a, struct ks_bytes b) { ck_assert(ks_bytes_equal(a, b)); }

static const struct ks_packed *pack(struct ks_buf *buf, const struct ks_record *record, struct ks_event *event) {
  size_t before = buf->size;
  ck_assert(ks_event_judge(record, 1, &scratch, event));
  size_t bound = ks_packed_bound(record, event);
  ck_assert(ks_packed_add(buf, record, event));
  const struct ks_packed *packed = (const struct ks_packed *)(const void *)(buf->data + before);
  ck_assert_uint_eq(buf->size, before + packed->size);
  ck_assert_uint_eq(packed->size % 8, 0);
  ck_assert_uint_le(packed->size, bound);
  return packed;
}

static void is_same(const struct ks_packed *packed, const struct ks_record *record, const struct ks_event *event) {
  uint8_t expected[KS_HASH_BYTES], hash[KS_HASH_BYTES];
  ks_record_hash(record, expected);
  ks_packed_hash(packed, hash);
  ck_assert_mem_eq(hash, expected, KS_HASH_BYTES);
  ck_assert(packed->offset == record->offset && packed->time_ms == record->time_ms && packed->partition == record->partition && packed->topic == record->topic);
  ck_assert(packed->reason == event->reason && packed->stream == event->stream);
  same_run(ks_packed_run(packed, packed->key), record->key);
  same_run(ks_packed_run(packed, packed->value), record->value);
  same_run(ks_packed_run(packed, packed->user), event->user);
  same_run(ks_packed_run(packed, packed->item), event->item);
  same_run(ks_packed_run(packed, packed->source), event->source);
  same_run(ks_packed_run(packed, packed->id), event->id);
  if (event->reason) {
    same_run(ks_packed_run(packed, packed->detail), ks_bytes_string(event->detail));
    return;
  }
  ck_assert(packed->act == event->act && packed->kind == event->kind && packed->sequence == event->sequence && packed->baserev == event->baserev);
  same_run(ks_packed_run(packed, packed->doc), event->doc);
}

// A binary record of that type; its last header's value is null.
static struct ks_record binary(const char *type) {
  static struct ks_header headers[] = {{KS_BYTES("ce_specversion"), KS_BYTES("1.0")}, {KS_BYTES("ce_id"), KS_BYTES("e-1")},    {KS_BYTES("ce_source"), KS_BYTES("/h/1")},
                                       {KS_BYTES("ce_subject"), KS_BYTES("i1")},      {KS_BYTES("ce_sequence"), KS_BYTES("7")}, {KS_BYTES("ce_type"), {NULL, 0}},
                                       {KS_BYTES("x"), {NULL, 0}}};
  headers[5].value = ks_bytes_string(type);
  return (struct ks_record){.offset = 9, .time_ms = 1234, .key = KS_BYTES("anna"), .headers = headers, .header_count = 7};
}

static void goes_through(struct ks_record record, enum ks_reason reason) {
  struct ks_buf buf = {0};
  struct ks_event event;
  const struct ks_packed *packed = pack(&buf, &record, &event);
  ck_assert_msg(event.reason == reason, "%s %s", ks_reason_code(event.reason), event.detail);
  is_same(packed, &record, &event);
  ks_buf_free(&buf);
}

START_TEST(binary_events_keep_all_runs_and_the_hash) {
  struct ks_record put = binary("keepsake.note.put.v1");
  put.value = KS_BYTES("{\"title\":\"x\"}");
  goes_through(put, KS_REASON_NONE);
  struct ks_record removed = binary("keepsake.note.delete.v1");
  goes_through(removed, KS_REASON_NONE);
  removed.value = KS_BYTES("");
  goes_through(removed, KS_REASON_NONE);
}
END_TEST

START_TEST(invalid_records_keep_their_bytes_their_nulls_and_the_detail) {
  struct ks_record bad = binary("keepsake.note.put.v1");
  bad.value = KS_BYTES("no json");
  goes_through(bad, KS_REASON_JSON_SYNTAX);
  goes_through((struct ks_record){.value = KS_BYTES("")}, KS_REASON_KEY_MISSING);
  goes_through((struct ks_record){.key = KS_BYTES(""), .time_ms = -1}, KS_REASON_KEY_INVALID);
}
END_TEST

START_TEST(structured_events_with_escapes_keep_what_is_not_in_the_record) {
  struct ks_record record = {.key = KS_BYTES("anna"), .headers = (const struct ks_header[]){{KS_BYTES("content-type"), KS_BYTES("application/cloudevents+json")}}, .header_count = 1};
  record.value = KS_BYTES("{\"specversion\":\"1.0\",\"id\":\"\\u0065-1\",\"source\":\"/h/\\u0031\",\"subject\":\"i1\",\"type\":\"keepsake.note.put.v1\",\"data\":{\"a\": 1}}");
  goes_through(record, KS_REASON_NONE);
}
END_TEST

START_TEST(a_ruling_comes_out_as_it_was_judged) {
  struct ks_buf buf = {0};
  struct ks_event event;
  struct ks_record record = {.offset = 12, .headers = (const struct ks_header[]){{KS_BYTES("ce_specversion"), KS_BYTES("1.0")}, {KS_BYTES("ce_id"), KS_BYTES("r")},
                             {KS_BYTES("ce_source"), KS_BYTES("/keepsake/x")}, {KS_BYTES("ce_type"), KS_BYTES("keepsake.ruling.v1")}}, .header_count = 4,
                             .value = KS_BYTES("{\"act\":\"exclude\",\"offset\":5}")};
  const struct ks_packed *packed = pack(&buf, &record, &event);
  struct ks_ruling ruling;
  ck_assert(!event.reason && packed->control == KS_CONTROL_RULING);
  ks_packed_ruling(packed, &ruling);
  ck_assert(!ruling.accept_gap && ruling.offset == 5);
  is_same(packed, &record, &event);
  ks_buf_free(&buf);
}
END_TEST

START_TEST(records_follow_one_another_and_survive_the_growth_of_the_buffer) {
  struct ks_buf buf = {0};
  struct ks_event event;
  char values[COUNT][24], keys[COUNT][24];
  for (int i = 0; i < COUNT; i++) {
    snprintf(values[i], sizeof values[i], "{\"n\":%d}", i * i);
    snprintf(keys[i], sizeof keys[i], "user%d", i);
    struct ks_record record = binary("keepsake.note.put.v1");
    record.key = ks_bytes_string(keys[i]);
    record.value = ks_bytes_string(values[i]);
    record.offset = i;
    pack(&buf, &record, &event);
  }
  size_t at = 0;
  for (int i = 0; i < COUNT; i++) {
    const struct ks_packed *packed = (const struct ks_packed *)(const void *)(buf.data + at);
    ck_assert_int_eq(packed->offset, i);
    same_run(ks_packed_run(packed, packed->user), ks_bytes_string(keys[i]));
    same_run(ks_packed_run(packed, packed->doc), ks_bytes_string(values[i]));
    same_run(ks_packed_run(packed, packed->source), KS_BYTES("/h/1"));
    ck_assert_int_eq(packed->sequence, 7);
    at += packed->size;
  }
  ck_assert_uint_eq(at, buf.size);
  ks_buf_free(&buf);
}
END_TEST

static void end(void) { ks_scratch_free(&scratch); }

int main(void) {
  TCase *tcase = tcase_create("packed");
  tcase_add_checked_fixture(tcase, NULL, end);
  tcase_add_test(tcase, binary_events_keep_all_runs_and_the_hash);
  tcase_add_test(tcase, invalid_records_keep_their_bytes_their_nulls_and_the_detail);
  tcase_add_test(tcase, structured_events_with_escapes_keep_what_is_not_in_the_record);
  tcase_add_test(tcase, a_ruling_comes_out_as_it_was_judged);
  tcase_add_test(tcase, records_follow_one_another_and_survive_the_growth_of_the_buffer);
  Suite *suite = suite_create("packed");
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
