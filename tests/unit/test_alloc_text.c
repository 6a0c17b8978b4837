// Memory runs out while texts are read and written: options and configuration files, JSON trees, receipts, people's names, log lines.
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/json.h"
#include "core/log.h"
#include "core/options.h"
#include "core/progress.h"
#include "operator/columns.h"
#include "operator/receipts.h"
#include "restorer/people.h"
#include "tests/support/alloc.h"

// A file of that text; its path stays good until the next one.
static const char *file_of(const char *text) {
  static int file = -1;
  static char path[40];
  if (file < 0) file = memfd_create("text", MFD_CLOEXEC);
  ck_assert(file >= 0 && ftruncate(file, 0) == 0 && pwrite(file, text, strlen(text), 0) == (ssize_t)strlen(text));
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  return path;
}

// --- options ------------------------------------------------------------------------------------------------------------------------

static const char *config_path;
static const char *environment(const char *name) {
  if (strcmp(name, "KEEPSAKE_CONFIG") == 0) return config_path;
  if (strcmp(name, "KEEPSAKE_PROPERTIES") == 0) return "a.b=1; client.id=x\nlinger.ms=3";
  if (strcmp(name, "KEEPSAKE_GROUP") == 0) return "g";
  return strcmp(name, "TMPDIR") == 0 ? "/tmp" : NULL;
}

static bool parse_options(void *arg, struct ks_error *err) {
  static const enum ks_option allowed[] = {KS_OPT_GROUP, KS_OPT_SPILL_DIR, KS_OPT_MEMORY, KS_OPT_COUNT};
  const char *const argv[] = {"rebuild", "-b", "one:9092", "--database=host=h", "-X", "acks=all", "-X", "client.id=y", "-q", "--memory", "1GiB", "--", "word", "-b"};
  (void)arg;
  struct ks_options *options = ks_options_parse(sizeof argv / sizeof *argv, argv, allowed, environment, err);
  if (!options) return false;
  int count;
  const char *const *properties = ks_options_list(options, KS_OPT_PROPERTY, &count);
  alloc_must(count == 5 && strcmp(properties[4], "client.id=y") == 0 && strcmp(ks_options_string(options, KS_OPT_BROKERS), "one:9092") == 0);
  alloc_must(strcmp(ks_options_string(options, KS_OPT_GROUP), "g") == 0 && ks_options_int(options, KS_OPT_MEMORY) == INT64_C(1) << 30);
  ks_options_arguments(options, &count);
  alloc_must(count == 2);
  ks_options_free(options);
  return true;
}

START_TEST(options_are_all_there_or_memory_is_said_to_be_out) {
  config_path = file_of("# settings\nbrokers = other:9092\nproperty = x.y=2\nverbose = yes\n\ndatabase = dbname=k\n");
  ck_assert_int_gt(alloc_each(parse_options, NULL, ALLOC_TELLS_BY_ERROR), 30);
}
END_TEST

// --- JSON ---------------------------------------------------------------------------------------------------------------------------

static bool build_and_write(void *arg, struct ks_error *err) {
  struct ks_buf out = {0};
  (void)arg;
  struct ks_json *list = ks_json_pack("[]"), *tree = NULL;
  bool ok = list != NULL;
  for (int i = 0; ok && i < 3; i++)
    ok = ks_json_append(list, ks_json_pack("{s:s, s:I, s:b, s:o, s:s*}", "name", "value", "number", (int64_t)i, "flag", 1, "text", ks_json_text(KS_BYTES("a\xff z")), "none", NULL));
  if (ok) {
    tree = ks_json_pack("{s:o, s:o, s:s?}", "list", list, "more", ks_json_pack("{}"), "null", NULL);
    list = NULL;
    ok = tree && ks_json_set(tree, "last", ks_json_text((struct ks_bytes){NULL, 0})) && ks_buf_add_string(&out, "before ");
  }
  if (ok && !ks_json_write(tree, &out)) {
    ok = false;
    alloc_must(out.size == 7);
    alloc_spare();
    alloc_must(ks_json_write(tree, &out) && out.size > 150);
  }
  ks_json_free(list);
  ks_json_free(tree);
  ks_buf_free(&out);
  return ok || ks_error_memory(err);
}

START_TEST(a_tree_is_built_and_written_or_given_up_whole) { ck_assert_int_gt(alloc_each(build_and_write, NULL, ALLOC_TELLS_BY_ERROR), 20); }
END_TEST

// What is nested in a call is taken over even where the call fails before it looks at it.
static bool build_nested(void *arg, struct ks_error *err) {
  (void)arg;
  struct ks_json *tree = ks_json_pack("{s:o, s:{s:o, s:s}, s:o}", "a", ks_json_text(KS_BYTES("one")), "b", "c", ks_json_text(KS_BYTES("two")), "d", "e", "f", ks_json_pack("[s, s]", "x", "y"));
  bool ok = tree != NULL;
  struct ks_json *holder = ks_json_pack("{}");
  ok = ks_json_set(holder, "tree", tree) && ok;
  ks_json_free(holder);
  return ok || ks_error_memory(err);
}

START_TEST(nested_values_are_not_lost_with_the_call_that_fails) { ck_assert_int_gt(alloc_each(build_nested, NULL, ALLOC_TELLS_BY_ERROR), 10); }
END_TEST

static bool parse_json(void *arg, struct ks_error *err) {
  (void)arg;
  struct ks_json *json = ks_json_parse(KS_BYTES("{\"a\":[1,2.5,\"three\\u0041\",null,true],\"b\":{\"c\":{}},\"d\":\"text\"}"), err);
  ks_json_free(json);
  return json != NULL;
}

