#include "core/log.h"

#include <check.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// stderr goes into a file while a test talks.
static char said[1 << 20];
static int real_stderr, file;

static void listen_begin(void) {
  char path[] = "/tmp/keepsake-log-XXXXXX";
  file = mkstemp(path);
  ck_assert_int_ge(file, 0);
  unlink(path);
  real_stderr = dup(STDERR_FILENO);
  dup2(file, STDERR_FILENO);
}

static const char *listen_end(void) {
  dup2(real_stderr, STDERR_FILENO);
  close(real_stderr);
  ssize_t size = pread(file, said, sizeof said - 1, 0);
  ck_assert_int_ge(size, 0);
  close(file);
  said[size] = 0;
  return said;
}

// The line behind its time "2026-11-23T15:04:05.678Z ".
static const char *behind_time(const char *line) {
  ck_assert_uint_gt(strlen(line), 25);
  ck_assert_int_eq(line[10], 'T');
  ck_assert_int_eq(line[23], 'Z');
  return line + 25;
}

START_TEST(a_line_has_time_level_event_and_pairs) {
  ks_log_setup(false, false, false);
  listen_begin();
  ks_log(KS_LOG_INFO, "partition assigned", "topic", "keepsake.changes", "partition", KS_LOG_INT(3), NULL);
  ck_assert_str_eq(behind_time(listen_end()), "info    partition assigned topic=keepsake.changes partition=3\n");
}
END_TEST

START_TEST(values_are_quoted_where_a_reader_would_stumble) {
  ks_log_setup(false, false, false);
  listen_begin();
  ks_log(KS_LOG_WARNING, "odd", "blank", "a b", "empty", "", "null", (const char *)NULL, "quote", "a\"b\\c", "equals", "a=b", "umlaut",
         "\xC3\xA4", NULL);
  ck_assert_str_eq(behind_time(listen_end()),
                   "warning odd blank=\"a b\" empty=\"\" null=\"\" quote=\"a\\\"b\\\\c\" equals=\"a=b\" umlaut=\"\xC3\xA4\"\n");
}
END_TEST

START_TEST(a_value_cannot_drive_the_terminal_or_fake_a_line) {
  ks_log_setup(false, false, false);
  listen_begin();
  ks_log(KS_LOG_ERROR, "bad\nevent", "escape", "\033[2J", "line", "a\nb\tc\rd", "c1", "\xC2\x9B", "bytes", "\xFF\xC3(\xED\xA0\x80", NULL);
  ck_assert_str_eq(behind_time(listen_end()),
                   "error   bad\\nevent escape=\"\\x1b[2J\" line=\"a\\nb\\tc\\x0dd\" c1=\"\\x9b\" bytes=\"\\xff\\xc3(\\xed\\xa0\\x80\"\n");
}
END_TEST

START_TEST(as_json_a_line_is_one_object_with_stable_keys) {
  ks_log_setup(false, false, true);
  listen_begin();
  ks_log(KS_LOG_INFO, "said \"so\"", "path", "C:\\a\n\033", "user", "J\xC3\xB6rg \xF0\x9F\x98\x80", "broken", "x\xFFy", NULL);
  const char *text = listen_end();
  ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
  json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
  ck_assert_ptr_nonnull(line);
  ck_assert_str_eq(json_string_value(json_object_get(line, "level")), "info");
  ck_assert_str_eq(json_string_value(json_object_get(line, "event")), "said \"so\"");
  ck_assert_str_eq(json_string_value(json_object_get(line, "path")), "C:\\a\n\033");
  ck_assert_str_eq(json_string_value(json_object_get(line, "user")), "J\xC3\xB6rg \xF0\x9F\x98\x80");
  ck_assert_str_eq(json_string_value(json_object_get(line, "broken")), "x\xEF\xBF\xBDy");
  ck_assert_int_eq(strncmp(text, "{\"time\":\"", 9), 0);
  json_decref(line);
}
END_TEST

START_TEST(an_error_is_a_line_with_message_hint_and_sqlstate) {
  struct ks_error err;
  ks_error_set(&err, KS_ERROR_TRANSIENT, KS_EXIT_NO_POSTGRES, "the disk is full");
  ks_error_hint(&err, "Make room.");
  strcpy(err.sqlstate, "53100");
  ks_log_setup(false, false, false);
  listen_begin();
  ks_log_error(KS_LOG_WARNING, "waiting", &err);
  ck_assert_str_eq(behind_time(listen_end()), "warning waiting message=\"the disk is full\" hint=\"Make room.\" sqlstate=53100\n");
}
END_TEST

