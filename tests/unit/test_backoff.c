#include "core/backoff.h"

#include <check.h>
#include <limits.h>
#include <stdlib.h>

START_TEST(each_wait_lies_between_half_and_all_of_a_step_that_doubles) {
  for (uint64_t seed = 1; seed <= 200; seed++) {
    struct ks_backoff backoff = {.first_ms = 100, .max_ms = 1000, .seed = seed};
    static const int steps[] = {100, 200, 400, 800, 1000, 1000, 1000};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
      int wait_ms = ks_backoff_next(&backoff);
      ck_assert_int_ge(wait_ms, steps[i] / 2);
      ck_assert_int_le(wait_ms, steps[i]);
    }
  }
}
END_TEST

START_TEST(a_reset_begins_again) {
  struct ks_backoff backoff = {.first_ms = 10, .max_ms = 100000, .seed = 7};
  for (int i = 0; i < 20; i++) ks_backoff_next(&backoff);
  ck_assert_int_ge(ks_backoff_next(&backoff), 50000);
  ks_backoff_reset(&backoff);
  ck_assert_int_le(ks_backoff_next(&backoff), 10);
}
END_TEST

START_TEST(members_that_start_together_do_not_wait_alike) {
  int different = 0;
  for (uint64_t seed = 1; seed <= 100; seed++) {
    struct ks_backoff a = {.first_ms = 10000, .max_ms = 10000, .seed = seed}, b = {.first_ms = 10000, .max_ms = 10000, .seed = seed + 1};
    different += ks_backoff_next(&a) != ks_backoff_next(&b);
  }
  ck_assert_int_ge(different, 95);
}
END_TEST

START_TEST(the_same_seed_waits_alike) {
  struct ks_backoff a = {.first_ms = 10, .max_ms = 10000, .seed = 42}, b = a;
  for (int i = 0; i < 50; i++) ck_assert_int_eq(ks_backoff_next(&a), ks_backoff_next(&b));
}
END_TEST

START_TEST(without_a_seed_it_takes_one) {
  struct ks_backoff backoff = {.first_ms = 10, .max_ms = 20};
  ks_backoff_next(&backoff);
  ck_assert_uint_ne(backoff.seed, 0);
}
END_TEST

START_TEST(odd_bounds_do_not_overflow_or_stand_still) {
  struct ks_backoff largest = {.first_ms = INT_MAX, .max_ms = INT_MAX, .seed = 1};
  for (int i = 0; i < 10; i++) ck_assert_int_ge(ks_backoff_next(&largest), INT_MAX / 2);
  struct ks_backoff growing = {.first_ms = 1, .max_ms = INT_MAX, .seed = 1};
  for (int i = 0; i < 100; i++) ck_assert_int_ge(ks_backoff_next(&growing), 0);
  struct ks_backoff none = {.seed = 1};
  for (int i = 0; i < 10; i++) ck_assert_int_le(ks_backoff_next(&none), 1);
  struct ks_backoff turned = {.first_ms = 500, .max_ms = 100, .seed = 1};
  for (int i = 0; i < 10; i++) ck_assert_int_le(ks_backoff_next(&turned), 500);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("backoff");
  TCase *tests = tcase_create("backoff");
  suite_add_tcase(suite, tests);
  tcase_add_test(tests, each_wait_lies_between_half_and_all_of_a_step_that_doubles);
  tcase_add_test(tests, a_reset_begins_again);
  tcase_add_test(tests, members_that_start_together_do_not_wait_alike);
  tcase_add_test(tests, the_same_seed_waits_alike);
  tcase_add_test(tests, without_a_seed_it_takes_one);
  tcase_add_test(tests, odd_bounds_do_not_overflow_or_stand_still);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
