// `keepsake produce`, its parts: lines in, receipts out. Not in the library.
#ifndef KS_PRODUCER_PRODUCE_H
#define KS_PRODUCER_PRODUCE_H

#include <stdatomic.h>

#include "publisher.h"

// --- lines in ---------------------------------------------------------------------------------------------------------------------

// The longest line that is looked at: an envelope and data, with room for escapes and white space.
enum { KS_LINE_BYTES_MAX = 1 << 20 };

// Reads lines from a file descriptor with bounded memory. Main thread.
struct ks_lines {
  int fd;
  char *buffer;
  size_t from, to;      // what was read and not yet handed out
  bool ended, in_piece; // the end was read; in the middle of a line that is too long
  int64_t bytes;        // handed out
};

enum ks_line {
  KS_LINE_WHOLE,       // a line, with its line feed but for a last one that has none
  KS_LINE_PIECE,       // part of a line that is longer than KS_LINE_BYTES_MAX: more of it follows
  KS_LINE_LAST_PIECE,  // the end of such a line
  KS_LINE_END,
  KS_LINE_STOPPED,     // a stop was asked for while there was nothing to read
  KS_LINE_FAILED,      // errno says why
};

// False when memory is out. The descriptor stays the caller's.
bool ks_lines_open(struct ks_lines *lines, int fd);
// *line lives until the next call.
enum ks_line ks_lines_next(struct ks_lines *lines, struct ks_bytes *line);
void ks_lines_close(struct ks_lines *lines);

// --- receipts out -----------------------------------------------------------------------------------------------------------------

// Receipts on standard output, gathered and written when the publisher rests. The publisher's thread writes; the main thread looks at the atomics.
struct ks_receipts {
  struct ks_buf buf;
  size_t piece_bytes;       // at most that much in one write, so that a pipe that nobody reads cannot hold us for ever
  atomic_int broken;        // errno of the write that failed; 0: none
  atomic_bool given_up;     // set by the main thread: do not wait for a slow reader any more
  int64_t lost;             // receipts that could not be written
};

void ks_receipts_open(struct ks_receipts *receipts);
void ks_receipts_add(struct ks_receipts *receipts, const struct ks_receipt *receipt);
void ks_receipts_flush(struct ks_receipts *receipts);
void ks_receipts_close(struct ks_receipts *receipts);

#endif