START_TEST(json_is_parsed_or_memory_is_said_to_be_out) { ck_assert_int_gt(alloc_each(parse_json, NULL, ALLOC_TELLS_BY_ERROR), 10); }
END_TEST

// --- receipts and people ------------------------------------------------------------------------------------------------------------

static bool read_receipts(void *arg, struct ks_error *err) {
  const char *const arguments[] = {arg, "{\"id\":\"z\",\"topic\":\"keepsake.changes\",\"partition\":1,\"offset\":5,\"revision\":9}"};
  struct ks_receipts receipts = {0};
  bool ok = ks_receipts_read(&receipts, arguments, 2, err);
  alloc_must(!ok || receipts.count == 41);
  ks_receipts_sort(&receipts);
  ks_receipts_free(&receipts);
  return ok;
}

START_TEST(a_file_of_receipts_is_read_to_its_end_or_memory_is_said_to_be_out) {
  struct ks_buf text = {0};
  for (int i = 0; i < 40; i++)
    ck_assert(ks_buf_printf(&text, "{\"id\":\"e%d\",\"topic\":\"keepsake.changes\",\"partition\":0,\"offset\":%d,\"revision\":null}\n", i, i));
  ck_assert(ks_buf_add(&text, "", 1));
  char argument[60];
  snprintf(argument, sizeof argument, "@%s", file_of(text.data));
  ck_assert_int_gt(alloc_each(read_receipts, argument, ALLOC_TELLS_BY_ERROR), 100);
  ks_buf_free(&text);
}
END_TEST

static bool read_people(void *arg, struct ks_error *err) {
  struct ks_people people = {0};
  bool ok = ks_people_read(&people, arg, err);
  alloc_must(!ok || (people.count == 81 && ks_people_has(&people, KS_BYTES("user-79")) && ks_people_has(&people, KS_BYTES("ann"))));
  ks_people_free(&people);
  return ok;
}

START_TEST(a_file_of_people_is_read_to_its_end_or_memory_is_said_to_be_out) {
  struct ks_buf text = {0};
  for (int i = 0; i < 80; i++) ck_assert(ks_buf_printf(&text, "user-%d\n", i));
  ck_assert(ks_buf_add_string(&text, "{\"user\":\"ann\",\"kinds\":{}}\nuser-7\n") && ks_buf_add(&text, "", 1));
  char path[60];
  snprintf(path, sizeof path, "%s", file_of(text.data));
  ck_assert_int_gt(alloc_each(read_people, path, ALLOC_TELLS_BY_ERROR), 80);
  ks_buf_free(&text);
}
END_TEST

// --- what is said -------------------------------------------------------------------------------------------------------------------

// A table that is not whole says so, and each cell that is there stands in its column.
static bool print_table(void *arg, struct ks_error *err) {
  struct ks_columns columns = {.count = 3};
  char cell[40], shown[32768];
  for (int i = 0; i < 90; i++) {
    snprintf(cell, sizeof cell, "column-%d-of-row-%d", i % 3, i / 3);
    ks_columns_add(&columns, cell);
  }
  FILE *file = arg;
  rewind(file);
  ks_columns_print(&columns, file, "");
  fflush(file);
  ssize_t size = pread(fileno(file), shown, sizeof shown - 1, 0);
  alloc_must(size > 0);
  shown[size] = 0;
  bool ok = !columns.failed;
  for (int row = 0; row < columns.cells / 3; row++) {
    snprintf(cell, sizeof cell, "column-0-of-row-%d", row);
    const char *at = strstr(shown, cell);
    alloc_must(at && (at == shown || at[-1] == '\n'));
  }
  alloc_must(columns.cells == 90 || (columns.failed && strstr(shown, "this is not all\n")));
  ks_columns_free(&columns);
  return ok || ks_error_memory(err);
}

START_TEST(a_table_that_is_not_whole_says_so) {
  FILE *file = fdopen(memfd_create("table", MFD_CLOEXEC), "w+");
  ck_assert_int_gt(alloc_each(print_table, file, ALLOC_TELLS_BY_ERROR), 3);
  fclose(file);
}
END_TEST

// Whoever reports that memory is out has none.
static bool say(void *arg, struct ks_error *err) {
  (void)arg;
  struct ks_error problem;
  ks_error_memory(&problem);
  ks_log(KS_LOG_WARNING, "event", "text", "two words \"quoted\"\n", "number", KS_LOG_INT(5), NULL);
  ks_log_error(KS_LOG_ERROR, "it failed", &problem);
  alloc_must(problem.kind == KS_ERROR_TRANSIENT);
  (void)err;
  return true;
}

START_TEST(log_lines_need_no_memory) {
  FILE *null = freopen("/dev/null", "w", stderr);
  ck_assert(null != NULL);
  ck_assert_int_eq(alloc_each(say, NULL, ALLOC_TELLS_BY_ERROR), 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("alloc_text");
  TCase *tcase = tcase_create("text");
  tcase_add_test(tcase, options_are_all_there_or_memory_is_said_to_be_out);
  tcase_add_test(tcase, a_tree_is_built_and_written_or_given_up_whole);
  tcase_add_test(tcase, nested_values_are_not_lost_with_the_call_that_fails);
  tcase_add_test(tcase, json_is_parsed_or_memory_is_said_to_be_out);
  tcase_add_test(tcase, a_file_of_receipts_is_read_to_its_end_or_memory_is_said_to_be_out);
  tcase_add_test(tcase, a_file_of_people_is_read_to_its_end_or_memory_is_said_to_be_out);
  tcase_add_test(tcase, a_table_that_is_not_whole_says_so);
  tcase_add_test(tcase, log_lines_need_no_memory);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
