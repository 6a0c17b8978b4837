#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/place.h"

START_TEST(a_place_is_read_with_as_much_as_is_asked_for) {
  struct ks_place place;
  struct ks_error err;
  int64_t offset, last;
  ck_assert(ks_place_parse("keepsake.blobs/4095", "--resume", &place, NULL, NULL, &err));
  ck_assert(place.topic == KS_TOPIC_BLOBS && place.partition == 4095 && place.offset == -1);
  ck_assert(ks_place_parse("changes/0", "--resume", &place, NULL, NULL, &err));
  ck_assert(place.topic == KS_TOPIC_CHANGES && place.partition == 0);
  ck_assert(ks_place_parse("keepsake.changes/3:281474976710655", "", &place, &offset, NULL, &err));
  ck_assert(place.partition == 3 && offset == (INT64_C(1) << 48) - 1 && place.offset == offset);
  ck_assert(ks_place_parse("changes/3:120-131", "--accept-gap", &place, &place.offset, &last, &err));
  ck_assert(place.offset == 120 && last == 131);
  ck_assert(ks_place_parse("changes/3:120", "--accept-gap", &place, &place.offset, &last, &err));
  ck_assert(place.offset == 120 && last == 120);
}
END_TEST

START_TEST(what_names_no_place_is_a_usage_error_with_an_example) {
  static const char *const BAD[] = {"", "/", "changes", "changes/", "/3", "other/3", "keepsake./3", "changes/-1", "changes/+1", "changes/ 1", "changes/4096", "changes/99999999999999999999", "changes/3x",
                                    "changes/3:", "changes/3:1", "Changes/3"};
  static const char *const BAD_OFFSETS[] = {"changes/3", "changes/3:", "changes/3:-1", "changes/3:1-2", "changes/3:1x", "changes/3:281474976710656", "changes/3:99999999999999999999"};
  static const char *const BAD_RANGES[] = {"changes/3", "changes/3:5-4", "changes/3:5-", "changes/3:-5", "changes/3:5-6-7", "changes/3:5-281474976710656"};
  struct ks_place place;
  struct ks_error err;
  int64_t offset, last;
  for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
    ck_assert_msg(!ks_place_parse(BAD[i], "--resume", &place, NULL, NULL, &err), "'%s'", BAD[i]);
    ck_assert(err.exit == KS_EXIT_USAGE && strstr(err.hint, "--resume keepsake.changes/3"));
  }
  for (size_t i = 0; i < sizeof BAD_OFFSETS / sizeof *BAD_OFFSETS; i++) ck_assert_msg(!ks_place_parse(BAD_OFFSETS[i], "--exclude", &place, &offset, NULL, &err), "'%s'", BAD_OFFSETS[i]);
  for (size_t i = 0; i < sizeof BAD_RANGES / sizeof *BAD_RANGES; i++) ck_assert_msg(!ks_place_parse(BAD_RANGES[i], "--accept-gap", &place, &offset, &last, &err), "'%s'", BAD_RANGES[i]);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("place");
  TCase *tests = tcase_create("place");
  tcase_add_test(tests, a_place_is_read_with_as_much_as_is_asked_for);
  tcase_add_test(tests, what_names_no_place_is_a_usage_error_with_an_example);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
