// restorer/ledger: sums by person and kind, in order, whether they fit into memory or not.
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../restorer/ledger.h"

enum { PEOPLE = 2000, ROUNDS = 30 };

struct seen { int people; char last[64]; struct ks_tally all; };

static bool take(void *arg, struct ks_bytes user, unsigned has, const struct ks_tally *kinds, struct ks_error *err) {
  struct seen *seen = arg;
  char name[64];
  (void)err;
  snprintf(name, sizeof name, "%.*s", (int)user.size, user.data);
  ck_assert(seen->people == 0 || strcmp(seen->last, name) < 0);
  strcpy(seen->last, name);
  seen->people++;
  ck_assert_uint_eq(has, 1u << KS_KIND_CONTACT | 1u << KS_KIND_NOTE);
  int n = atoi(name + 2);
  ck_assert_int_eq(kinds[KS_KIND_CONTACT].items[KS_SAME], ROUNDS * (int64_t)(n + 1));
  ck_assert_int_eq(kinds[KS_KIND_CONTACT].others[KS_MISSING], 0);
  ck_assert_int_eq(kinds[KS_KIND_NOTE].others[KS_MISSING], ROUNDS);
  ck_assert_int_eq(ks_tally_lot(&kinds[KS_KIND_CONTACT]), KS_LOT_WHOLE);
  ck_assert_int_eq(ks_tally_lot(&kinds[KS_KIND_NOTE]), KS_LOT_HURT);
  for (int k = 0; k < KS_KIND_COUNT; k++) ks_tally_add(&seen->all, &kinds[k]);
  return true;
}

static void fill_and_walk(size_t memory_bytes) {
  struct ks_error err = {0};
  struct ks_ledger *ledger = ks_ledger_new("/tmp", memory_bytes, &err);
  ck_assert_ptr_nonnull(ledger);
  for (int round = 0; round < ROUNDS; round++)
    for (int i = 0; i < PEOPLE; i++) {
      int n = (i * 7919 + round * 13) % PEOPLE;  // 7919 is prime to 2000: each once
      char name[64];
      snprintf(name, sizeof name, "u-%d%s", n, n % 3 ? "" : "-with-a-longer-name");
      struct ks_bytes user = {name, strlen(name)};
      ck_assert(ks_ledger_add(ledger, user, KS_KIND_NOTE, &(struct ks_tally){.others[KS_MISSING] = 1}, &err));
      ck_assert(ks_ledger_add(ledger, user, KS_KIND_CONTACT, &(struct ks_tally){.items[KS_SAME] = n + 1}, &err));
    }
  for (int again = 0; again < 2; again++) {
    struct seen seen = {0};
    ck_assert(ks_ledger_walk(ledger, take, &seen, &err));
    ck_assert_int_eq(seen.people, PEOPLE);
    ck_assert_int_eq(ks_tally_others(&seen.all), PEOPLE * (int64_t)ROUNDS);
    ck_assert_int_eq(ks_tally_items(&seen.all), (int64_t)ROUNDS * PEOPLE * (PEOPLE + 1) / 2);
  }
  ks_ledger_free(ledger);
}

START_TEST(what_fits_into_memory_comes_out_summed_and_sorted) { fill_and_walk(64u << 20); }
END_TEST

START_TEST(what_does_not_fit_is_merged_from_runs) { fill_and_walk(1u << 20); }
END_TEST

START_TEST(more_runs_than_can_be_merged_at_once_become_one) { fill_and_walk(20000); }
END_TEST

static bool refuse(void *arg, struct ks_bytes user, unsigned has, const struct ks_tally *kinds, struct ks_error *err) {
  (void)arg, (void)user, (void)has, (void)kinds;
  return ks_error_set(err, KS_ERROR_STOPPED, KS_EXIT_STOPPED, "enough");
}

START_TEST(whoever_takes_can_end_the_walk) {
  struct ks_error err = {0};
  struct ks_ledger *ledger = ks_ledger_new("/tmp", 1000, &err);
  ck_assert(ks_ledger_walk(ledger, refuse, NULL, &err));  // nobody there
  ck_assert(ks_ledger_add(ledger, KS_BYTES("a"), KS_KIND_NOTE, &(struct ks_tally){.items[KS_UNSEEN] = 1}, &err));
  ck_assert(!ks_ledger_walk(ledger, refuse, NULL, &err));
  ck_assert_str_eq(err.message, "enough");
  ks_ledger_free(ledger);
  ks_ledger_free(NULL);
}
END_TEST

START_TEST(a_difference_weighs_more_than_what_was_not_looked_at) {
  ck_assert_int_eq(ks_tally_lot(&(struct ks_tally){0}), KS_LOT_WHOLE);
  ck_assert_int_eq(ks_tally_lot(&(struct ks_tally){.items[KS_SAME] = 3, .others[KS_UNSEEN] = 1}), KS_LOT_UNSEEN);
  ck_assert_int_eq(ks_tally_lot(&(struct ks_tally){.items[KS_UNSEEN] = 3, .others[KS_EXTRA] = 1}), KS_LOT_HURT);
  ck_assert_int_eq(ks_tally_lot(&(struct ks_tally){.items[KS_STALE] = 1}), KS_LOT_HURT);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("ledger");
  TCase *tcase = tcase_create("ledger");
  tcase_add_test(tcase, what_fits_into_memory_comes_out_summed_and_sorted);
  tcase_add_test(tcase, what_does_not_fit_is_merged_from_runs);
  tcase_add_test(tcase, more_runs_than_can_be_merged_at_once_become_one);
  tcase_add_test(tcase, whoever_takes_can_end_the_walk);
  tcase_add_test(tcase, a_difference_weighs_more_than_what_was_not_looked_at);
  tcase_set_timeout(tcase, 120);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
