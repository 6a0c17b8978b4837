#include "alloc.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
ssize_t __real_getline(char **line, size_t *room, FILE *file);
ssize_t __real___getdelim(char **line, size_t *room, int end, FILE *file);
void __real_free(void *memory);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
ssize_t __wrap_getline(char **line, size_t *room, FILE *file);
ssize_t __wrap___getdelim(char **line, size_t *room, int end, FILE *file);
void __wrap_free(void *memory);

// What is out, so that memory that somebody else made (libcheck, getline) may pass through free too. Open addressing; ONCE marks a slot that was used.
enum { SLOTS = 1 << 15 };
static void *slots[SLOTS];
static char once[1];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long out;

static bool armed, all_from;
static long left, struck, made;

static size_t slot_of(const void *memory) { return ((uintptr_t)memory >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 49; }

static void note(void *memory) {
  if (!memory) return;
  pthread_mutex_lock(&lock);
  size_t at = slot_of(memory);
  while (slots[at] && slots[at] != once) at = (at + 1) % SLOTS;
  slots[at] = memory;
  out++;
  pthread_mutex_unlock(&lock);
}

static void forget(const void *memory) {
  if (!memory) return;
  pthread_mutex_lock(&lock);
  size_t at = slot_of(memory);
  while (slots[at] && slots[at] != memory) at = (at + 1) % SLOTS;
  if (slots[at]) slots[at] = once, out--;
  pthread_mutex_unlock(&lock);
}

static bool fails(void) {
  pthread_mutex_lock(&lock);
  bool now = false;
  if (armed) {
    made++;
    if (left > 0) left--;
    now = left == 0 && (all_from || !struck);
    if (now) struck++;
  }
  pthread_mutex_unlock(&lock);
  if (now) errno = ENOMEM;
  return now;
}

void *__wrap_malloc(size_t size) {
  void *memory = fails() ? NULL : __real_malloc(size);
  note(memory);
  return memory;
}

void *__wrap_calloc(size_t count, size_t size) {
  void *memory = fails() ? NULL : __real_calloc(count, size);
  note(memory);
  return memory;
}

void *__wrap_realloc(void *memory, size_t size) {
  if (fails()) return NULL;
  forget(memory);
  void *moved = __real_realloc(memory, size);
  note(moved);
  return moved;
}

char *__wrap_strdup(const char *text) {
  char *copy = fails() ? NULL : __real_strdup(text);
  note(copy);
  return copy;
}

char *__wrap_strndup(const char *text, size_t size) {
  char *copy = fails() ? NULL : __real_strndup(text, size);
  note(copy);
  return copy;
}

// As glibc's: -1, and no mark on the file. (Optimized, getline is __getdelim.)
ssize_t __wrap___getdelim(char **line, size_t *room, int end, FILE *file) { return fails() ? -1 : __real___getdelim(line, room, end, file); }
ssize_t __wrap_getline(char **line, size_t *room, FILE *file) { return fails() ? -1 : __real_getline(line, room, file); }

void __wrap_free(void *memory) {
  forget(memory);
  __real_free(memory);
}

// Takes the used slots away, which every search walks over.
static void tidy(void) {
  static void *kept[SLOTS];
  size_t count = 0;
  for (size_t i = 0; i < SLOTS; i++)
    if (slots[i] && slots[i] != once) kept[count++] = slots[i];
  memset(slots, 0, sizeof slots);
  out = 0;
  while (count > 0) note(kept[--count]);
}

static void arm(long number, bool all) {
  tidy();
  struck = made = 0;
  left = number;
  all_from = all;
  armed = true;
}

void alloc_spare(void) { armed = false; }

void alloc_broken(const char *fact, const char *file, int line) {
  alloc_spare();
  ck_abort_msg("%s:%d: not so: %s", file, line, fact);
}

static void judge(bool ok, bool all, long number, enum alloc_tells tells, const struct ks_error *err) {
  const char *which = all ? "all allocations fail from number" : "one allocation fails, number";
  if (!struck) ck_assert_msg(ok, "%s %ld was not reached, and yet: %s", which, number, err->message);
  if (ok || tells == ALLOC_TELLS_BY_FALSE) return;
  ck_assert_msg(err->kind == KS_ERROR_TRANSIENT && err->exit == KS_EXIT_FAILED && strstr(err->message, "out of memory") && err->hint[0],
                "%s %ld: kind %d, exit %d: '%s' (%s)", which, number, err->kind, err->exit, err->message, err->hint);
}

long alloc_each(alloc_work *work, void *arg, enum alloc_tells tells) {
  long count = 0;
  for (int all = 0; all < 2; all++) {
    for (long number = 1;; number++) {
      struct ks_error err = {.kind = KS_ERROR_NONE};
      long before = out;
      arm(number, all);
      bool ok = work(arg, &err);
      alloc_spare();
      judge(ok, all, number, tells, &err);
      ck_assert_msg(out == before, "%s %ld: %ld pieces of memory were not given back", all ? "all fail from" : "one fails, number", number, out - before);
      count = made;
      if (!struck) break;
    }
  }
  return count;
}
