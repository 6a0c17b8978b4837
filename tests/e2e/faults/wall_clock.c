// Preloaded into a program, it moves its wall clock: $WALL_CLOCK names a file of 8 bytes, the seconds to add, which may change at any moment. The monotonic clock is left
// alone, as a real one's is when somebody sets the time. libfaketime does the same but for cnd_timedwait and timespec_get, by which librdkafka waits.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>

static const volatile int64_t *moved;

__attribute__((constructor)) static void begin(void) {
  const char *name = getenv("WALL_CLOCK");
  int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
  void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *moved, PROT_READ, MAP_SHARED, file, 0);
  if (page == MAP_FAILED) abort();
  moved = page;
}

static time_t by(void) { return moved ? (time_t)*moved : 0; }

#define REAL(name) (*(__typeof__(name) **)(void *)(void *[]){dlsym(RTLD_NEXT, #name)})

int clock_gettime(clockid_t clock, struct timespec *at) {
  static __typeof__(clock_gettime) *real;
  if (!real) real = REAL(clock_gettime);
  int result = real(clock, at);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += by();
  return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
  (void)zone;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}

int timespec_get(struct timespec *at, int base) { return clock_gettime(CLOCK_REALTIME, at) == 0 ? base : 0; }

// A moment of the moved clock as the kernel knows it. Moments of the monotonic clock count from the machine's start: they are small.
static struct timespec kernel(const struct timespec *at) {
  struct timespec moment = *at;
  if (moment.tv_sec > 1000000000) moment.tv_sec -= by();
  return moment;
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict at) {
  static __typeof__(cnd_timedwait) *real;
  if (!real) real = REAL(cnd_timedwait);
  struct timespec moment = kernel(at);
  return real(condition, mutex, &moment);
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, const struct timespec *restrict at) {
  static __typeof__(pthread_cond_timedwait) *real;
  if (!real) real = REAL(pthread_cond_timedwait);
  struct timespec moment = kernel(at);
  return real(condition, mutex, &moment);
}
