#include "core/error.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

START_TEST(an_error_carries_kind_exit_and_message) {
  struct ks_error err = {.hint = "old", .sqlstate = "12345"};
  ck_assert(!ks_error_set(&err, KS_ERROR_LOST, KS_EXIT_LOST, "topic %s ends at %d", "keepsake.changes", 7));
  ck_assert_int_eq(err.kind, KS_ERROR_LOST);
  ck_assert_int_eq(err.exit, KS_EXIT_LOST);
  ck_assert_str_eq(err.message, "topic keepsake.changes ends at 7");
  ck_assert_str_eq(err.hint, "");
  ck_assert_str_eq(err.sqlstate, "");
}
END_TEST

START_TEST(a_hint_is_added_and_a_prefix_stands_before_the_message) {
  struct ks_error err;
  ks_error_set(&err, KS_ERROR_USAGE, KS_EXIT_USAGE, "no brokers");
  ck_assert(!ks_error_hint(&err, "Give --%s.", "brokers"));
  ck_assert(!ks_error_prefix(&err, "partition %d", 3));
  ck_assert_str_eq(err.message, "partition 3: no brokers");
  ck_assert_str_eq(err.hint, "Give --brokers.");
  ck_assert_int_eq(err.exit, KS_EXIT_USAGE);
}
END_TEST

START_TEST(the_message_may_be_made_of_the_error_itself) {
  struct ks_error err;
  ks_error_set(&err, KS_ERROR_BUG, KS_EXIT_FAILED, "inner");
  ks_error_set(&err, KS_ERROR_BUG, KS_EXIT_FAILED, "outer: %s", err.message);
  ck_assert_str_eq(err.message, "outer: inner");
  ks_error_prefix(&err, "%s", err.message);
  ck_assert_str_eq(err.message, "outer: inner: outer: inner");
}
END_TEST

START_TEST(a_long_message_is_cut_between_characters) {
  // Two-byte characters, shifted by none and by one: one of the two would be torn by a cut that counts bytes.
  for (int shift = 0; shift < 2; shift++) {
    char text[2000] = "x";
    for (size_t i = (size_t)shift; i + 2 < sizeof text; i += 2) memcpy(text + i, "\xC3\xA4", 3);
    struct ks_error err;
    ks_error_set(&err, KS_ERROR_DATA, KS_EXIT_FAILED, "%s", text);
    size_t size = strlen(err.message);
    ck_assert_uint_ge(size, sizeof err.message - 5);
    ck_assert_str_eq(err.message + size - 3, "...");
    ck_assert_int_eq((int)((size - 3 - (size_t)shift) % 2), 0);
    ks_error_prefix(&err, "a long one");
    ck_assert_int_eq(strncmp(err.message, "a long one: ", 12), 0);
    ck_assert_uint_lt(strlen(err.message), sizeof err.message);
  }
}
END_TEST

START_TEST(nobody_has_to_want_the_error) {
  ck_assert(!ks_error_set(NULL, KS_ERROR_BUG, KS_EXIT_FAILED, "lost"));
  ck_assert(!ks_error_hint(NULL, "lost"));
  ck_assert(!ks_error_prefix(NULL, "lost"));
  ck_assert(!ks_error_memory(NULL));
}
END_TEST

START_TEST(out_of_memory_may_pass) {
  struct ks_error err;
  ck_assert(!ks_error_memory(&err));
  ck_assert_int_eq(err.kind, KS_ERROR_TRANSIENT);
  ck_assert_int_eq(err.exit, KS_EXIT_FAILED);
  ck_assert_str_eq(err.message, "out of memory");
}
END_TEST

int main(void) {
  Suite *suite = suite_create("error");
  TCase *tests = tcase_create("error");
  suite_add_tcase(suite, tests);
  tcase_add_test(tests, an_error_carries_kind_exit_and_message);
  tcase_add_test(tests, a_hint_is_added_and_a_prefix_stands_before_the_message);
  tcase_add_test(tests, the_message_may_be_made_of_the_error_itself);
  tcase_add_test(tests, a_long_message_is_cut_between_characters);
  tcase_add_test(tests, nobody_has_to_want_the_error);
  tcase_add_test(tests, out_of_memory_may_pass);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
