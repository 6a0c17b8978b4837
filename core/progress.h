// True progress on stderr: percent, rate, time left, at most once a second; \r on a terminal, whole lines elsewhere (every 5 s); a last line with what was done.
// Total 0: unknown, no percent. One thread updates (counts may be atomically added to by others through the caller).
#ifndef KS_CORE_PROGRESS_H
#define KS_CORE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct ks_progress {
  const char *what;  // "reading the log"
  const char *unit;  // "records"
  int64_t total, done;
  int64_t begun_ms, shown_ms;
  bool quiet, terminal, shown;
};

void ks_progress_begin(struct ks_progress *progress, const char *what, const char *unit, int64_t total, bool quiet);
void ks_progress_update(struct ks_progress *progress, int64_t done);
void ks_progress_end(struct ks_progress *progress);  // the last line

#endif
