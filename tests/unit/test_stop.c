#include "core/stop.h"

#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"

// libcheck runs each test in a process of its own: signals stay there.

static void stop_is_recorded(int number, const char *message) {
  ks_stop_install();
  ck_assert(!ks_stop_asked());
  struct pollfd wait = {ks_stop_fd(), POLLIN, 0};
  ck_assert_int_eq(poll(&wait, 1, 0), 0);
  raise(number);
  ck_assert(ks_stop_asked());
  ck_assert_int_eq(poll(&wait, 1, 0), 1);
  ck_assert_int_eq(poll(&wait, 1, 0), 1);  // it stays readable for everybody who waits
  struct ks_error err;
  ck_assert(!ks_stop_error(&err));
  ck_assert_int_eq(err.exit, KS_EXIT_STOPPED);
  ck_assert_int_eq(err.kind, KS_ERROR_STOPPED);
  ck_assert_str_eq(err.message, message);
}

START_TEST(sigterm_is_recorded) { stop_is_recorded(SIGTERM, "stopped by SIGTERM"); }
END_TEST

START_TEST(sigint_is_recorded) { stop_is_recorded(SIGINT, "stopped by SIGINT"); }
END_TEST

START_TEST(a_second_signal_ends_at_once) {
  pid_t child = fork();
  if (child == 0) {
    ks_stop_install();
    raise(SIGTERM);
    raise(SIGINT);
    _exit(0);
  }
  int status;
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert(WIFSIGNALED(status));
  ck_assert_int_eq(WTERMSIG(status), SIGINT);
}
END_TEST

START_TEST(a_wait_ends_when_its_time_is_over) {
  ks_stop_install();
  int64_t begun_ms = ks_clock_monotonic_ms();
  ck_assert(!ks_stop_wait(30));
  ck_assert_int_ge(ks_clock_monotonic_ms() - begun_ms, 30);
}
END_TEST

START_TEST(a_wait_ends_when_a_stop_is_asked) {
  ks_stop_install();
  pid_t parent = getpid(), child = fork();
  if (child == 0) {
    kill(parent, SIGTERM);
    _exit(0);
  }
  ck_assert(ks_stop_wait(60000));
  ck_assert(ks_stop_wait(60000));
  waitpid(child, NULL, 0);
}
END_TEST

START_TEST(without_handlers_a_wait_only_waits) {
  ck_assert(!ks_stop_wait(5));
  ck_assert(!ks_stop_wait(0));
  ck_assert(!ks_stop_wait(-5));
}
END_TEST

START_TEST(a_closed_pipe_is_an_error_of_write_and_no_signal) {
  ks_stop_install();
  int ends[2];
  ck_assert_int_eq(pipe(ends), 0);
  close(ends[0]);
  ck_assert_int_eq(write(ends[1], "x", 1), -1);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("stop");
  TCase *tests = tcase_create("stop");
  suite_add_tcase(suite, tests);
  tcase_add_test(tests, sigterm_is_recorded);
  tcase_add_test(tests, sigint_is_recorded);
  tcase_add_test(tests, a_second_signal_ends_at_once);
  tcase_add_test(tests, a_wait_ends_when_its_time_is_over);
  tcase_add_test(tests, a_wait_ends_when_a_stop_is_asked);
  tcase_add_test(tests, without_handlers_a_wait_only_waits);
  tcase_add_test(tests, a_closed_pipe_is_an_error_of_write_and_no_signal);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
