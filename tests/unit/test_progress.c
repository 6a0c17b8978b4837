#include "core/progress.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"

static char said[1 << 16];
static int real_stderr, listener;

// stderr becomes a file, or the near end of a terminal.
static void listen_begin(bool terminal) {
  int talker;
  if (terminal) {
    listener = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    ck_assert_int_ge(listener, 0);
    ck_assert(grantpt(listener) == 0 && unlockpt(listener) == 0);
    talker = open(ptsname(listener), O_RDWR | O_NOCTTY);
    struct winsize window = {.ws_row = 24, .ws_col = 60};
    ioctl(talker, TIOCSWINSZ, &window);
  } else {
    char path[] = "/tmp/keepsake-progress-XXXXXX";
    listener = mkstemp(path);
    unlink(path);
    talker = dup(listener);
  }
  ck_assert_int_ge(talker, 0);
  real_stderr = dup(STDERR_FILENO);
  dup2(talker, STDERR_FILENO);
  close(talker);
  ks_log_setup(false, false, false);
}

static const char *listen_end(bool terminal) {
  ssize_t size = 0, got;
  if (terminal) {
    tcdrain(STDERR_FILENO);
    while ((got = read(listener, said + size, sizeof said - 1 - (size_t)size)) > 0) size += got;
  } else {
    size = pread(listener, said, sizeof said - 1, 0);
  }
  dup2(real_stderr, STDERR_FILENO);
  close(real_stderr);
  close(listener);
  said[size > 0 ? size : 0] = 0;
  return said;
}

// As if the work had begun, and something was shown, so long ago.
static void age(struct ks_progress *progress, int64_t ms) {
  progress->begun_ms -= ms;
  progress->shown_ms -= ms;
}

static int count_of(const char *text, const char *part) {
  int count = 0;
  while ((text = strstr(text, part))) count++, text++;
  return count;
}

START_TEST(without_a_terminal_a_whole_line_is_said_every_five_seconds) {
  struct ks_progress progress;
  listen_begin(false);
  ks_progress_begin(&progress, "reading the log", "records", 4000000, false);
  ks_progress_update(&progress, 10);
  age(&progress, 4000);
  ks_progress_update(&progress, 500000);
  age(&progress, 6000);
  ks_progress_update(&progress, 1000000);
  ks_progress_update(&progress, 1000001);
  const char *text = listen_end(false);
  ck_assert_int_eq(count_of(text, "\n"), 1);
  ck_assert_ptr_null(strchr(text, '\r'));
  ck_assert_ptr_nonnull(strstr(text, "info    reading the log: 25.0 % (1,000,000 of 4,000,000 records), "));
  ck_assert_msg(strstr(text, "/s, 30 s left\n") || strstr(text, "/s, 29 s left\n") || strstr(text, "/s, 31 s left\n"), "%s", text);
}
END_TEST

START_TEST(the_last_line_says_what_was_done) {
  struct ks_progress progress;
  listen_begin(false);
  ks_progress_begin(&progress, "loading contact", "items", 0, false);
  ks_progress_update(&progress, 1234567);
  age(&progress, 125000);
  ks_progress_end(&progress);
  const char *text = listen_end(false);
  ck_assert_int_eq(count_of(text, "\n"), 1);
  ck_assert_msg(strstr(text, "loading contact: done, 1,234,567 items in 2 min 05 s (9,876/s)\n") || strstr(text, "2 min 05 s (9,87"), "%s",
                text);
}
END_TEST

START_TEST(hours_are_said_as_hours) {
  struct ks_progress progress;
  listen_begin(false);
  ks_progress_begin(&progress, "loading contact", "items", 0, false);
  ks_progress_update(&progress, 10);
  age(&progress, (3 * 3600 + 5 * 60) * 1000 + 200);
  ks_progress_end(&progress);
  const char *text = listen_end(false);
  ck_assert_msg(strstr(text, " in 3 h 05 min ") != NULL, "%s", text);
}
END_TEST

