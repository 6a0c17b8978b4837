#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/event.h"
#include "core/shard.h"
#include "core/shard_map.h"

START_TEST(a_range_is_read_and_written) {
  static const struct { const char *text; int32_t first, last; } RANGES[] = {{"0-2", 0, 2}, {"7-7", 7, 7}, {"5", 5, 5}, {"0-4095", 0, 4095}, {"00-02", 0, 2}};
  char text[KS_SHARD_TEXT];
  for (size_t i = 0; i < sizeof RANGES / sizeof *RANGES; i++) {
    struct ks_shard shard = {-1, -1};
    ck_assert_msg(ks_shard_parse(ks_bytes_string(RANGES[i].text), &shard), "%s", RANGES[i].text);
    ck_assert_int_eq(shard.first, RANGES[i].first);
    ck_assert_int_eq(shard.last, RANGES[i].last);
    struct ks_shard again;
    ck_assert(ks_shard_parse(ks_bytes_string(ks_shard_text(shard, text)), &again));
    ck_assert(again.first == shard.first && again.last == shard.last);
  }
}
END_TEST

START_TEST(what_is_no_range_is_refused_and_changes_nothing) {
  static const char *const BAD[] = {"", "-", "a", "1-", "-1", "2-1", "0-2x", "0--2", " 0-2", "0-2 ", "1-2-3", "0-4096", "4096", "99999999999999999999", "0-99999999999999999999", "+1"};
  for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
    struct ks_shard shard = {-5, -6};
    ck_assert_msg(!ks_shard_parse(ks_bytes_string(BAD[i]), &shard), "'%s'", BAD[i]);
    ck_assert(shard.first == -5 && shard.last == -6);
  }
  struct ks_shard shard;
  ck_assert(!ks_shard_parse((struct ks_bytes){NULL, 0}, &shard));
}
END_TEST

START_TEST(each_shard_has_a_group_of_its_own_and_a_whole_database_that_of_before) {
  char name[KS_SHARD_GROUP], long_name[KS_SHARD_GROUP];
  struct ks_error err;
  ck_assert(ks_shard_group((struct ks_shard){0, 7}, 8, "keepsake", name, &err));
  ck_assert_str_eq(name, "keepsake");
  ck_assert(ks_shard_group((struct ks_shard){0, 2}, 8, "keepsake", name, &err));
  ck_assert_str_eq(name, "keepsake.0-2");
  ck_assert(ks_shard_group((struct ks_shard){3, 3}, 8, "mine", name, &err));
  ck_assert_str_eq(name, "mine.3-3");
  memset(long_name, 'g', sizeof long_name - 1);
  long_name[sizeof long_name - 1] = 0;
  ck_assert(ks_shard_group((struct ks_shard){0, 7}, 8, long_name, name, &err));
  ck_assert(!ks_shard_group((struct ks_shard){0, 2}, 8, long_name, name, &err));
  ck_assert_int_eq(err.exit, KS_EXIT_USAGE);
}
END_TEST

START_TEST(somebody_elses_partition_is_refused_and_the_range_named) {
  struct ks_shard shard = {3, 5};
  struct ks_error err = {0};
  for (int32_t p = 0; p < 8; p++) ck_assert_int_eq(ks_shard_check_partition(shard, p, "it", &err), p >= 3 && p <= 5);
  ck_assert_int_eq(err.exit, KS_EXIT_REFUSED);
  ck_assert_str_eq(err.message, "it is of partition 7, and this database is the shard of partitions 3-5");
  ck_assert_ptr_nonnull(strstr(err.hint, "keepsake route"));
  for (int n = 0; n < 200; n++) {
    char user[16];
    snprintf(user, sizeof user, "user-%d", n);
    int32_t p = ks_partition_of(ks_bytes_string(user), 8);
    ck_assert_int_eq(ks_shard_check_user(shard, 8, ks_bytes_string(user), &err), p >= 3 && p <= 5);
  }
}
END_TEST

static char path[64];

static void write_map(const char *text, size_t size) {
  snprintf(path, sizeof path, "/tmp/keepsake-test-shards-XXXXXX");
  int file = mkstemp(path);
  ck_assert_int_ge(file, 0);
  ck_assert_int_eq((int)write(file, text, size), (int)size);
  close(file);
}

