// Conditions on the monotonic clock, so that a step of the wall clock neither shortens nor prolongs a deadline.
#include <errno.h>
#include <time.h>

#include "publisher_internal.h"

bool ks_cond_init(pthread_cond_t *condition) {
  pthread_condattr_t attributes;
  if (pthread_condattr_init(&attributes) != 0) return false;
  bool ok = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 && pthread_cond_init(condition, &attributes) == 0;
  pthread_condattr_destroy(&attributes);
  return ok;
}

bool ks_cond_wait_until(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t until_ms) {
  if (until_ms < 0) return pthread_cond_wait(condition, lock) == 0;
  if (ks_clock_monotonic_ms() >= until_ms) return false;
  struct timespec until = {.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};
  return pthread_cond_timedwait(condition, lock, &until) != ETIMEDOUT;
}

int64_t ks_deadline(int timeout_ms) { return timeout_ms < 0 ? -1 : ks_clock_monotonic_ms() + timeout_ms; }
