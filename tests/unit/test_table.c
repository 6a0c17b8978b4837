// The hash table of pointers.
#include "core/table.h"

#include <check.h>
#include <stdlib.h>

static int values[200000];

static int *find(const struct ks_table *table, uint64_t hash, const int *value) {
  for (struct ks_table_slot *s = ks_table_first(table, hash); s && s->entry; s = ks_table_after(table, s))
    if (s->hash == hash && s->entry == value) return s->entry;
  return NULL;
}

START_TEST(an_empty_table_has_nothing) {
  struct ks_table table = {0};
  ck_assert_ptr_null(ks_table_first(&table, 0));
  ck_assert_ptr_null(find(&table, 7, &values[0]));
  ks_table_reset(&table);
  ks_table_free(&table);
}
END_TEST

START_TEST(what_was_added_is_found_through_every_growth_and_nothing_else_is) {
  struct ks_table table = {0};
  for (int i = 0; i < 5000; i++) {
    ck_assert(ks_table_add(&table, (uint64_t)i * 2654435761u, &values[i]));
    ck_assert_uint_lt(table.count, table.capacity);
  }
  for (int i = 0; i < 5000; i++) ck_assert_ptr_eq(find(&table, (uint64_t)i * 2654435761u, &values[i]), &values[i]);
  for (int i = 5000; i < 6000; i++) ck_assert_ptr_null(find(&table, (uint64_t)i * 2654435761u, &values[i]));
  ks_table_free(&table);
}
END_TEST

START_TEST(entries_of_one_hash_stand_side_by_side_also_around_the_end) {
  struct ks_table table = {0};
  for (int i = 0; i < 100; i++) ck_assert(ks_table_add(&table, UINT64_MAX, &values[i]));
  for (int i = 0; i < 100; i++) ck_assert_ptr_eq(find(&table, UINT64_MAX, &values[i]), &values[i]);
  ck_assert_ptr_null(find(&table, UINT64_MAX - 1, &values[0]));
  ks_table_free(&table);
}
END_TEST

START_TEST(a_reset_empties_it_and_gives_memory_back_that_is_large_for_what_it_held) {
  struct ks_table table = {0};
  for (int i = 0; i < 200000; i++) ck_assert(ks_table_add(&table, (uint64_t)i, &values[i]));
  size_t large = table.capacity;
  ks_table_reset(&table);
  ck_assert_uint_eq(table.count, 0);
  ck_assert_uint_eq(table.capacity, large);
  ck_assert_ptr_null(find(&table, 7, &values[7]));
  ck_assert(ks_table_add(&table, 7, &values[7]));
  ck_assert_ptr_eq(find(&table, 7, &values[7]), &values[7]);
  ks_table_reset(&table);
  ck_assert_uint_eq(table.capacity, 0);
  ck_assert(ks_table_add(&table, 8, &values[8]));
  ck_assert_ptr_null(find(&table, 7, &values[7]));
  ck_assert_ptr_eq(find(&table, 8, &values[8]), &values[8]);
  ks_table_free(&table);
}
END_TEST

int main(void) {
  TCase *tcase = tcase_create("table");
  tcase_add_test(tcase, an_empty_table_has_nothing);
  tcase_add_test(tcase, what_was_added_is_found_through_every_growth_and_nothing_else_is);
  tcase_add_test(tcase, entries_of_one_hash_stand_side_by_side_also_around_the_end);
  tcase_add_test(tcase, a_reset_empties_it_and_gives_memory_back_that_is_large_for_what_it_held);
  Suite *suite = suite_create("table");
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
