// `keepsake produce`, its parts: lines in, receipts out. Not in the library.
#ifndef KS_PRODUCER_PRODUCE_H
#define KS_PRODUCER_PRODUCE_H

#include <stdatomic.h>

#include "../core/progress.h"
#include "publisher.h"

// --- lines in ---------------------------------------------------------------------------------------------------------------------

// The longest line that is looked at: an envelope and data, with room for escapes and white space.
enum { KS_LINE_BYTES_MAX = 1 << 20 };

// Reads lines from a file descriptor with bounded memory. Main thread.
struct ks_lines {
  int fd;
  char *buffer;
  size_t from, to;       // what was read and not yet handed out
  bool ended, in_piece;  // the end was read; in the middle of a line that is too long
  int64_t bytes;         // handed out
};

enum ks_line {
  KS_LINE_WHOLE,       // a line, with its line feed but for a last one that has none
  KS_LINE_PIECE,       // part of a line that is longer than KS_LINE_BYTES_MAX: more of it follows
  KS_LINE_LAST_PIECE,  // the end of such a line
  KS_LINE_END,
  KS_LINE_STOPPED,  // a stop was asked for while there was nothing to read
  KS_LINE_FAILED,   // errno says why
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
  size_t piece_bytes;    // at most that much in one write, so that a pipe that nobody reads cannot hold us for ever
  atomic_int broken;     // errno of the write that failed; 0: none
  atomic_bool given_up;  // set by the main thread: do not wait for a slow reader any more
  int64_t lost;          // receipts that could not be written
};

void ks_receipts_open(struct ks_receipts *receipts);
void ks_receipts_add(struct ks_receipts *receipts, const struct ks_receipt *receipt);
void ks_receipts_flush(struct ks_receipts *receipts);
void ks_receipts_close(struct ks_receipts *receipts);

// --- one run ----------------------------------------------------------------------------------------------------------------------

// Owned by the command; who touches what stands beside the members.
struct ks_produce {
  const struct ks_options *options;
  struct ks_publisher *publisher;  // NULL: --dry-run
  struct ks_receipts receipts;
  const char *const *files;
  int file_count;
  bool dry_run, allow_unsequenced, quiet;
  struct ks_buf source;    // of an import, as a JSON string; empty: lines have their own
  struct ks_buf imported;  // the line as it is judged
  int rejects;  // file descriptor; -1: none
  atomic_int rejects_errno;
  int64_t flush_ms;
  struct ks_progress progress;
  bool show_progress;

  // Main thread.
  int file;      // the one that is read
  int64_t line;  // of it, from 1; all before it were dealt with
  int64_t lines, blank, refused, taken, unsequenced;
  int64_t bytes_before;  // of the files before
  bool stopped;

  // Publisher's thread; the main thread reads them when that has ended.
  int64_t acknowledged, failed, unknown;
  int64_t first_unknown;     // tag; -1: none
  struct ks_problem broken;  // why the publisher could do no more; code "" as long as it can
};

// The input as people know it; a tag's file and line.
const char *ks_produce_file_name(const struct ks_produce *produce, int file);
int ks_produce_tag_file(int64_t tag);
int64_t ks_produce_tag_line(int64_t tag);

// Publish what the files hold: lines, or photographs of the user. False: the run is over before its end, for the reason in *err if that has one, else
// because a stop was asked for or receipts or rejects could not be written.
bool ks_produce_files(struct ks_produce *produce, struct ks_error *err);
bool ks_produce_photos(struct ks_produce *produce, const char *user, struct ks_error *err);
// Writes the receipts that have gathered: on_rest of struct ks_publisher_setup.
void ks_produce_on_rest(void *produce);

#endif
