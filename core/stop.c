#include "stop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"

static volatile sig_atomic_t stop_signal;  // 0: none yet
static int stop_fd = -1;

// Only records. The second signal is the operator's "now": it gets the default action, so that the shell sees what ended us.
static void on_signal(int number) {
  int saved_errno = errno;
  if (stop_signal) {
    signal(number, SIG_DFL);
    raise(number);
    return;
  }
  stop_signal = number;
  uint64_t one = 1;
  ssize_t written = write(stop_fd, &one, sizeof one);
  (void)written;  // nothing to be done in a handler; ks_stop_asked knows all the same
  errno = saved_errno;
}

void ks_stop_install(void) {
  if (stop_fd < 0) stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;  // libraries' reads and writes go on; waits of ours look at the descriptor
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
}

bool ks_stop_asked(void) { return stop_signal != 0; }

int ks_stop_fd(void) { return stop_fd; }

bool ks_stop_error(struct ks_error *err) {
  int number = stop_signal;
  ks_error_set(err, KS_ERROR_STOPPED, KS_EXIT_STOPPED, "stopped by %s",
               number == SIGINT    ? "SIGINT"
               : number == SIGTERM ? "SIGTERM"
                                   : "a signal");
  return ks_error_hint(err, "Run the same command again: it goes on from where it was.");
}

bool ks_stop_wait(int timeout_ms) {
  int64_t until_ms = ks_clock_monotonic_ms() + timeout_ms;
  while (!ks_stop_asked()) {
    int64_t left_ms = until_ms - ks_clock_monotonic_ms();
    if (left_ms <= 0) break;
    struct pollfd wait = {stop_fd, POLLIN, 0};  // poll passes over a descriptor below 0: without handlers it only waits
    if (poll(&wait, 1, left_ms > 1000000 ? 1000000 : (int)left_ms) < 0 && errno != EINTR) break;
  }
  return ks_stop_asked();
}
