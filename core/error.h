// Errors as values: who must act, what happened, what to do next. A function that can fail takes a `struct ks_error *` last, returns
// false (or NULL), and has filled it. Who detects an error names it; only outer loops retry; only main exits. Any thread.
#ifndef KS_CORE_ERROR_H
#define KS_CORE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

// Exit statuses, the table of the README and of `--help`.
enum ks_exit {
  KS_EXIT_DONE = 0,
  KS_EXIT_FAILED = 1,
  KS_EXIT_USAGE = 2,
  KS_EXIT_PARTLY = 3,
  KS_EXIT_DIFFERENT = 4,
  KS_EXIT_INCONCLUSIVE = 5,
  KS_EXIT_REFUSED = 6,
  KS_EXIT_LOST = 7,
  KS_EXIT_NO_KAFKA = 8,
  KS_EXIT_NO_POSTGRES = 9,
  KS_EXIT_NO_ARCHIVE = 10,
  KS_EXIT_LOCKED = 11,
  KS_EXIT_WRONG_KEY = 12,
  KS_EXIT_STOPPED = 13,
};

// Who must act.
enum ks_error_kind {
  KS_ERROR_NONE = 0,
  KS_ERROR_USAGE,      // the caller's words are wrong
  KS_ERROR_CONFIG,     // a setting of ours, of Kafka or of PostgreSQL is wrong
  KS_ERROR_TRANSIENT,  // try again later: a server is away, full, read-only, busy
  KS_ERROR_PERMANENT,  // refused, and will be again
  KS_ERROR_DATA,       // the server refuses this very data (SQLSTATE class 21, 22, 23, 54): narrow it down
  KS_ERROR_FENCED,     // another owner has taken over
  KS_ERROR_LOST,       // the log has a gap, is another one, or is shorter than what we hold
  KS_ERROR_STOPPED,    // a signal asked us to stop
  KS_ERROR_BUG,        // ours
};

struct ks_error {
  enum ks_error_kind kind;
  enum ks_exit exit;     // what the program ends with if this error ends it
  char sqlstate[6];      // PostgreSQL's, or ""
  char message[600];     // lower case, names the thing and the value, no full stop
  char hint[400];        // a sentence that says what to do, or ""
};

// Fills *err (which may be NULL: then nothing) and returns false, so that a failing function can end in `return ks_error_set(...)`.
// The message is cut to fit, at a UTF-8 boundary. The hint is cleared.
bool ks_error_set(struct ks_error *err, enum ks_error_kind kind, enum ks_exit exit, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// Adds the hint to an error that was just set; returns false.
bool ks_error_hint(struct ks_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Out of memory: kind TRANSIENT, exit 1; returns false.
bool ks_error_memory(struct ks_error *err);

// Puts "context: " before the message; returns false.
bool ks_error_prefix(struct ks_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
