// Receipts to standard output.
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "produce.h"

enum { GATHER_BYTES = 1 << 16, WAIT_MS = 100, RECEIPT_ROOM = 2048 };

void ks_receipts_open(struct ks_receipts *receipts) {
  struct stat about;
  *receipts = (struct ks_receipts){.piece_bytes = PIPE_BUF};
  if (fstat(STDOUT_FILENO, &about) == 0 && (S_ISREG(about.st_mode) || (S_ISCHR(about.st_mode) && !isatty(STDOUT_FILENO))))
    receipts->piece_bytes = GATHER_BYTES * 2;
}

void ks_receipts_close(struct ks_receipts *receipts) { ks_buf_free(&receipts->buf); }

void ks_receipts_add(struct ks_receipts *receipts, const struct ks_receipt *receipt) {
  if (receipts->broken || !ks_buf_reserve(&receipts->buf, RECEIPT_ROOM)) {
    receipts->lost++;
    return;
  }
  // An id of 255 bytes takes 1,530 when each is escaped, so it always fits.
  receipts->buf.size += ks_receipt_json(receipt, receipts->buf.data + receipts->buf.size, RECEIPT_ROOM);
  receipts->buf.data[receipts->buf.size++] = '\n';
  if (receipts->buf.size >= GATHER_BYTES) ks_receipts_flush(receipts);
}

static bool wait_writable(struct ks_receipts *receipts) {
  while (true) {
    bool last = receipts->given_up;
    struct pollfd wait = {STDOUT_FILENO, POLLOUT, 0};
    int ready = poll(&wait, 1, last ? 0 : WAIT_MS);
    if (ready > 0 || (ready < 0 && errno != EINTR)) return true;  // write(2) says what is wrong
    if (last) break;
  }
  errno = ETIMEDOUT;
  return false;
}

void ks_receipts_flush(struct ks_receipts *receipts) {
  size_t at = 0;
  while (at < receipts->buf.size && !receipts->broken) {
    size_t left = receipts->buf.size - at, size = left < receipts->piece_bytes ? left : receipts->piece_bytes;
    ssize_t written = wait_writable(receipts) ? write(STDOUT_FILENO, receipts->buf.data + at, size) : -1;
    if (written >= 0) {
      at += (size_t)written;
    } else if (errno != EINTR && errno != EAGAIN) {
      receipts->broken = errno;
    }
  }
  for (; at < receipts->buf.size; at++) receipts->lost += receipts->buf.data[at] == '\n';
  receipts->buf.size = 0;
}
