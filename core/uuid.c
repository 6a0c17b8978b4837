// Random UUIDs (version 4, RFC 9562), from the kernel.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "kafka.h"

bool ks_uuid_make(char uuid[KS_UUID_SIZE + 1], struct ks_error *err) {
  unsigned char b[16];
  size_t have = 0;
  while (have < sizeof b) {
    ssize_t got = getrandom(b + have, sizeof b - have, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_FAILED, "no random bytes from the kernel: %s", strerror(errno));
    have += (size_t)got;
  }
  b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
  b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
  char *out = uuid;
  for (int i = 0; i < 16; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) *out++ = '-';
    snprintf(out, 3, "%02x", b[i]);
    out += 2;
  }
  return true;
}
