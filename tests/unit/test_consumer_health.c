// The watch on dead letters: what counts, over how many events, and from when on it is too many. What it keeps in the database the end-to-end tests see.
#include <check.h>
#include <stdlib.h>

#include "consumer/health.h"

static void count(struct ks_health *health, int times, enum ks_reason reason) {
  for (int i = 0; i < times; i++) ks_health_count(health, reason);
}

START_TEST(fewer_than_a_hundred_dead_letters_are_never_too_many) {
  struct ks_health health = {0};
  count(&health, 99, KS_REASON_JSON_SYNTAX);
  ck_assert(!ks_health_over(&health, 100));
  ck_assert(!ks_health_over(&health, 0));
  count(&health, 1, KS_REASON_JSON_SYNTAX);
  ck_assert(ks_health_over(&health, 100));
  ck_assert(ks_health_over(&health, 0));
}
END_TEST

START_TEST(exactly_the_limit_is_not_over_it) {
  struct ks_health health = {0};
  count(&health, 9800, KS_REASON_NONE);
  count(&health, 100, KS_REASON_JSON_SYNTAX);
  ck_assert(ks_health_over(&health, 100));  // 100 of 9,900
  count(&health, 100, KS_REASON_NONE);
  ck_assert(!ks_health_over(&health, 100));  // 100 of 10,000
  ck_assert(ks_health_over(&health, 99));
}
END_TEST

START_TEST(off_is_off) {
  struct ks_health health = {0};
  count(&health, 10000, KS_REASON_JSON_SYNTAX);
  ck_assert(!ks_health_over(&health, -1));
  ck_assert(!ks_health_over(&health, 10000));  // 100 % cannot be passed
  ck_assert(ks_health_over(&health, 9999));
}
END_TEST

START_TEST(late_ones_and_those_after_an_erasure_are_events_but_not_dead) {
  struct ks_health health = {0};
  count(&health, 5000, KS_REASON_OLDER_THAN_WINDOW);
  count(&health, 5000, KS_REASON_AFTER_ERASE);
  ck_assert(!ks_health_over(&health, 0));
  count(&health, 100, KS_REASON_REPEAT_DIFFERS);
  ck_assert(ks_health_over(&health, 0));
}
END_TEST

START_TEST(only_the_last_ten_thousand_events_count) {
  struct ks_health health = {0};
  count(&health, 500, KS_REASON_JSON_SYNTAX);
  count(&health, 9500, KS_REASON_NONE);
  ck_assert(ks_health_over(&health, 100));
  count(&health, 1, KS_REASON_NONE);  // the eleventh block begins, the first is forgotten
  ck_assert(!ks_health_over(&health, 0));
  int64_t events = 0;
  for (int i = 0; i < KS_HEALTH_BLOCKS; i++) {
    ck_assert_int_le(health.events[i], KS_HEALTH_BLOCK_EVENTS);
    events += health.events[i];
  }
  ck_assert_int_eq(events, 9001);
}
END_TEST

int main(void) {
  TCase *tcase = tcase_create("health");
  tcase_add_test(tcase, fewer_than_a_hundred_dead_letters_are_never_too_many);
  tcase_add_test(tcase, exactly_the_limit_is_not_over_it);
  tcase_add_test(tcase, off_is_off);
  tcase_add_test(tcase, late_ones_and_those_after_an_erasure_are_events_but_not_dead);
  tcase_add_test(tcase, only_the_last_ten_thousand_events_count);
  Suite *suite = suite_create("the watch on dead letters");
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
