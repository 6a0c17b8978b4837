// The parts of the fold that its cases (tests/cases/fold) reach only in passing: a window at each of its edges, and which rulings count.
#include "core/fold.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/fold_internal.h"

#define MASK_ALL ((UINT64_C(1) << 63) - 1)

static struct ks_fold_window window_at(int64_t top, uint64_t mask) {
  return (struct ks_fold_window){.top = top, .mask = mask, .closed = -1, .present = true};
}

START_TEST(the_first_number_of_a_source_may_be_any) {
  struct ks_fold_window window = {.closed = -1};
  ck_assert_int_eq(ks_window_look(&window, 0), KS_SEEN_NEW);
  ck_assert_int_eq(ks_window_look(&window, INT64_MAX), KS_SEEN_NEW);
  ks_window_mark(&window, INT64_MAX);
  ck_assert(window.present && window.dirty);
  ck_assert_int_eq(window.top, INT64_MAX);
  ck_assert_uint_eq(window.mask, 0);
  ck_assert_int_eq(ks_window_look(&window, INT64_MAX), KS_SEEN_SEEN);
  ck_assert_int_eq(ks_window_look(&window, INT64_MAX - 63), KS_SEEN_LATE);
  ck_assert_int_eq(ks_window_look(&window, INT64_MAX - 64), KS_SEEN_BELOW);
  ck_assert_int_eq(ks_window_look(&window, 0), KS_SEEN_BELOW);
}
END_TEST

START_TEST(the_window_has_the_top_and_63_numbers_below_it) {
  struct ks_fold_window window = window_at(1000, 0);
  for (int64_t below = 1; below <= 63; below++) ck_assert_int_eq(ks_window_look(&window, 1000 - below), KS_SEEN_LATE);
  ck_assert_int_eq(ks_window_look(&window, 1000 - 64), KS_SEEN_BELOW);
  ks_window_mark(&window, 1000 - 63);
  ck_assert_uint_eq(window.mask, UINT64_C(1) << 62);
  ck_assert_int_eq(ks_window_look(&window, 1000 - 63), KS_SEEN_SEEN);
  ck_assert_int_eq(ks_window_look(&window, 1000 - 62), KS_SEEN_LATE);
  ks_window_mark(&window, 999);
  ck_assert_uint_eq(window.mask, UINT64_C(1) << 62 | 1);
  ks_window_mark(&window, 1000 - 64);  // an excluded event's number may lie anywhere
  ck_assert_uint_eq(window.mask, UINT64_C(1) << 62 | 1);
  ck_assert_int_eq(window.top, 1000);
}
END_TEST

START_TEST(going_up_shifts_the_mask_and_lets_the_highest_bits_fall_off) {
  static const struct {
    int64_t up;
    uint64_t mask;
  } cases[] = {{1, MASK_ALL},
               {2, MASK_ALL - 1},
               {62, UINT64_C(3) << 61},
               {63, UINT64_C(1) << 62},
               {64, 0},
               {65, 0},
               {1000000, 0}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct ks_fold_window window = window_at(100, MASK_ALL);
    ks_window_mark(&window, 100 + cases[i].up);
    ck_assert_int_eq(window.top, 100 + cases[i].up);
    ck_assert_uint_eq(window.mask, cases[i].mask);
    ck_assert_int_eq(ks_window_look(&window, 100), cases[i].up <= 63 ? KS_SEEN_SEEN : KS_SEEN_BELOW);
  }
}
END_TEST

START_TEST(more_than_a_million_above_the_top_is_a_jump) {
  struct ks_fold_window window = window_at(100, 0);
  ck_assert_int_eq(ks_window_look(&window, 100 + 1000000), KS_SEEN_NEW);
  ck_assert_int_eq(ks_window_look(&window, 100 + 1000001), KS_SEEN_JUMP);
  window = window_at(0, 0);
  ck_assert_int_eq(ks_window_look(&window, INT64_MAX), KS_SEEN_JUMP);
}
END_TEST