START_TEST(an_unknown_total_has_no_percent) {
  struct ks_progress progress;
  listen_begin(false);
  ks_progress_begin(&progress, "reading", "lines", 0, false);
  age(&progress, 10000);
  ks_progress_update(&progress, 100);
  const char *text = listen_end(false);
  ck_assert_ptr_nonnull(strstr(text, "reading: 100 lines, "));
  ck_assert_ptr_null(strchr(text, '%'));
}
END_TEST

START_TEST(nothing_done_yet_promises_no_time) {
  struct ks_progress progress;
  listen_begin(false);
  ks_progress_begin(&progress, "reading", "lines", 10, false);
  age(&progress, 10000);
  ks_progress_update(&progress, 0);
  ck_assert_ptr_nonnull(strstr(listen_end(false), "0.0 % (0 of 10 lines), 0/s, unknown time left"));
}
END_TEST

START_TEST(on_a_terminal_one_line_is_replaced_at_most_once_a_second) {
  struct ks_progress progress;
  listen_begin(true);
  ks_progress_begin(&progress, "reading the log", "records", 100, false);
  ck_assert(progress.terminal);
  for (int i = 0; i < 50; i++) ks_progress_update(&progress, i);
  age(&progress, 1500);
  ks_progress_update(&progress, 50);
  ks_log(KS_LOG_INFO, "something else", NULL);
  age(&progress, 1500);
  ks_progress_update(&progress, 60);
  ks_progress_end(&progress);
  const char *text = listen_end(true);
  ck_assert_int_eq(count_of(text, "reading the log: 50.0 %"), 2);  // shown, and again below the line that came between
  ck_assert_int_eq(count_of(text, "reading the log: 60.0 %"), 1);
  ck_assert_int_eq(count_of(text, "\r\n"), 2);
  ck_assert_ptr_nonnull(strstr(text, "reading the log: done, 60 records in 3."));
  // Nothing wraps: no stretch between breaks is wider than the terminal.
  for (const char *at = text; *at;) {
    const char *end = strstr(at, "\r\033[K");
    if (!end) break;
    const char *feed = strchr(at, '\n');
    if (!feed || feed > end) ck_assert_int_lt((int)(end - at), 60);
    at = end + 4;
  }
}
END_TEST

START_TEST(quiet_says_nothing) {
  struct ks_progress progress;
  listen_begin(false);
  ks_progress_begin(&progress, "reading", "lines", 10, true);
  age(&progress, 60000);
  ks_progress_update(&progress, 5);
  ks_progress_end(&progress);
  ck_assert_str_eq(listen_end(false), "");
  ck_assert_int_eq(progress.done, 5);
}
END_TEST

START_TEST(more_than_the_total_is_still_said) {
  struct ks_progress progress;
  listen_begin(false);
  ks_progress_begin(&progress, "reading", "lines", 10, false);
  age(&progress, 10000);
  ks_progress_update(&progress, 12);
  const char *text = listen_end(false);
  ck_assert_ptr_nonnull(strstr(text, "120.0 % (12 of 10 lines)"));
  ck_assert_ptr_nonnull(strstr(text, "0.0 s left"));
}
END_TEST

int main(void) {
  Suite *suite = suite_create("progress");
  TCase *tests = tcase_create("progress");
  suite_add_tcase(suite, tests);
  tcase_add_test(tests, without_a_terminal_a_whole_line_is_said_every_five_seconds);
  tcase_add_test(tests, the_last_line_says_what_was_done);
  tcase_add_test(tests, hours_are_said_as_hours);
  tcase_add_test(tests, an_unknown_total_has_no_percent);
  tcase_add_test(tests, nothing_done_yet_promises_no_time);
  tcase_add_test(tests, on_a_terminal_one_line_is_replaced_at_most_once_a_second);
  tcase_add_test(tests, quiet_says_nothing);
  tcase_add_test(tests, more_than_the_total_is_still_said);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