START_TEST(quiet_hides_what_is_not_a_warning_and_verbose_shows_all) {
  listen_begin();
  ks_log_setup(true, false, false);
  ks_log(KS_LOG_INFO, "hidden", NULL);
  ks_log(KS_LOG_WARNING, "one", NULL);
  ks_log_setup(false, false, false);
  ks_log(KS_LOG_DEBUG, "hidden", NULL);
  ks_log_setup(false, true, false);
  ks_log(KS_LOG_DEBUG, "two", NULL);
  const char *text = listen_end();
  ck_assert_ptr_null(strstr(text, "hidden"));
  ck_assert_ptr_nonnull(strstr(text, "one\n"));
  ck_assert_ptr_nonnull(strstr(text, "debug   two\n"));
}
END_TEST

START_TEST(a_line_too_long_is_cut_and_stays_a_line) {
  static char large[100000];
  memset(large, '"', sizeof large - 1);
  for (int json = 0; json < 2; json++) {
    ks_log_setup(false, false, json);
    listen_begin();
    ks_log(KS_LOG_INFO, "large", "a", large, "b", large, "c", large, "d", large, "e", large, "f", large, "g", large, NULL);
    const char *text = listen_end();
    ck_assert_uint_le(strlen(text), 8192);
    ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
    ck_assert_ptr_nonnull(strstr(text, "...\""));
    if (!json) continue;
    json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_ptr_nonnull(line);
    json_decref(line);
  }
}
END_TEST

START_TEST(a_sentence_too_long_is_cut_and_stays_a_line) {
  static char large[100000];
  memset(large, '"', sizeof large - 1);
  ks_log_setup(false, false, false);
  listen_begin();
  ks_log_say("keepsake: ", large);
  const char *text = listen_end();
  ck_assert_uint_le(strlen(text), 8192);
  ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
  ck_assert_ptr_nonnull(strstr(text, "...\n"));
}
END_TEST

START_TEST(every_length_of_line_is_valid_json) {
  static char value[3000];
  ks_log_setup(false, false, true);
  for (size_t size = 0; size < sizeof value - 3; size += 7) {
    memset(value, 'x', size);
    strcpy(value + size, "\033\"");
    listen_begin();
    ks_log(KS_LOG_INFO, "sizes", "a", value, "b", value, "c", value, "d", value, "e", value, NULL);
    json_t *line = json_loads(listen_end(), JSON_REJECT_DUPLICATES, NULL);
    ck_assert_msg(line != NULL, "with values of %zu bytes", size);
    json_decref(line);
  }
}
END_TEST

enum { THREADS = 4, LINES = 500 };

static void *talk(void *name) {
  for (int i = 0; i < LINES; i++) ks_log(KS_LOG_INFO, "talk", "thread", (const char *)name, "number", KS_LOG_INT(i), NULL);
  return NULL;
}

START_TEST(threads_do_not_mix_their_lines) {
  static const char *const names[THREADS] = {"one", "two", "three", "four"};
  pthread_t threads[THREADS];
  ks_log_setup(false, false, false);
  listen_begin();
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, talk, (void *)(uintptr_t)names[i]);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  char *text = (char *)(uintptr_t)listen_end(), *rest = NULL;
  int lines = 0;
  for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), lines++) {
    char thread[8];
    int number, end = 0;
    ck_assert_int_eq(sscanf(behind_time(line), "info    talk thread=%7[a-z] number=%d%n", thread, &number, &end), 2);
    ck_assert_int_eq(behind_time(line)[end], 0);
  }
  ck_assert_int_eq(lines, THREADS * LINES);
}
END_TEST

START_TEST(lines_go_above_the_status_line) {
  ks_log_setup(false, false, false);
  listen_begin();
  ks_log_status("50 %");
  ks_log_say("keepsake: ", "it's \"done\"");
  ks_log_status(NULL);
  ck_assert_str_eq(listen_end(), "50 %\r\033[Kkeepsake: it's \"done\"\n50 %\r\033[K");
}
END_TEST

int main(void) {
  Suite *suite = suite_create("log");
  TCase *tests = tcase_create("log");
  suite_add_tcase(suite, tests);
  tcase_add_test(tests, a_line_has_time_level_event_and_pairs);
  tcase_add_test(tests, values_are_quoted_where_a_reader_would_stumble);
  tcase_add_test(tests, a_value_cannot_drive_the_terminal_or_fake_a_line);
  tcase_add_test(tests, as_json_a_line_is_one_object_with_stable_keys);
  tcase_add_test(tests, an_error_is_a_line_with_message_hint_and_sqlstate);
  tcase_add_test(tests, quiet_hides_what_is_not_a_warning_and_verbose_shows_all);
  tcase_add_test(tests, a_line_too_long_is_cut_and_stays_a_line);
  tcase_add_test(tests, a_sentence_too_long_is_cut_and_stays_a_line);
  tcase_add_test(tests, every_length_of_line_is_valid_json);
  tcase_add_test(tests, threads_do_not_mix_their_lines);
  tcase_add_test(tests, lines_go_above_the_status_line);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