START_TEST(in_a_closed_window_all_up_to_the_top_is_a_repeat_and_what_follows_is_a_window_again) {
  struct ks_fold_window window = window_at(100, 0);
  ks_window_close(&window);
  ck_assert_int_eq(window.closed, 100);
  ck_assert_uint_eq(window.mask, MASK_ALL);
  ck_assert_int_eq(ks_window_look(&window, 0), KS_SEEN_CLOSED);
  ck_assert_int_eq(ks_window_look(&window, 100), KS_SEEN_CLOSED);
  ck_assert_int_eq(ks_window_look(&window, 101), KS_SEEN_NEW);
  ks_window_mark(&window, 110);
  ck_assert_int_eq(ks_window_look(&window, 100), KS_SEEN_CLOSED);
  ck_assert_int_eq(ks_window_look(&window, 101), KS_SEEN_LATE);
  ks_window_mark(&window, 300);
  ck_assert_int_eq(ks_window_look(&window, 101), KS_SEEN_BELOW);
  ck_assert_int_eq(ks_window_look(&window, 100), KS_SEEN_CLOSED);
}
END_TEST

// Against a set of numbers, as the page says it.
START_TEST(a_window_is_the_set_of_the_numbers_that_were_marked) {
  enum { NUMBERS = 400 };
  srand(7);
  for (int round = 0; round < 200; round++) {
    bool marked[NUMBERS] = {false};
    int top = -1;
    struct ks_fold_window window = {.closed = -1};
    for (int step = 0; step < 120; step++) {
      int n = top < 0 ? rand() % 50 : top - 70 + rand() % (rand() % 8 ? 80 : 140);
      if (n < 0 || n >= NUMBERS) continue;
      enum ks_seen expected = top < 0 || n > top ? KS_SEEN_NEW : n < top - 63 ? KS_SEEN_BELOW : marked[n] ? KS_SEEN_SEEN : KS_SEEN_LATE;
      ck_assert_msg(ks_window_look(&window, n) == expected, "round %d: number %d, top %d", round, n, top);
      if (expected == KS_SEEN_BELOW) continue;
      ks_window_mark(&window, n);
      marked[n] = true;
      if (n > top) top = n;
    }
  }
}
END_TEST

// --- rulings ----------------------------------------------------------------------------------------------------------------------

static struct ks_ruling exclude(int64_t offset) { return (struct ks_ruling){.offset = offset}; }

static struct ks_ruling accept(int64_t from, int64_t to) {
  struct ks_ruling ruling = {.accept_gap = true, .to = to};
  for (int k = 0; k < KS_KIND_COUNT; k++) ruling.from[k] = ks_topic_kinds(KS_TOPIC_CHANGES) >> k & 1 ? from : -1;
  return ruling;
}

static void add(struct ks_rulings *rulings, int64_t offset, struct ks_ruling ruling) { ck_assert(ks_rulings_add(rulings, offset, &ruling)); }

START_TEST(exclusions_are_found_whatever_their_order_and_however_often) {
  struct ks_rulings rulings = {0};
  ck_assert(!ks_rulings_excluded(&rulings, 5));
  static const int64_t offsets[] = {50, 10, 90, 30, 70, 10, 50};
  for (int i = 0; i < 7; i++) add(&rulings, 100 + i, exclude(offsets[i]));
  add(&rulings, 103, exclude(1));  // known already: what stands in the log does not change
  for (int64_t offset = 0; offset < 120; offset++) ck_assert_int_eq(ks_rulings_excluded(&rulings, offset), offset == 10 || offset == 30 || offset == 50 || offset == 70 || offset == 90);
  add(&rulings, 200, exclude(20));  // also after it was asked
  ck_assert(ks_rulings_excluded(&rulings, 20));
  ks_rulings_free(&rulings);
}
END_TEST

START_TEST(an_accepted_range_begins_for_each_stream_where_it_says_and_ends_before_its_end) {
  struct ks_rulings rulings = {0};
  struct ks_ruling ruling = accept(10, 20);
  ruling.from[KS_KIND_NOTE] = 15;
  add(&rulings, 20, ruling);
  ck_assert(!ks_rulings_accepted(&rulings, KS_KIND_CONTACT, 9));
  ck_assert(ks_rulings_accepted(&rulings, KS_KIND_CONTACT, 10));
  ck_assert(ks_rulings_accepted(&rulings, KS_KIND_CONTACT, 19));
  ck_assert(!ks_rulings_accepted(&rulings, KS_KIND_CONTACT, 20));
  ck_assert(!ks_rulings_accepted(&rulings, KS_KIND_NOTE, 14));
  ck_assert(ks_rulings_accepted(&rulings, KS_KIND_NOTE, 15));
  ck_assert(!ks_rulings_accepted(&rulings, KS_KIND_BLOB, 15));  // no stream of this topic
  unsigned contact = 1u << KS_KIND_CONTACT, both = contact | 1u << KS_KIND_NOTE;
  ck_assert(ks_rulings_explain(&rulings, contact, 10, 20));
  ck_assert(ks_rulings_explain(&rulings, contact, 12, 18));
  ck_assert(!ks_rulings_explain(&rulings, contact, 10, 21));
  ck_assert(!ks_rulings_explain(&rulings, contact, 9, 20));
  ck_assert(!ks_rulings_explain(&rulings, both, 12, 20));
  ck_assert(ks_rulings_explain(&rulings, both, 15, 20));
  ks_rulings_free(&rulings);
}
END_TEST

