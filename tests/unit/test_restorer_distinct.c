// restorer/distinct: exact while few, close beyond.
#include <check.h>
#include <stdlib.h>

#include "../../core/bytes.h"
#include "../../restorer/distinct.h"

static uint64_t thing(uint64_t n) { return ks_bytes_hash((struct ks_bytes){(const char *)&n, sizeof n}, 7); }

static void add(struct ks_distinct *distinct, uint64_t from, uint64_t to) {
  for (uint64_t n = from; n < to; n++) ks_distinct_add(distinct, thing(n));
}

START_TEST(few_things_are_counted_exactly_however_often_they_come) {
  static struct ks_distinct distinct;
  ck_assert_int_eq(ks_distinct_count(&distinct), 0);
  for (int round = 0; round < 3; round++) add(&distinct, 0, KS_DISTINCT_EXACT_MAX);
  ck_assert_int_eq(ks_distinct_count(&distinct), KS_DISTINCT_EXACT_MAX);
  ck_assert(!distinct.estimated);
  ks_distinct_free(&distinct);
}
END_TEST

START_TEST(many_things_are_counted_within_six_standard_errors) {
  static const uint64_t counts[] = {KS_DISTINCT_EXACT_MAX + 1, 50000, 200000, 1000000};
  for (int i = 0; i < 4; i++) {
    struct ks_distinct distinct = {0};
    add(&distinct, 1000000000, 1000000000 + counts[i]);
    double error = (double)ks_distinct_count(&distinct) / (double)counts[i] - 1;
    ck_assert(distinct.estimated);
    ck_assert_msg(error > -0.1 && error < 0.1, "%llu: off by %.1f %%", (unsigned long long)counts[i], error * 100);
    ks_distinct_free(&distinct);
  }
}
END_TEST

START_TEST(merged_counts_are_those_of_the_union) {
  struct ks_distinct one = {0}, other = {0};
  add(&one, 0, 3000);
  add(&other, 2000, 5000);
  ks_distinct_merge(&one, &other);
  ck_assert_int_eq(ks_distinct_count(&one), 5000);
  add(&other, 5000, 300000);
  ks_distinct_merge(&one, &other);
  ck_assert(one.estimated);
  ck_assert_int_gt(ks_distinct_count(&one), 270000);
  ck_assert_int_lt(ks_distinct_count(&one), 330000);
  ks_distinct_free(&one);
  ks_distinct_free(&other);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("distinct");
  TCase *tcase = tcase_create("distinct");
  tcase_add_test(tcase, few_things_are_counted_exactly_however_often_they_come);
  tcase_add_test(tcase, many_things_are_counted_within_six_standard_errors);
  tcase_add_test(tcase, merged_counts_are_those_of_the_union);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
