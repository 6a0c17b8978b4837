// For ThreadSanitizer only: librdkafka uses C11 threads, of which the sanitizer knows nothing (it dies in the first thread that it did not see begin).
// glibc's C11 threads are its POSIX threads under other names; here the names lead to what the sanitizer watches.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WATCHED 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define WATCHED 1
#endif

#ifdef WATCHED
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

// librdkafka frees a lock whose last user it knows by an atomic count that the sanitizer does not see. Only
// librdkafka uses read-write locks here.
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) { return "race:pthread_rwlock_destroy\n"; }

struct beginning {
  thrd_start_t function;
  void *argument;
};

static void *begin(void *given) {
  struct beginning beginning = *(struct beginning *)given;
  free(given);
  return (void *)(intptr_t)beginning.function(beginning.argument);
}

static int answer(int code) {
  return code == 0 ? thrd_success : code == ETIMEDOUT ? thrd_timedout : code == EBUSY ? thrd_busy : thrd_error;
}

int thrd_create(thrd_t *thread, thrd_start_t function, void *argument) {
  struct beginning *beginning = malloc(sizeof *beginning);
  *beginning = (struct beginning){function, argument};
  return answer(pthread_create(thread, NULL, begin, beginning));
}

int thrd_join(thrd_t thread, int *result) {
  void *value;
  int code = pthread_join(thread, &value);
  if (result) *result = (int)(intptr_t)value;
  return answer(code);
}

int thrd_detach(thrd_t thread) { return answer(pthread_detach(thread)); }

int mtx_init(mtx_t *lock, int type) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(&attributes, type & mtx_recursive ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
  int code = pthread_mutex_init((pthread_mutex_t *)lock, &attributes);
  pthread_mutexattr_destroy(&attributes);
  return answer(code);
}

void mtx_destroy(mtx_t *lock) { pthread_mutex_destroy((pthread_mutex_t *)lock); }
int mtx_lock(mtx_t *lock) { return answer(pthread_mutex_lock((pthread_mutex_t *)lock)); }
int mtx_trylock(mtx_t *lock) { return answer(pthread_mutex_trylock((pthread_mutex_t *)lock)); }
int mtx_unlock(mtx_t *lock) { return answer(pthread_mutex_unlock((pthread_mutex_t *)lock)); }
int cnd_init(cnd_t *condition) { return answer(pthread_cond_init((pthread_cond_t *)condition, NULL)); }
void cnd_destroy(cnd_t *condition) { pthread_cond_destroy((pthread_cond_t *)condition); }
int cnd_signal(cnd_t *condition) { return answer(pthread_cond_signal((pthread_cond_t *)condition)); }
int cnd_broadcast(cnd_t *condition) { return answer(pthread_cond_broadcast((pthread_cond_t *)condition)); }
int cnd_wait(cnd_t *condition, mtx_t *lock) { return answer(pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)lock)); }

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict lock, const struct timespec *restrict until) {
  return answer(pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)lock, until));
}
#else
// An empty file is no C.
extern int ks_c11_threads_are_the_libraries;
#endif