START_TEST(a_ruling_within_a_range_that_counts_does_not_count_itself) {
  static const int order[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
    struct ks_rulings rulings = {0};
    for (int j = 0; j < 3; j++) {
      switch (order[i][j]) {
        case 0: add(&rulings, 20, exclude(5)); break;
        case 1: add(&rulings, 30, accept(18, 25)); break;  // takes the exclusion away
        case 2: add(&rulings, 50, accept(28, 40)); break;  // takes that away: the exclusion counts again
      }
    }
    ck_assert(ks_rulings_excluded(&rulings, 5));
    ck_assert(!ks_rulings_accepted(&rulings, KS_KIND_CONTACT, 20));
    ck_assert(ks_rulings_accepted(&rulings, KS_KIND_CONTACT, 30));
    ks_rulings_free(&rulings);
  }
  struct ks_rulings two = {0};
  add(&two, 20, exclude(5));
  ck_assert(ks_rulings_excluded(&two, 5));
  add(&two, 30, accept(18, 25));
  ck_assert(!ks_rulings_excluded(&two, 5));
  ks_rulings_free(&two);
}
END_TEST

// --- memory -----------------------------------------------------------------------------------------------------------------------

START_TEST(a_reset_forgets_all_rows_and_keeps_what_was_set) {
  struct ks_fold *fold = ks_fold_new(KS_TOPIC_CHANGES, 3, 2, true);
  ks_fold_enable(fold, 1u << KS_KIND_NOTE | 1u << KS_KIND_BLOB, 7);
  ck_assert_int_eq(fold->next[KS_KIND_NOTE], 7);
  ck_assert(fold->next[KS_KIND_BLOB] == INT64_MAX && fold->next[KS_KIND_CONTACT] == INT64_MAX);
  char names[3000][32];
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 3000; i++) {
      snprintf(names[i], sizeof names[i], "%d/%d", round, i);
      struct ks_fold_user *user = ks_fold_user(fold, KS_KIND_NOTE, ks_bytes_string(names[i % 100]));
      struct ks_fold_item *item = ks_fold_item(fold, user, ks_bytes_string(names[i]));
      ck_assert(item && item->user == user && !item->present);
      item->present = true;
    }
    ck_assert_uint_eq(fold->users.count, 100);
    ck_assert_uint_eq(fold->items.count, 3000);
    ck_assert(ks_fold_item(fold, ks_fold_user(fold, KS_KIND_NOTE, ks_bytes_string(names[5])), ks_bytes_string(names[5]))->present);
    ck_assert_uint_eq(fold->items.count, 3000);
    ks_fold_reset(fold);
    ck_assert(fold->items.count == 0 && fold->users.count == 0 && fold->arena.used_bytes == 0);
  }
  ck_assert_int_eq(fold->next[KS_KIND_NOTE], 7);
  ks_fold_free(fold);
  ks_fold_free(NULL);
}
END_TEST

int main(void) {
  TCase *tcase = tcase_create("fold");
  tcase_add_test(tcase, the_first_number_of_a_source_may_be_any);
  tcase_add_test(tcase, the_window_has_the_top_and_63_numbers_below_it);
  tcase_add_test(tcase, going_up_shifts_the_mask_and_lets_the_highest_bits_fall_off);
  tcase_add_test(tcase, more_than_a_million_above_the_top_is_a_jump);
  tcase_add_test(tcase, in_a_closed_window_all_up_to_the_top_is_a_repeat_and_what_follows_is_a_window_again);
  tcase_add_test(tcase, a_window_is_the_set_of_the_numbers_that_were_marked);
  tcase_add_test(tcase, exclusions_are_found_whatever_their_order_and_however_often);
  tcase_add_test(tcase, an_accepted_range_begins_for_each_stream_where_it_says_and_ends_before_its_end);
  tcase_add_test(tcase, a_ruling_within_a_range_that_counts_does_not_count_itself);
  tcase_add_test(tcase, a_reset_forgets_all_rows_and_keeps_what_was_set);
  Suite *suite = suite_create("fold");
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
