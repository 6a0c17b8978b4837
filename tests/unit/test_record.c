// Topics and the record hash.
#include "core/record.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static void hash_is(const struct ks_record *record, const char *expected) {
  uint8_t hash[KS_HASH_BYTES];
  char text[2 * KS_HASH_BYTES + 1];
  ks_record_hash(record, hash);
  for (size_t i = 0; i < sizeof hash; i++) snprintf(text + 2 * i, 3, "%02x", hash[i]);
  ck_assert_str_eq(text, expected);
}

// The expected values come from Python's hashlib over the layout that docs/event-format.md describes.
START_TEST(the_hash_covers_key_headers_and_value_and_tells_null_from_empty) {
  struct ks_record nothing = {0};
  hash_is(&nothing, "9d4b936a67c21ab14da09aa480239b43ea122c9c933d876013ee3012e464c16b");
  struct ks_record empty = {.key = KS_BYTES(""), .value = KS_BYTES("")};
  hash_is(&empty, "15ec7bf0b50732b49f8228e07d24365338f9e3ab994b00af08e5a3bffe55fd8b");
  struct ks_header headers[] = {{KS_BYTES("ce_id"), KS_BYTES("e-1")}, {KS_BYTES("x"), {NULL, 0}}, {KS_BYTES("x"), KS_BYTES("")}};
  struct ks_record full = {.key = KS_BYTES("anna"), .value = KS_BYTES("{}"), .headers = headers, .header_count = 3};
  hash_is(&full, "a30f377c7d5df83ee30d7397b8d10bce9354d33f9fbed572168e7ed81d4e8c1c");
  // Where the record lies, and when it came, is no part of it.
  full.topic = KS_TOPIC_BLOBS, full.partition = 3, full.offset = 7, full.time_ms = 9;
  hash_is(&full, "a30f377c7d5df83ee30d7397b8d10bce9354d33f9fbed572168e7ed81d4e8c1c");
}
END_TEST

START_TEST(topics_are_found_by_name) {
  for (int topic = 0; topic < KS_TOPIC_COUNT; topic++) ck_assert_int_eq(ks_topic_find(ks_bytes_string(ks_topic_name(topic))), topic);
  ck_assert_int_eq(ks_topic_find(KS_BYTES("keepsake.change")), -1);
  ck_assert_int_eq(ks_topic_find((struct ks_bytes){0}), -1);
}
END_TEST

START_TEST(a_revision_is_the_epoch_above_the_offset) {
  ck_assert_int_eq(ks_revision(1, 0), INT64_C(281474976710656));
  ck_assert_int_eq(ks_revision(2, 5), INT64_C(562949953421317));
  ck_assert_int_eq(ks_revision_offset(ks_revision(32767, (INT64_C(1) << 48) - 1)), (INT64_C(1) << 48) - 1);
  ck_assert_int_eq(ks_revision(32767, (INT64_C(1) << 48) - 1), INT64_MAX);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("record");
  TCase *tests = tcase_create("record");
  tcase_add_test(tests, the_hash_covers_key_headers_and_value_and_tells_null_from_empty);
  tcase_add_test(tests, topics_are_found_by_name);
  tcase_add_test(tests, a_revision_is_the_epoch_above_the_offset);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
