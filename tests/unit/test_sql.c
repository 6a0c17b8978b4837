#include "core/sql.h"

#include <check.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Runs in the project's root, as tools/run-units does.

static char *contents(const char *path) {
  FILE *file = fopen(path, "r");
  ck_assert_msg(file != NULL, "%s", path);
  char *text = NULL;
  size_t capacity = 0;
  ssize_t size = getdelim(&text, &capacity, 0, file);  // SQL has no zero bytes
  fclose(file);
  if (size < 0) text[0] = 0;
  return text;
}

// "sql/query/x.sql" as "x".
static const char *name_of(char *path) {
  path[strlen(path) - 4] = 0;
  return strrchr(path, '/') + 1;
}

// The embedded text ends in a line feed even where the file does not.
static void same_text(const char *embedded, const char *path) {
  char *text = contents(path);
  size_t size = strlen(text);
  ck_assert_msg(embedded != NULL, "%s is not embedded", path);
  ck_assert_msg(strncmp(embedded, text, size) == 0, "%s differs", path);
  ck_assert_msg(!embedded[size] || strcmp(embedded + size, "\n") == 0, "%s: more than the file", path);
  free(text);
}

START_TEST(queries_are_their_files_byte_for_byte) {
  glob_t files;
  if (glob("sql/query/*.sql", 0, NULL, &files) != 0) return;
  for (size_t i = 0; i < files.gl_pathc; i++) {
    char *path = strdup(files.gl_pathv[i]);
    same_text(ks_sql_query(name_of(path)), files.gl_pathv[i]);
    free(path);
  }
  globfree(&files);
}
END_TEST

START_TEST(migrations_are_their_files_in_their_order) {
  glob_t files;
  ck_assert_int_eq(glob("sql/schema/*.sql", 0, NULL, &files), 0);
  ck_assert_int_eq(ks_sql_schema_count, (int)files.gl_pathc);
  for (int i = 0; i < ks_sql_schema_count; i++) {
    char *path = strdup(files.gl_pathv[i]);
    ck_assert_str_eq(ks_sql_schema[i].name, name_of(path));
    same_text(ks_sql_schema[i].text, files.gl_pathv[i]);
    ck_assert_msg(atoi(ks_sql_schema[i].name) == i + 1, "%s: each number is one migration's, without a gap: of two of one number init would leave the second out", ks_sql_schema[i].name);
    free(path);
  }
  ck_assert_ptr_null(ks_sql_schema[ks_sql_schema_count].name);
  globfree(&files);
}
END_TEST

START_TEST(an_unknown_query_is_null) {
  ck_assert_ptr_null(ks_sql_query("nothing"));
  ck_assert_ptr_null(ks_sql_query(""));
}
END_TEST

START_TEST(the_generator_keeps_quotes_backslashes_and_every_other_byte) {
  static const char text[] = "select 'a\\b\"c' \?\?/ \xC3\xA4 \t %s $1 \\n\r\n\n-- no line feed at the end \\";
  char folder[] = "/tmp/keepsake-sql-XXXXXX", path[80], command[1200];
  ck_assert_ptr_nonnull(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/001_odd.sql", folder);
  FILE *file = fopen(path, "w");
  fputs(text, file);
  fclose(file);
  // The generated file prints itself once compiled: what comes out must be what went in.
  snprintf(
      command, sizeof command,
      "tools/embed-sql %s %s > %s/sql.c && printf '#include \"core/sql.h\"\\n#include <stdio.h>\\nint main(void) { "
      "fputs(ks_sql_schema[0].text, stdout); return 0; }\\n' > %s/main.c && ${CC:-gcc} -std=gnu17 -I. %s/sql.c %s/main.c -o %s/print && %s/print",
      folder, folder, folder, folder, folder, folder, folder, folder);
  FILE *program = popen(command, "r");
  char out[400];
  size_t size = fread(out, 1, sizeof out - 1, program);
  out[size] = 0;
  ck_assert_int_eq(pclose(program), 0);
  ck_assert_int_eq(strncmp(out, text, sizeof text - 1), 0);
  ck_assert_str_eq(out + sizeof text - 1, "\n");
  snprintf(command, sizeof command, "rm -r %s", folder);
  ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("sql");
  TCase *tests = tcase_create("sql");
  suite_add_tcase(suite, tests);
  tcase_add_test(tests, queries_are_their_files_byte_for_byte);
  tcase_add_test(tests, migrations_are_their_files_in_their_order);
  tcase_add_test(tests, an_unknown_query_is_null);
  tcase_add_test(tests, the_generator_keeps_quotes_backslashes_and_every_other_byte);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
