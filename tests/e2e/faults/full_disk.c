// Loaded into a PostgreSQL server (LD_PRELOAD): while the file $FULL_DISK exists, the operating system says "No space left on device" whenever a table's or an
// index's file would grow. What follows from that is PostgreSQL's own doing. No privileges, no mount, no large file needed.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_full(int fd, off_t end) {
  char link[64], path[4096];
  struct stat now;
  const char *sign = getenv("FULL_DISK");
  if (!sign || access(sign, F_OK) != 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = 0;
  return strstr(path, "/data/base/") && fstat(fd, &now) == 0 && end > now.st_size;
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define FULL_IF(fd, end, answer) if (is_full(fd, end)) { errno = ENOSPC; return answer; }

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
  REAL(pwrite);
  FULL_IF(fd, at + (off_t)size, -1)
  return real(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
  REAL(pwrite64);
  FULL_IF(fd, at + (off_t)size, -1)
  return real(fd, data, size, at);
}

static off_t total(const struct iovec *list, int count) {
  off_t sum = 0;
  for (int i = 0; i < count; i++) sum += (off_t)list[i].iov_len;
  return sum;
}

ssize_t pwritev(int fd, const struct iovec *list, int count, off_t at) {
  REAL(pwritev);
  FULL_IF(fd, at + total(list, count), -1)
  return real(fd, list, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *list, int count, off64_t at) {
  REAL(pwritev64);
  FULL_IF(fd, at + total(list, count), -1)
  return real(fd, list, count, at);
}

int posix_fallocate(int fd, off_t at, off_t size);
int posix_fallocate(int fd, off_t at, off_t size) {
  REAL(posix_fallocate);
  FULL_IF(fd, at + size, ENOSPC)
  return real(fd, at, size);
}

int posix_fallocate64(int fd, off64_t at, off64_t size);
int posix_fallocate64(int fd, off64_t at, off64_t size) {
  REAL(posix_fallocate64);
  FULL_IF(fd, at + size, ENOSPC)
  return real(fd, at, size);
}
