// Lines of any length from files, pipes and terminals.
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../core/stop.h"
#include "produce.h"

enum { BUFFER_BYTES = KS_LINE_BYTES_MAX + (1 << 18) };

bool ks_lines_open(struct ks_lines *lines, int fd) {
  *lines = (struct ks_lines){.fd = fd, .buffer = malloc(BUFFER_BYTES)};
  return lines->buffer != NULL;
}

void ks_lines_close(struct ks_lines *lines) {
  free(lines->buffer);
  lines->buffer = NULL;
}

// Waits for bytes or for a stop, whichever comes first; a plain read would go on through a signal.
static bool wait_readable(int fd) {
  struct pollfd waits[2] = {{fd, POLLIN, 0}, {ks_stop_fd(), POLLIN, 0}};
  while (!ks_stop_asked()) {
    if (poll(waits, 2, -1) < 0 && errno != EINTR) return true;  // let read(2) say what is wrong
    if (waits[0].revents && !ks_stop_asked()) return true;
    waits[0].revents = waits[1].revents = 0;
  }
  return false;
}

// Reads more behind what is there. KS_LINE_WHOLE: something came, or the end.
static enum ks_line fill(struct ks_lines *lines) {
  if (lines->from > 0) {
    memmove(lines->buffer, lines->buffer + lines->from, lines->to - lines->from);
    lines->to -= lines->from;
    lines->from = 0;
  }
  while (true) {
    if (!wait_readable(lines->fd)) return KS_LINE_STOPPED;
    ssize_t got = read(lines->fd, lines->buffer + lines->to, BUFFER_BYTES - lines->to);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return KS_LINE_FAILED;
    lines->to += (size_t)got;
    lines->ended = got == 0;
    // One signal often ends the writer of a pipe too: what it leaves without a line feed may be half a line, which nobody may judge.
    return lines->ended && ks_stop_asked() ? KS_LINE_STOPPED : KS_LINE_WHOLE;
  }
}

static enum ks_line hand_out(struct ks_lines *lines, size_t size, enum ks_line what, struct ks_bytes *line) {
  *line = (struct ks_bytes){lines->buffer + lines->from, size};
  lines->from += size;
  lines->bytes += (int64_t)size;
  lines->in_piece = what == KS_LINE_PIECE;
  return what;
}

enum ks_line ks_lines_next(struct ks_lines *lines, struct ks_bytes *line) {
  size_t searched = 0;
  while (true) {
    size_t there = lines->to - lines->from;
    const char *start = lines->buffer + lines->from;
    const char *end = memchr(start + searched, '\n', there - searched);
    searched = there;
    bool over = lines->in_piece;
    if (end) {
      size_t size = (size_t)(end - start) + 1;
      if (!over && size - 1 > KS_LINE_BYTES_MAX) return hand_out(lines, KS_LINE_BYTES_MAX, KS_LINE_PIECE, line);
      return hand_out(lines, size, over ? KS_LINE_LAST_PIECE : KS_LINE_WHOLE, line);
    }
    if (lines->ended) {
      if (there == 0 && !over) return KS_LINE_END;
      if (!over && there > KS_LINE_BYTES_MAX) return hand_out(lines, KS_LINE_BYTES_MAX, KS_LINE_PIECE, line);
      return hand_out(lines, there, over ? KS_LINE_LAST_PIECE : KS_LINE_WHOLE, line);
    }
    if (there > KS_LINE_BYTES_MAX) return hand_out(lines, there, KS_LINE_PIECE, line);
    enum ks_line got = fill(lines);
    if (got != KS_LINE_WHOLE) return got;
  }
}
