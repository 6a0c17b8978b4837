// Loaded into keepsake (LD_PRELOAD): while the file $FULL_SPILL exists, pwrite says "No space left on device"; each time leaves a byte in that file. keepsake
// writes so to its temporary files only.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int is_full(void) {
  int sign = open(getenv("FULL_SPILL"), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (sign < 0) return 0;
  if (write(sign, "x", 1) != 1) abort();
  close(sign);
  errno = ENOSPC;
  return 1;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
  __typeof__(pwrite) *real = (__typeof__(pwrite) *)dlsym(RTLD_NEXT, "pwrite");
  return is_full() ? -1 : real(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
  __typeof__(pwrite64) *real = (__typeof__(pwrite64) *)dlsym(RTLD_NEXT, "pwrite64");
  return is_full() ? -1 : real(fd, data, size, at);
}