static bool read_text(struct ks_shard_map *map, const char *text, struct ks_error *err) {
  write_map(text, strlen(text));
  bool ok = ks_shard_map_read(map, path, err);
  unlink(path);
  return ok;
}

START_TEST(a_map_names_the_database_of_each_partition) {
  struct ks_shard_map map = {0};
  struct ks_error err = {0};
  ck_assert_msg(read_text(&map, "# ours\n\n6-7\thost=c dbname=keepsake\r\n  0-2   host=a   dbname='keep sake'  \n3-5 postgresql://u:secret@b/keepsake", &err), "%s", err.message);
  ck_assert_int_eq(map.count, 3);
  ck_assert_int_eq(map.partitions, 8);
  static const char *const WANTED[] = {"host=a   dbname='keep sake'", "postgresql://u:secret@b/keepsake", "host=c dbname=keepsake"};
  for (int32_t p = 0; p < 8; p++) ck_assert_str_eq(ks_shard_map_find(&map, p)->database, WANTED[p < 3 ? 0 : p < 6 ? 1 : 2]);
  ck_assert_ptr_null(ks_shard_map_find(&map, 8));
  ks_shard_map_free(&map);
  ck_assert(read_text(&map, "0 x", &err));
  ck_assert_int_eq(map.partitions, 1);
  ks_shard_map_free(&map);
}
END_TEST

START_TEST(a_map_that_leaves_a_partition_out_or_names_it_twice_is_refused_without_showing_lines) {
  static const struct { const char *text, *says; } BAD[] = {
      {"", "names no database"},
      {"# nothing\n\n", "names no database"},
      {"1-3 secret", "partition 0 is in no range"},
      {"0-2 secret\n4-5 secret", "partition 3 is in no range"},
      {"0-2 secret\n2-5 secret", "partition 2 is in two ranges"},
      {"0-7 secret\n3-5 secret", "partition 3 is in two ranges"},
      {"0-2 secret\n0-2 secret", "partition 0 is in two ranges"},
      {"0-2 secret\n3-5\n", ":2: this is no range"},
      {"0-2 secret\n3-5  \t\n", ":2: this is no range"},
      {"host=secret 0-2", ":1: this is no range"},
      {"2-0 secret", ":1: this is no range"},
      {"0-2secret", ":1: this is no range"},
      {"0-5000 secret", ":1: this is no range"},
  };
  for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
    struct ks_shard_map map = {0};
    struct ks_error err = {0};
    ck_assert_msg(!read_text(&map, BAD[i].text, &err), "%s", BAD[i].text);
    ck_assert_int_eq(err.exit, KS_EXIT_USAGE);
    ck_assert_msg(strstr(err.message, BAD[i].says), "%s: %s", BAD[i].text, err.message);
    ck_assert(err.hint[0] && !strstr(err.message, "secret") && !strstr(err.hint, "secret"));
    ks_shard_map_free(&map);
  }
  struct ks_shard_map map = {0};
  struct ks_error err = {0};
  write_map("0-2 se\0cret", 11);
  ck_assert(!ks_shard_map_read(&map, path, &err));
  unlink(path);
  ks_shard_map_free(&map);
  ck_assert(!ks_shard_map_read(&map, path, &err));
  ck_assert_ptr_nonnull(strstr(err.message, "cannot read the shard map"));
  ks_shard_map_free(&map);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("shard");
  TCase *tests = tcase_create("shard");
  tcase_add_test(tests, a_range_is_read_and_written);
  tcase_add_test(tests, what_is_no_range_is_refused_and_changes_nothing);
  tcase_add_test(tests, each_shard_has_a_group_of_its_own_and_a_whole_database_that_of_before);
  tcase_add_test(tests, somebody_elses_partition_is_refused_and_the_range_named);
  tcase_add_test(tests, a_map_names_the_database_of_each_partition);
  tcase_add_test(tests, a_map_that_leaves_a_partition_out_or_names_it_twice_is_refused_without_showing_lines);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
