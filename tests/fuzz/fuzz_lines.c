// Input of `produce` cut into lines: nothing is lost, added or torn, whatever pieces read(2) gives; a line that is too long comes in pieces and the next one is whole.
//
// Input: how the reading goes, a byte for each read(2) in turn (0: interrupted, 1: not now, 2: fails; else how many bytes it gives), ended by 255; the rest is the file.
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "input.h"
#include "producer/produce.h"

// The same code with short lines and a file of ours; targets are linked with core only.
enum { SHORT_LINE = 48 };
#define KS_LINE_BYTES_MAX SHORT_LINE

static struct input file;
static struct ks_bytes reads;
static size_t reads_done;
static bool failed;

static ssize_t fuzz_read(int fd, void *out, size_t room) {
  (void)fd;
  unsigned how = reads.size ? (unsigned char)reads.data[reads_done++ % reads.size] : 9;
  if (how < 3 && reads_done < 1000) {
    failed = how == 2;
    errno = how == 0 ? EINTR : how == 1 ? EAGAIN : EIO;
    return -1;
  }
  if (how < 3) how = 9;
  must(room > 0);
  struct ks_bytes piece = input_run(&file, how < room ? how : room);
  memcpy(out, piece.data, piece.size);
  return (ssize_t)piece.size;
}

static int fuzz_poll(struct pollfd *waits, nfds_t count, int timeout_ms) {
  (void)count, (void)timeout_ms;
  waits[0].revents = POLLIN;
  return 1;
}

#define read fuzz_read
#define poll fuzz_poll
#include "producer/produce_lines.c"
#undef read
#undef poll

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = input_of(data, size);
  const uint8_t *ended = size ? memchr(data, 255, size) : NULL;
  reads = input_run(&in, ended ? (size_t)(ended - data) : 0);
  input_byte(&in);
  reads_done = 0;
  failed = false;
  file = in;
  struct ks_bytes left = input_rest(&in), line;
  struct ks_lines lines;
  must(ks_lines_open(&lines, -1));
  bool in_piece = false;
  for (enum ks_line what; (what = ks_lines_next(&lines, &line)) != KS_LINE_END;) {
    must(what != KS_LINE_STOPPED && (what == KS_LINE_FAILED) == failed);
    if (what == KS_LINE_FAILED) break;
    must(line.size <= left.size && (line.size == 0 || memcmp(line.data, left.data, line.size) == 0));
    must((what == KS_LINE_LAST_PIECE) == (in_piece && what != KS_LINE_PIECE));
    const char *end = memchr(left.data, '\n', left.size);
    size_t whole = end ? (size_t)(end - left.data) + 1 : left.size;
    if (what == KS_LINE_PIECE) must(line.size > 0 && line.size <= whole && !memchr(line.data, '\n', line.size));
    else must(line.size == whole);  // to its line feed, or to the end of the file
    if (what == KS_LINE_WHOLE) must(line.size > 0 && line.size - (end != NULL) <= KS_LINE_BYTES_MAX);
    if (what == KS_LINE_PIECE && !in_piece) must(whole - (end != NULL) > KS_LINE_BYTES_MAX);
    in_piece = what == KS_LINE_PIECE;
    left.data += line.size;
    left.size -= line.size;
  }
  must(failed || (left.size == 0 && !in_piece));
  ks_lines_close(&lines);
  return 0;
}
